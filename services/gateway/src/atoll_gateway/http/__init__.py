"""The gateway's API over HTTP.

    routes      the table: every operation once, with its sizes, answers and errors
    operations  what each row does
    app         the table as a Starlette application
    openapi     the table as an OpenAPI 3.1 document
    guard       what stands before every operation; one shape for all errors
    gate        tokens, and how much their bearers may ask for
    limits      token buckets and counts; pure
    body        request bodies: bounded, typed, strict
    events      the rows about events
    webhooks    the rows about webhooks
    stream      response bodies that are not JSON: events, bytes of an object
    faults      which error has which status
    ports       what the operations need
    sources     the ports on the bus
    server      uvicorn, started and stopped by the program
    listener    connections: counted, with TLS or without
    protocol    HTTP/1.1 on one connection
    tls         certificates, followed as their files change

It decides nothing: jobs are `atoll_gateway.api`'s business, and what is stored here is
ciphertext. Without certificates it listens on loopback only.
"""
