"""What the parties of a computation agree on, sign, and release keys for. Pure.

    assets     a sealed asset as the manifest names it
    network    where a workload may connect to
    steps      the algorithms of a pipeline, and what flows between them
    outputs    who gets what, in which form and how much of it
    media      whether a file is of the media type that it has to be of
    manifest   all of that as one document with one digest
    consent    a party's signature under that digest, and how it takes it back
    advice     what a party should look at before it signs
    releasing  what a headless releaser says yes to

A manifest is canonical JSON (RFC 8785). Nothing that shapes a run lies outside its digest: code,
data, dependencies and arguments are named by digests, all limits and policies stand in it.

May import `atoll.canonical`, `atoll.framing`, `atoll.sealing.signature` and `atoll.wire`.
"""
