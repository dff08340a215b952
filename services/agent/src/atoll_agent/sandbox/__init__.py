"""The wall around a guest: one Wasm module, run once, with limits.

    limits      what a guest may use
    outcome     how a run ended and what it used
    exchange    what runner and worker say to each other
    workspace   the RAM-only directory of one enclave
    results     what the guest left under /results, judged without trusting it
    procfs      what the kernel says about the worker
    engine      compiles, links and runs (worker only)
    runner      starts the worker, watches it, kills it, returns an outcome

`atoll_agent.worker` is the other side: the child process in which the guest's code is
compiled and run. Only `engine` imports wasmtime and only the worker imports `engine`, so
that a hole in the compiler opens a process without keys. May import `atoll.errors` and
`atoll.wire`.
"""
