"""The SDK: what the command and other programs call.

    profile     where a stack is and whom to trust (a file in ATOLL_HOME)
    keystore    identity keys in files of mode 0600
    connection  the bus as a client sees it: submit, follow, release, fetch
    assets      seal a file while it is uploaded
    tree        a directory as one archive, the same for the same tree
    compose     a manifest from prepared assets; pure
    plan        a computation of several parties as a person plans it; pure
    agreement   manifests and consents as files, and who is still missing; pure
    appraisal   evidence against the profile's trust and policy
    release     look at an enclave that waits, and give it the keys of one's assets
    watching    a headless releaser, by a release policy
    uses        how often it gave keys away, counted on the disk
    secret_files, withdrawn   keys of one's assets; consents that were taken back
    results     fetch, open and unpack a sealed result; check its receipt
    run         the one-person path: all of it in order

Nothing here trusts the gateway, the manager or the attestor: keys are released on
evidence appraised here, results are opened under keys that evidence attests.
"""
