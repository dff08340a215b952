"""The wall around native code: one program, run once under bubblewrap.

    elf         is this a program for this machine (pure)
    syscalls    numbers of system calls (pure)
    bpf         seccomp's instructions and decision trees (pure)
    filter      which system calls a guest may make (pure)
    bubblewrap  finds bwrap, and proves by running it that this host can build the wall
    loopback    where a guest with a way out finds it, and `listener`, which listens there
    descriptors files in memory, and waiting
    root        what the guest sees: mounts, devices, environment
    kernel      rlimits of the guest
    cgroup      the guest's cgroup (v2), where this process may make one
    native      what to start for a binary or a python step
    guest       starts it, follows the whole tree, kills it

`docs/sandbox.md` says what the wall holds and what it does not. May import the sandbox's values
(`limits`, `outcome`, `step`, `exchange`), `tree` and `atoll.errors`.
"""
