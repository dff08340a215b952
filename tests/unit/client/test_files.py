"""Private files: whole or not at all, and for nobody else's eyes."""

import os
import stat
from pathlib import Path

import pytest

from atoll.client.files import make_private_directory, read_private, write_private
from atoll.errors import AtollError, ConfigError, InputError, NotFoundError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def code(error: "pytest.ExceptionInfo[AtollError]") -> str:
    return error.value.code


def test_a_file_and_every_directory_made_for_it_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_private(tmp_path / "home" / "keys" / "me.json", b"secret")
    finally:
        os.umask(old)
    assert mode(tmp_path / "home" / "keys" / "me.json") == 0o600
    assert mode(tmp_path / "home" / "keys") == 0o700
    assert mode(tmp_path / "home") == 0o700
    assert read_private(tmp_path / "home" / "keys" / "me.json", limit=6) == b"secret"


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path)
    write_private(tmp_path / "file", b"")
    assert mode(tmp_path) == 0o755


def test_a_replaced_file_is_private_whatever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_an_exclusive_write_never_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, b"one", exclusive=True)
    with pytest.raises(ConfigError) as caught:
        write_private(path, b"two", exclusive=True)
    assert code(caught) == "file.exists"
    assert path.read_bytes() == b"one"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    for path in (
        tmp_path / "file" / "below",
        tmp_path / "file" / "far" / "below",
        tmp_path / "directory",
        tmp_path / ("n" * 300),
    ):
        with pytest.raises(ConfigError) as caught:
            write_private(path, b"")
        assert code(caught) == "file.unwritable"


def test_a_read_is_bounded_and_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    with pytest.raises(InputError) as large:
        read_private(path, limit=4)
    assert code(large) == "file.too_large"
    with pytest.raises(NotFoundError) as missing:
        read_private(tmp_path / "none", limit=4)
    assert code(missing) == "file.not_found"
    with pytest.raises(InputError) as unreadable:
        read_private(tmp_path, limit=4)
    assert code(unreadable) == "file.unreadable"
