"""Who may be on the bus: NATS's decentralised identities, written out.

`nkey` has the keys, `jwt` their signed statements, `claims` what operators, accounts and
users state, `callout` the requests by which a server asks us who may come in, `creds` the
file that a login is kept in. Pure: time and randomness come in as arguments.
"""
