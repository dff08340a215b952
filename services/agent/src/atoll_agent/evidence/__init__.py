"""Evidence inside the guest: where the agent gets its quote from.

    provider    what a provider is, and what a quote is checked for before it leaves
    choose      which provider, by what there is                             pure
    looking     what there is
    opening     the provider that was chosen
    kernel      the few calls to the kernel that providers make
    patience    trying again what may pass, for a while
    tsm         configfs-tsm: SEV-SNP and TDX, Linux 6.7 and later
    sev_guest   the device /dev/sev-guest
    tdx_guest   the device /dev/tdx_guest, and Intel's quote generation service
    qgs         the messages of that service                                 pure
    vtpm        a virtual TPM, which is the host's
    keystone    RISC-V Keystone, which needs a runtime that is not here
    simulated   the simulated processor

Where our own first process says what settings this guest was given, an SEV-SNP report or a TDX
quote has to be of a launch that was made for these, or does not leave (`provider.SettingsBound`).

What the kernel answers was in part written by the host: sizes, tables of certificates, the time
that it takes. Every provider gives a quote over exactly the bytes that it was asked for, or
raises `EvidenceError` or `UnreachableError`; whether the quote is genuine is for who appraises it.
"""
