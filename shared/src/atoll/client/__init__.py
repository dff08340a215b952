"""The SDK: what the command and other programs call.

    profile     where a stack is and whom to trust (a file in ATOLL_HOME)
    keystore    identity keys in files of mode 0600
    connection  the bus as a client sees it: submit, follow, release, fetch
    assets      seal a file while it is uploaded
    tree        a directory as one archive, the same for the same tree
    compose     a manifest from prepared assets; pure
    appraisal   evidence against the profile's trust and policy
    results     fetch, open and unpack a sealed result; check its receipt
    run         the one-person path: all of it in order

Nothing here trusts the gateway, the manager or the attestor: keys are released on
evidence appraised here, results are opened under keys that evidence attests.
"""
