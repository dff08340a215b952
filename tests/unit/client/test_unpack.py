"""A result appears whole in a fresh directory, or nothing of it does."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from atoll.client.unpack import RECEIPT_FILE, FreshDirectory, Unpacker
from atoll.errors import AtollError, ConfigError, InputError
from atoll.sealing.archive import ArchiveEntry, ExitRecord, write_archive

EXIT = ExitRecord(exit_code=0, outcome="workload.exited", step="run").to_bytes()


def archive(**files: bytes) -> bytes:
    entries = [
        ArchiveEntry.of("exit.json", EXIT),
        ArchiveEntry.of("stdout", b"out"),
        ArchiveEntry.of("stderr", b""),
    ]
    entries += [ArchiveEntry.of(f"results/{name}", raw) for name, raw in files.items()]
    return b"".join(write_archive(entries))


def unpacked(into: Path, pieces: Iterable[bytes]) -> Unpacker:
    """As `fetch_result` does it."""
    with FreshDirectory(into) as directory:
        unpacker = Unpacker(directory.path)
        try:
            for piece in pieces:
                unpacker.feed(piece)
            unpacker.finish()
        finally:
            unpacker.close()
        unpacker.add(RECEIPT_FILE, b"receipt")
        directory.keep()
    return unpacker


def refused(into: Path, pieces: Iterable[bytes]) -> AtollError:
    """It fails and leaves nothing beside what was there."""
    before = sorted(into.parent.iterdir())
    with pytest.raises(AtollError) as caught:
        unpacked(into, pieces)
    assert sorted(into.parent.iterdir()) == before
    return caught.value


@pytest.mark.parametrize("size", [1, 511, 1 << 20])
def test_every_file_appears_privately_with_its_digest(tmp_path: Path, size: int) -> None:
    raw = archive(**{"model.bin": b"m" * 1000, "deep/er/file": b""})
    into = tmp_path / "out"
    unpacker = unpacked(into, (raw[at : at + size] for at in range(0, len(raw), size)))
    assert unpacker.finish() == hashlib.sha256(raw).digest()
    found = {file.name: file for file in unpacker.files(into)}
    assert set(found) == {
        "exit.json",
        "stdout",
        "stderr",
        "results/model.bin",
        "results/deep/er/file",
    }
    model = found["results/model.bin"]
    assert model.path.read_bytes() == b"m" * 1000
    assert (model.size, model.sha256) == (1000, hashlib.sha256(b"m" * 1000).hexdigest())
    for path in (model.path, into / RECEIPT_FILE):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == [into]


def test_an_empty_directory_is_taken_and_a_full_one_is_not(tmp_path: Path) -> None:
    into = tmp_path / "out"
    into.mkdir()
    unpacked(into, [archive()])
    assert (into / "stdout").read_bytes() == b"out"
    assert refused(into, [archive()]).code == "out.exists"


@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a full directory"])
def test_what_is_no_directory_of_ours_is_left_alone(tmp_path: Path, kind: str) -> None:
    into, target = tmp_path / "out", tmp_path / "target"
    match kind:
        case "file":
            into.write_bytes(b"mine")
        case "dangling link":
            into.symlink_to(target)
        case _:
            target.mkdir()
            (target / "mine").touch()
            into.symlink_to(target)
    assert refused(into, [archive()]).code in {"out.exists", "out.unwritable"}
    assert not target.exists() or [item.name for item in target.iterdir()] == ["mine"]


@pytest.mark.parametrize("into", ["/", "/proc/nowhere/out", "/dev/null/out", "/tmp/" + "n" * 255])
def test_a_place_that_cannot_be_is_refused(into: str) -> None:
    with pytest.raises(ConfigError) as caught, FreshDirectory(Path(into)):
        pass
    assert caught.value.code in {"out.unwritable", "out.exists"}


def test_an_archive_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    raw = archive(a=b"x" * 2000)
    for cut in (0, 100, 512, 1600, len(raw) - 600, len(raw) - 1):
        assert refused(tmp_path / "out", [raw[:cut]]).code == "archive.malformed"


def test_bytes_behind_the_end_leave_nothing(tmp_path: Path) -> None:
    assert isinstance(refused(tmp_path / "out", [archive() + b"\0"]), InputError)


def test_a_path_longer_than_this_machine_takes_says_what_to_do(tmp_path: Path) -> None:
    raw = archive(**{"/".join(["n" * 255] * 16): b"deep"})
    error = refused(tmp_path / "out", [raw])
    assert error.code == "out.unwritable"
    assert error.hint is not None
    assert "shorter" in error.hint


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file on a full disk: writing fails, and so does closing."""

        def __init__(self, descriptor: int) -> None:
            os.close(descriptor)

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        close = __enter__ = lambda self: self.write(b"")

    def opened(descriptor: int, _mode: str) -> Full:
        return Full(descriptor)

    monkeypatch.setattr("atoll.client.unpack.os.fdopen", opened)
    error = refused(tmp_path / "out", [archive(a=b"x")])
    assert (error.code, "No space left" in error.message) == ("out.unwritable", True)


def test_what_is_unpacked_is_never_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    root.mkdir()
    (root / "stdout").symlink_to(outside)
    with pytest.raises(ConfigError):
        Unpacker(root).feed(archive())
    assert not outside.exists()
