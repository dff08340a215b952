"""Enclaves as virtual machines, through libvirt.

    domain        what a guest of ours is: plain, SEV-SNP or TDX, with or without a vTPM
    domain_xml    a domain as libvirt's XML; pure
    identity      whose a domain is, read back from its XML; pure
    image         the guest's image on the disk, checked against `image.json`
    versions      which libvirt can do what, and the error that names one too old
    binding       libvirt's Python binding, which is an extra
    refusals      what libvirt refuses, as our errors
    events        libvirt's event loop on asyncio's, from any thread
    connection    one connection to a libvirt that may go away and come back
    acceleration  whether guests really start under KVM here: one is started

Only `connection` and `events` load libvirt's binding, which need not be installed.
"""
