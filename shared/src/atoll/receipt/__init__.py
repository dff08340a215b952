"""Receipts: what ran where, on what, and gave what; checked offline by anybody.

    statement  the content: an in-toto Statement v1 about one job's sealed result
    dsse       the envelope: DSSE v1 with one Ed25519 signature
    verify     the file: envelope and evidence; the check of the whole

Not here: parsing and appraising evidence (`verify` takes both as arguments, so that this
package does not depend on `atoll.evidence`), fetching and storing. Pure. Imports `atoll.errors`,
`atoll.canonical`, `atoll.wire` and `atoll.sealing.signature`.
"""
