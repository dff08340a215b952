"""Benchmarks: what Atoll costs, beside what the machine could do without it, in the same run.

    run                 the entry: `python bench/run.py [NAME...] [--quick] [--json]`
    dataset_throughput  sealed datasets against raw JetStream and bare AES; peak memory
    jobs_per_second     many small jobs against process starts, guest runs, messages
    durability          publishes by number of copies and by how often the disk is forced
    submit_to_result    one job's latency, stage by stage, from its trace

    scale               how large: full, quick, or tiny (only to see that it works)
    report              tables of text and numbers, and what goes into `--json`
    machine             facts about this machine; resident memory of processes
    cluster             nats-servers of its own, three of them if wanted
    stack               a real stack, started by `atoll up`, in a directory of its own
    children            one measured process each, told to begin at the same time
    tasks               what those processes do: Atoll's side
    raw                 what those processes do: the raw limits
    guests              the Wasm modules that the jobs run

Nothing here asserts a time. A benchmark fails only when something did not work.
"""
