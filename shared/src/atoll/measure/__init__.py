"""Expected launch digests: what a processor measures when a guest is launched.

    snp        the launch digest of AMD SEV-SNP over pages               pure
    guest      the digest and the description of a guest's image             pure
    agent      the agent's code as one image, and its measurement        pure
    pcrs       registers of a TPM from command line and initrd                pure
    kernel_handover, authenticode
               digests of a kernel as firmware measures it                    pure
    installed  collects the agent's files from an installation           reads files

The simulated TEE measures `agent` images with the algorithm of `snp`. On hardware
the same algorithm runs over a firmware image, which is not part of this package yet.
"""
