"""Everything that keeps bytes closed on the way between parties and an enclave.

    signature  Ed25519 keys; signatures over transcripts
    hpke       X-Wing keys; one-shot HPKE
    stream     the sealed asset format: header, nonces, single chunks
    asset      sealing and opening whole assets, piece by piece, with bounded memory
    release    a content key on its way to one enclave
    result     a content key on its way from one enclave to the consumers
    tar        one tar header, in one form
    archive    the deterministic tar of a job's results: its paths, writing it
    unpack     reading it, piece by piece, with limits

Not here: who may release what (the manifest), whether an enclave deserves a key
(`atoll.evidence`), storage and transport. Pure: randomness comes in as an argument,
except that HPKE encapsulation draws its own from the operating system. Imports
`atoll.errors`, `atoll.framing`, `atoll.canonical`, `atoll.wire` and `cryptography`.

Python cannot overwrite a `bytes`; secrets live in memory until it is reused. A
process that must forget ends.
"""
