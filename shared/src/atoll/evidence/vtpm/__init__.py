"""Evidence of a VM with a virtual TPM that its host runs.

    report     what the guest sends: quote, register values, boot log
    chain      the attestation key's certificate, under a deployment's vTPM authority
    verify     the quote is that key's, and the log replays to what it quotes
    policy     what a relying party accepts
    findings   compares the two
    steps      the verification as findings

The host makes this TPM, holds its keys and could have it quote anything. So this says what a VM
was started with by a host that tells the truth, and protects nothing from one that does not:
every appraisal of it is marked like those of the simulated TEE.
"""
