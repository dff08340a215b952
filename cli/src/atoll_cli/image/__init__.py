"""Builds the guest's image. All but fetching is a function from bytes to bytes.

    locks           which packages, by their hashes                          pure
    sources         where this machine gets Debian's packages from           pure
    store           a cache of files by their SHA-256                        files
    debian, pip     lock and fetch with apt-get and pip                      network
    deb, wheels     the files of a package                                   pure
    kernel          the kernel, its modules and the order to load them in    pure
    tree            the root folder in memory, with limits                   pure
    contents        what is left out, and what is added                      pure
    bytecode        compiles Python with the image's own interpreter         runs it
    cpio            the tree as an initial RAM disk                          pure
    docker_archive  the tree as an archive for a container engine            pure
    sbom            what is inside and under which licences (CycloneDX)      pure
    assemble        from packages to the files of an image                   runs bytecode
    build           locks, cache and folders around it                       files
    reference       what it is known to measure, as CoRIM                    pure

Docs: `docs/image.md`.
"""
