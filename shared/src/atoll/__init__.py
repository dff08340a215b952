"""What every Atoll service and client agrees on.

    errors      every error raised on purpose, with its stable code
    framing     how several values become one unambiguous byte string
    canonical   JSON with exactly one encoding (RFC 8785 without floats)
    manifest    what the parties agree on and sign
    identity    a party's keys
    sealing     sealed assets, key releases, wrapped results
    evidence    parse, verify and appraise hardware evidence (pure)
    measure     expected launch digests (pure)
    simulated   the development TEE: genuine formats under a development root
    receipt     signed statements of what ran, verifiable offline
    wire        every subject, stream, bucket, endpoint and message on the bus
    bus         the NATS adapter
    telemetry   traces that cross processes and leak nothing
    client      the SDK

Evidence, measure, sealing, manifest and receipt are pure: bytes in, values out;
clock, randomness, network and files come in as arguments.
"""
