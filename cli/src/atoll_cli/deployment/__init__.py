"""What a deployment is made of before anything runs: identities, certificates, configuration.

identities   operator, accounts and users of the bus, and what they state of each other
authority    the TLS authority and the certificates it issues
folder       all of it as files, which `atoll init` writes and `atoll rotate` renews
"""
