"""Expected launch digests: what a processor measures when a guest is launched.

    snp, snp_launch, vmsa, vcpu_types, kernel_hashes, ovmf
               the launch digest of AMD SEV-SNP                                  pure
    tdvf, rtmrs
               MRTD and runtime registers of Intel TDX                           pure
    pcrs       registers of a TPM from command line and initrd                   pure
    kernel_handover, authenticode
               digests of a kernel as firmware measures it                       pure
    guid_table what firmware says about its launch                               pure
    guest      the digest and the description of a guest's image                 pure
    launch_settings
               what a launch says of the settings that the host gives            pure
    reference  what machines of every kind measure when they boot an image       pure
    agent      the agent's code as one image, and its measurement                pure
    machine, container
               what the simulated TEE measures of guests and containers          pure
    installed  collects the agent's files from an installation                   reads files

The simulated TEE measures `agent` images with the algorithm of `snp`.
"""
