"""Virtual TPMs of VMs: one `swtpm` for each enclave, run by the enclave's keeper.

    instance    an enclave's vTPM: its folder, its attestation key's certificate, its life
    swtpm       the program

The host owns these TPMs: it could read their keys and make them quote anything. They prove
which kernel, initrd and command line a VM that the host does not attack was started with.
"""
