"""A deterministic simulator of the job's lifecycle: real decisions, a modelled bus, seeded faults.

    scheduler   virtual clock, tasks, processes that can crash between any two steps
    server      what we rely on of JetStream: streams, compare-and-set, work queues, restarts
    bus         a process's connection: loses, delays and repeats
    gateway, manager, enclave, client   the actors: shells round the code that ships
    faults      crashes, partitions and restarts of the server, from the seed
    oracle      what must hold, at every step and at the end
    world       all of it together; `python -m simulation --seed N` (with `tests` on the path)
    planted     bugs that the simulator must find

Nothing here reads a clock or waits: a run is a function of its seed.
"""
