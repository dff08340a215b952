"""Intel SGX and TDX quotes (DCAP): parse them, prove them genuine, judge their TCB.

    quote          SGX quote version 3, quotes version 4 and 5        parse
    cert_data      certification data inside the signature data       parse
    pck            Intel's extension of a PCK certificate             parse
    signed_json    strict JSON whose exact bytes are signed           parse
    tcb_info       TCB info, with TDX module identities               parse
    qe_identity    QE and TD QE identity                              parse
    intel_chain    certificate chains to a pinned Intel root, CRLs    verify
    collateral     the signed collateral of one verification          verify
    tcb            which TCB status follows                           verify
    verify         one quote under verified collateral                verify
    judge          the published vectors' cases, judged by the above

Policies and findings are one level up: `tdx_policy`, `tdx_findings`, `sgx_policy`.
Imports what `atoll.evidence` imports, nothing else.
"""
