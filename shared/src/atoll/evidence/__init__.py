"""Hardware evidence: parse it, prove it genuine, judge it. Pure: bytes and a clock in.

    _fixed, _der   readers that account for every byte
    x509           the part of X.509 that AMD uses
    products       product lines, and TCB_VERSION in their layouts
    snp            the SEV-SNP report                      parse
    certs          AMD's extensions of a VCEK or VLEK      parse
    cert_table     the certificate table beside a report   parse
    trust          pinned roots
    chain, verify  authenticity: `verify_*` stops at the first failure
    document       what an enclave publishes about itself
    policy         what a relying party accepts
    appraise       judgement: `appraise_*` collects every finding
    findings       the findings and the appraisal as messages
    ear            an appraisal as a signed token; needs PyJWT, so not for the agent

Nothing here opens a file or a socket or asks for the time. Imports `atoll.errors`,
`atoll.canonical`, `atoll.framing`, `atoll.wire` and `cryptography`.
"""
