"""TPM 2.0 on the wire: as much as making and using an attestation key takes.

    codes       names of response codes, handles and algorithms
    commands    what is sent
    responses   what is answered, parsed totally and within limits
    templates   the attestation key, always the same for the same TPM
    device      a stream to a TPM, and what is asked of one

Source: TCG TPM 2.0 Library, revision 1.59; parts 2 (structures) and 3 (commands). What a quote
says is read and judged by `atoll.evidence.tpm`; here nothing is verified.
"""
