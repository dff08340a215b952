"""Workloads in an image archive, run once: by a container engine at the agent's side, or where
there is none behind the wall that native programs have.

    refusal     how this package says no to an archive
    tarstream   the headers of a tar archive, from bytes that nobody vouches for
    layers      a layer's tar, perhaps compressed, against the digest the image gives for it
    layout      docker-archive and OCI layout: which blobs make up the one image
    image       the whole archive judged; what it is made of
    rootfs      its layers as one folder
    walled      that folder as the root of a program behind the wall
    repack      the same image as an archive of our own making, for the engine
    plan        what the container is allowed, as the engine's own options
    seccomp     which system calls it may make
    tree        the processes of a container, as /proc shows them
    engine      the adapter to the `docker` package; nothing else imports it
    guest       the `Guest` that the runner watches

The first five and `repack` to `tree` do no input or output but through the file they are given
(`tree` reads /proc). The `docker` package is optional (`atoll-agent[docker]`) and loaded with the
first workload that an engine gets. May import `atoll.errors`, `atoll.wire` and the rest of
`sandbox`.
"""
