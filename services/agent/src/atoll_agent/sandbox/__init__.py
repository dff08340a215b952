"""The wall around a guest: one step's algorithm, run once, with limits.

    limits      what a guest may use
    step        what to run, and where its files are
    outcome     how a run ended and what it used
    guest       what every kind of sandbox gives the runner (protocol)
    kinds       which sandbox runs which kind, and whether this host has it
    runner      starts a guest, watches it, kills it, returns an outcome
    results     what the guest left under /results, judged without trusting it
    workspace   the RAM-only directory of one enclave
    procfs      what the kernel says about mounts and about one process
    tree        what the kernel says about all processes of a guest
    threads     blocking work that leaves nothing behind

    bundle/     the dependencies of a python step: wheels and their lock, installed offline

    wasm_guest  WebAssembly: the worker process, as a guest
    compiled    compiled modules that the steps of one job share
    artifact    one of them in a sealed memory file
    exchange    what the runner and the worker say to each other
    engine      compiles, links and runs (worker only)
    components  what is different for WASI preview 2 (worker only)
    ended       how the worker says that a run is over
    wall/       binary and python: bubblewrap, seccomp, rlimits, cgroup
    docker/     image archives, by a container engine or, without one, behind that wall

`atoll_agent.worker` is the child process in which WebAssembly is compiled and run. Only
`engine` and `components` import wasmtime and only the worker imports them, so that a hole in
the compiler opens a process without keys.

A guest's way out, where it has one, is served by `atoll_agent.egress`, which is handed in.

May import `atoll.errors`, `atoll.computation` (the kinds), `atoll.enclave_storage` and
`atoll.wire`.
"""
