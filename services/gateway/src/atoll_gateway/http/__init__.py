"""The gateway's API over HTTP.

    routes      the table: every operation once, with its sizes, answers and errors
    operations  what each row does
    app         the table as a Starlette application
    openapi     the table as an OpenAPI 3.1 document
    guard       bearer token, one shape for all errors
    body        request bodies: bounded, typed, strict
    stream      response bodies that are not JSON: events, bytes of an object
    faults      which error has which status
    ports       what the operations need
    sources     the ports on the bus
    server      uvicorn, started and stopped by the program

It decides nothing: jobs are `atoll_gateway.api`'s business, and what is stored here is
ciphertext. It does not end TLS; put it behind something that does, or on loopback.
"""
