"""Compiled modules are kept for the steps of one job, and by nobody who ran a guest."""

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox import artifact
from atoll_agent.sandbox.compiled import CompiledModules, key_of
from atoll_agent.sandbox.limits import MAX_ARTIFACT, MAX_KEPT_MODULE, Limits
from atoll_agent.sandbox.outcome import Outcome
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.workspace import Workspace, open_workspace
from integration.agent_sandbox.rig import step
from support.component import STDOUT as COMPONENT_STDOUT
from support.component import Component
from support.wat import STDOUT, Guest, assemble


def saying(text: str) -> bytes:
    guest = Guest()
    guest.do(guest.write(STDOUT, *guest.text(text)))
    return guest.wasm()


def component_saying(text: str) -> bytes:
    guest = Component()
    guest.say(COMPONENT_STDOUT, text)
    return guest.wasm()


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with open_workspace(f"test-{secrets.token_hex(8)}", need_bytes=1) as made:
        yield made


async def ran(
    workspace: Workspace, wasm: bytes, kept: CompiledModules, limits: Limits | None = None
) -> Outcome:
    workspace.module.unlink(missing_ok=True)
    workspace.module.write_bytes(wasm)
    given = step(workspace, limits=limits)
    return await run(WorkloadKind.WASM, given, compiled=kept)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("make", [saying, component_saying])
async def test_what_was_compiled_once_is_kept_and_used_and_gone_with_the_job(
    workspace: Workspace, make: Callable[[str], bytes]
) -> None:
    before = descriptors()
    with CompiledModules() as kept:
        for _ in range(2):
            done = await ran(workspace, make("one"), kept)
            assert done.succeeded, done.detail
            assert workspace.stdout.read_bytes() == b"one"
            assert len(kept) == 1
        assert (await ran(workspace, make("two"), kept)).succeeded
        assert len(kept) == 2
        # Instrumented differently, so compiled once more.
        counted = Limits(fuel=1_000_000)
        assert (await ran(workspace, make("two"), kept, counted)).succeeded
        assert len(kept) == 3
    assert len(kept) == 0
    assert descriptors() == before


async def test_an_artifact_is_believed_so_that_only_sealed_ones_are_kept(
    workspace: Workspace,
) -> None:
    with CompiledModules() as kept:
        await ran(workspace, saying("own"), kept)
        (descriptor,) = kept._kept.values()
        workspace.module.unlink()
        workspace.module.write_bytes(saying("other"))
        key = key_of(workspace.module, counts_fuel=False)
        assert key
        kept._kept[key] = os.dup(descriptor)
        await ran(workspace, saying("other"), kept)
        assert workspace.stdout.read_bytes() == b"own"


async def test_a_kept_artifact_can_be_changed_by_nobody(
    workspace: Workspace,
) -> None:
    with CompiledModules() as kept:
        await ran(workspace, saying("own"), kept)
        (descriptor,) = kept._kept.values()
        for change in (
            lambda: os.pwrite(descriptor, b"x", 100),
            lambda: os.ftruncate(descriptor, 0),
            lambda: os.ftruncate(descriptor, 1 << 30),
            lambda: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0x10),
        ):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - see the next line
                change()
            assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize("damage", ["a byte", "the digest", "the size", "nothing there", "another"])
async def test_a_damaged_artifact_is_compiled_again(workspace: Workspace, damage: str) -> None:
    with CompiledModules() as kept:
        await ran(workspace, saying("own"), kept)
        (key, good) = kept._kept.popitem()
        raw = bytearray(artifact.read(good) or b"")
        bad = artifact.create()
        if damage == "another":
            artifact.write(bad, b"\x7fELF" + bytes(1000))
        elif damage != "nothing there":
            artifact.write(bad, raw)
            place = {"a byte": 1000, "the digest": 8, "the size": 7}[damage]
            byte = os.pread(bad, 1, place)[0]
            os.pwrite(bad, bytes([byte ^ 1]), place)
        artifact.seal(bad)
        kept._kept[key] = bad
        os.close(good)
        assert (await ran(workspace, saying("own"), kept)).succeeded
        assert workspace.stdout.read_bytes() == b"own"


async def test_what_does_not_compile_or_is_too_large_is_not_kept(workspace: Workspace) -> None:
    before = descriptors()
    large = assemble('(module (func (export "_start")))') + b"\0\xfe\xff\xff\x03\1x"
    large += bytes(0x7FFFFE - 2)
    with CompiledModules() as kept:
        assert (await ran(workspace, saying("x")[:-1], kept)).code == "workload.not_wasm"
        assert len(large) > MAX_KEPT_MODULE
        assert (await ran(workspace, large, kept)).succeeded
        assert len(kept) == 0
        assert descriptors() == before


def test_a_file_that_is_not_sealed_is_neither_kept_nor_read() -> None:
    for how in (0, fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SEAL):
        made = artifact.create()
        artifact.write(made, b"machine code")
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, how)
        assert artifact.size_if_sealed(made) == 0
        assert artifact.read(made) is None
        os.close(made)
    made = artifact.create()
    artifact.write(made, bytes(MAX_ARTIFACT + 1))
    artifact.seal(made)
    assert artifact.size_if_sealed(made) == 0
    os.close(made)
