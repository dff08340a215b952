"""The dependencies of a python step: wheels and their lock in one archive, installed offline.

    refusal     how this package says no to a bundle
    lock        requirements.txt: exact versions with hashes
    wheel       what the name of a wheel says, and whether it is for this interpreter
    members     the files of a zip or tar that nobody vouches for
    install     the whole bundle, into the directory that the guest sees as /bundle

Nothing is built, resolved, fetched or run: a wheel is unpacked, and its scripts are left out.
The first three do no input or output. May import `atoll.errors`.
"""
