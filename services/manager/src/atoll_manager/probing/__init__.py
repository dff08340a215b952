"""What this host can start enclaves in, and why not the rest.

    facts         what was found on the machine, as values
    reading       reads them below a root directory: /proc, /sys and /dev
    capabilities  what libvirt says that its QEMU can do; pure
    verdicts      what follows for each kind of enclave, with the reason; pure
    asking        asks libvirt, programs and KVM itself, and joins it all

Nothing here makes a host able; `docs/hosts.md` says what does.
"""
