"""What every example needs besides its own data and programs.

    stack      a fresh `atoll up` in a folder of its own
    engine     a container engine of our own, for the kind docker
    party      somebody with keys: provides assets, consents, releases, opens results
    computing  one computation from its manifest to its end
    case       one example: what it needs, what it finds, what it should

Everything is done with the SDK (`atoll.client`), as programs of the parties would do it.
"""
