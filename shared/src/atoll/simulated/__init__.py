"""The development TEE: genuine formats, no protection at all.

    chain    a development ARK, ASK and VCEK for the product "Simulated"
    report   a processor that launches guests and signs their reports
    device   what passes between a guest and the processor

Evidence from here verifies by the same code as AMD's, under a root that is trusted
only where configuration names it. Everything runs on an ordinary host, which can read
all of the guest: it is for development, tests and demonstrations.
"""
