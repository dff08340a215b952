"""Images without an engine: the layers are the root, and the wall is the one that binaries have."""

import os
import tarfile
from pathlib import Path

import pytest

from atoll.enclave_storage import MEMORY_ROOT
from atoll_agent.sandbox.docker import walled as images
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind
from integration.agent_sandbox.walled import needs_wall, walled
from support.images import Build, File, docker_archive, oci_archive, program, tar
from support.programs import compiled

pytestmark = needs_wall

C_PROGRAM = "integration/agent_docker/guest.c"
MIB = 1 << 20


def image(*layers: dict[str, File], **build: object) -> bytes:
    first = {"bin/main": program(compiled(C_PROGRAM))}
    made = Build(layers=tuple(map(tar, (first, *layers))), **{"entrypoint": ("main",), **build})  # type: ignore[arg-type]
    return docker_archive(made)


@pytest.mark.parametrize("pack", [docker_archive, oci_archive])
async def test_the_entry_point_gets_arguments_inputs_and_outputs(pack: object) -> None:
    assert callable(pack)
    layer = tar({"bin/main": program(compiled(C_PROGRAM))})
    raw = pack(Build(layers=(layer,), entrypoint=("/bin/main",), cmd=("exit", "9"), compress=True))
    ran = await walled(raw, "copy", "/data/in", prepare=images.image)
    assert ran.outcome.kind is Kind.EXITED
    assert (ran.outcome.exit_code, ran.results) == (0, {"out": b"honest"})


async def test_without_arguments_the_command_counts_and_programs_are_on_the_path() -> None:
    ran = await walled(image(cmd=("exit", "9")), prepare=images.image)
    assert ran.outcome.exit_code == 9
    moved = image(env=("PATH=/opt",), entrypoint=("main",), cmd=("exit", "9"))
    ran = await walled(moved, prepare=images.image)
    assert ran.outcome.kind is Kind.NOT_STARTABLE


async def test_environment_and_folder_are_the_images_and_the_step_has_the_last_word() -> None:
    raw = image(env=("A=1", "B=2"), run={"WorkingDir": "/srv/new"}, cmd=("echo", "it"))
    ran = await walled(raw, prepare=images.image, env={"B": "3"})
    assert ran.outcome.exit_code == 0, ran.stderr
    said = ran.stdout.decode().splitlines()
    found = dict(line.removeprefix("env ").partition("=")[::2] for line in said[1:])
    assert (said[0], found["A"], found["B"], found["PWD"]) == ("it", "1", "3", "/srv/new")
    assert found["PATH"] == images.PATH


async def test_later_layers_count_and_links_stay_inside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the enclave")
    over = {
        "etc/.wh.passwd": File(),
        "etc/secret": File(kind=tarfile.SYMTYPE, link=str(secret)),
        "data": File(kind=tarfile.SYMTYPE, link="/etc"),
    }
    raw = image({"etc/passwd": File(content=b"x")}, over)
    ran = await walled(raw, "copy", "/etc/secret", prepare=images.image)
    assert ran.outcome.exit_code != 0
    assert b"of the enclave" not in ran.stdout + b"".join(ran.results.values())
    ran = await walled(raw, "copy", "/data/in", prepare=images.image)
    assert ran.results == {"out": b"honest"}


async def test_the_root_cannot_be_written_and_scratch_can() -> None:
    closed = ("/new", "/bin/main", "/etc/new", "/dev/new", "/data/new", "/proc/1/mem")
    opened = ("/tmp/new", "/dev/shm/new", "/results/new", "/cocos/results/other")
    raw = image({"etc/kept": File()})
    ran = await walled(raw, "write", *closed, *opened, prepare=images.image)
    said = dict(line.split(": ", 1) for line in ran.stdout.decode().splitlines())
    assert [path for path, result in said.items() if result == "done"] == list(opened)
    assert ran.results == {"new": b"", "other": b""}


async def test_the_wall_is_the_one_that_binaries_have() -> None:
    ran = await walled(image(), "powers", prepare=images.image)
    binary = await walled(compiled(C_PROGRAM), "powers")
    assert ran.stdout == binary.stdout
    assert b"inet: Address family not supported" in ran.stdout
    ran = await walled(image(), "status", prepare=images.image)
    binary = await walled(compiled(C_PROGRAM), "status")
    assert ran.stdout.count(b"0000000000000000") == binary.stdout.count(b"0000000000000000") > 3


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"no image", Kind.NOT_AN_IMAGE),
        (docker_archive(Build(layers=(tar({}),), entrypoint=())), Kind.NOT_STARTABLE),
        (docker_archive(Build(layers=(tar({}),), cmd=("/none",))), Kind.NOT_STARTABLE),
        (
            docker_archive(Build(layers=(tar({}),), cmd=("/x",), architecture="arm64")),
            Kind.WRONG_ARCHITECTURE,
        ),
        (
            docker_archive(Build(layers=(tar({".wh..": File()}),), cmd=("/x",))),
            Kind.NOT_AN_IMAGE,
        ),
        (
            docker_archive(Build(layers=(tar({"n" * 300: File()}),), cmd=("/x",))),
            Kind.NOT_AN_IMAGE,
        ),
    ],
)
async def test_what_cannot_be_started_is_said(raw: bytes, kind: Kind) -> None:
    ran = await walled(raw, prepare=images.image)
    assert ran.outcome.kind is kind, ran.outcome.detail


async def test_an_image_that_does_not_fit_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.statvfs

    def full(path: Path) -> os.statvfs_result:
        found = list(real(path))
        if path != MEMORY_ROOT:  # there is room for what was uploaded
            found[3] = found[4] = 1  # f_bfree, f_bavail
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", full)
    ran = await walled(image({"big": File(content=bytes(MIB))}), prepare=images.image)
    assert ran.outcome.kind is Kind.OUT_OF_MEMORY


async def test_limits_are_those_of_the_wall() -> None:
    limits = Limits(memory_bytes=32 * MIB)
    ran = await walled(image(), "eat", str(256 * MIB), prepare=images.image, limits=limits)
    assert ran.outcome.kind is Kind.OUT_OF_MEMORY
    limits = Limits(scratch_bytes=MIB)
    ran = await walled(image(), "fill", "/tmp/full", prepare=images.image, limits=limits)
    assert b"1048576 bytes, No space left on device" in ran.stdout
