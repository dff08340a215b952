"""The hostile C program behind bubblewrap and in a container: the same attempts in both."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from atoll.computation.steps import WorkloadKind
from hostile.case import ENDED, SMALL, Case, codes
from hostile.honest import SOURCE, hostile_image
from support.programs import compiled

BINARY, DOCKER = WorkloadKind.BINARY, WorkloadKind.DOCKER
LONGER: Final = replace(SMALL, wall_s=20)
"""For bombs that must end by another limit than the clock."""

_TRIED: Final = b"tried\n"
_BOMBED: Final = codes("timeout", "process_limit", "memory", "cpu")

_BOTH: Final = (
    ("forks", (), _BOMBED, b""),
    ("forest", (), _BOMBED, b""),
    ("threads", (), ENDED | codes("process_limit"), b""),
    ("memory", (), ENDED | codes("memory"), b""),
    ("shared", (), ENDED | codes("memory"), b""),
    ("memfd", (), ENDED | codes("memory"), b""),
    ("disk-tmp", (), ENDED, _TRIED),
    ("disk-results", (), codes("output_limit"), b""),
    ("disk-hidden", (), ENDED | codes("output_limit", "memory"), b""),
    ("names-results", (), codes("output_limit"), b""),
    ("descriptors", (), ENDED, _TRIED),
    ("flood", (), codes("output_limit"), b""),
    ("flood-error", (), codes("output_limit"), b""),
    ("last-words", (), codes("output_limit"), b""),
    ("truncate-log", (), ENDED | codes("output_limit"), b""),
    ("trace", (), ENDED, _TRIED),
    ("proc", (), ENDED, _TRIED),
    ("sockets", ("{socket}",), ENDED, _TRIED),
    ("signals", ("{pid}",), ENDED, _TRIED),
    ("links", (), ENDED, _TRIED),
    ("traversal", ("{file}",), ENDED, _TRIED),
    ("set-id", (), ENDED, _TRIED),
    ("kernel", (), ENDED, _TRIED),
    ("namespaces", (), ENDED, _TRIED),
    ("mounts", (), ENDED, _TRIED),
    ("write-data", (), ENDED, _TRIED),
    ("daemons", (), ENDED, _TRIED),
    ("limits", (), ENDED, _TRIED),
    ("symlink", (), codes("output_kind"), b""),
    ("symlink-loop", (), codes("output_kind"), b""),
    ("fifo", (), ENDED | codes("output_kind"), b""),
    ("device", (), ENDED, _TRIED),
    ("socket-file", (), codes("output_kind"), b""),
    ("bad-utf8", (), codes("output_names"), b""),
    ("line-end", (), codes("output_names"), b""),
    ("backslash", (), codes("output_names"), b""),
    ("sparse", (), ENDED | codes("output_limit"), b""),
    ("deep", (), codes("output_names", "output_limit"), b""),
    ("locked-folder", (), codes("output_kind"), b""),
    ("stubborn", (), codes("timeout"), b""),
    ("stopped", (), codes("timeout"), b""),
    ("reexec", (), ENDED | codes("timeout", "cpu"), b""),
)


def cases() -> Iterator[Case]:
    """All of them, first those of the wall."""
    for kind in (BINARY, DOCKER):
        for verb, baits, ends, said in _BOTH:
            yield _case(kind, verb, baits, ends, said)
        burning = replace(SMALL, cpu_s=1, wall_s=20)
        yield replace(_case(kind, "burn", (), codes("cpu"), b""), limits=burning)
        for verb in ("memory", "shared"):
            given = _case(kind, verb, (), codes("memory"), b"")
            yield replace(given, name=f"{verb}, with time", limits=LONGER)
    yield _case(BINARY, "names-tmp", (), codes("scratch_limit", "timeout") | ENDED, b"")
    int80 = _case(BINARY, "int80", (), codes("exit_nonzero"), b"")
    yield replace(int80, name="another architecture's calls")
    for name, raw in _NO_PROGRAMS:
        yield Case(
            name=name,
            kind=BINARY,
            algorithm=lambda raw=raw: raw,  # type: ignore[misc]
            codes=codes("not_elf", "wrong_architecture", "not_startable", "exit_nonzero"),
        )


_NO_PROGRAMS: Final = (
    ("a script with an interpreter", b"#!/bin/sh\ntouch /escaped\n"),
    ("nothing but a head", b"\x7fELF\x02\x01\x01" + bytes(57)),
    ("a head of garbage", b"\x7fELF" + b"\xff" * 4096),
)


def _case(
    kind: WorkloadKind, verb: str, baits: tuple[str, ...], ends: frozenset[str], said: bytes
) -> Case:
    return Case(
        name=verb,
        kind=kind,
        algorithm=(lambda: compiled(SOURCE)) if kind is BINARY else hostile_image,
        args=(verb, *baits),
        codes=ends,
        said=said,
    )
