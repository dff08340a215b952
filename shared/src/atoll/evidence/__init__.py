"""Hardware evidence: parse it, prove it genuine, judge it. Pure: bytes and a clock in.

    _fixed, _der   readers that account for every byte
    _cursor, _cbor likewise, for parts that follow each other, and for CBOR
    x509           the part of X.509 that AMD and Intel use
    products       product lines, and TCB_VERSION in their layouts
    snp            the SEV-SNP report                      parse
    certs          AMD's extensions of a VCEK or VLEK      parse
    cert_table     the certificate table beside a report   parse
    trust          pinned roots
    certificate_checks   what the chains of every vendor are checked for alike
    chain, verify  authenticity: `verify_*` stops at the first failure
    document       what an enclave publishes about itself
    policy         what a relying party accepts
    appraise       judgement: `appraise_*` collects every finding
    steps, snp_steps, tdx_steps   verification, step by step, as findings
    claims         what authentic evidence says
    policy_forms, comparisons   what the policies of all kinds are made of
    findings       the findings and the appraisal as messages
    dcap           Intel SGX and TDX quotes, collateral, TCB
    tdx_policy, tdx_findings, sgx_policy   as policy and snp_findings, for quotes
    keystone       RISC-V Keystone: report, verification, policy
    eventlog       logs that replay to a TD's run-time registers
    tpm            TPM quotes, and Azure's VMs around them
    ratls          certificates whose key an enclave's quote vouches for
    judged         what their `judge_*` functions take and give
    ear            an appraisal as a signed token; needs PyJWT, so not for the agent

Nothing here opens a file or a socket or asks for the time. Imports `atoll.errors`,
`atoll.canonical`, `atoll.framing`, `atoll.wire` and `cryptography`.
"""
