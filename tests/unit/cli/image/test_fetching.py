"""Packages come by their hashes from a cache or an archive; what is gone is named.

apt-get itself is not run here: building the image does that.
"""

import hashlib
import subprocess
from pathlib import Path

import pytest

from atoll.errors import AtollError
from atoll_cli.image import debian
from atoll_cli.image.build import default_cache
from atoll_cli.image.debian import Debian, machine_archives
from atoll_cli.image.locks import LockedDeb
from atoll_cli.image.sources import Archives
from atoll_cli.image.store import FOLDER, Store
from unit.cli.console import Console

RAW = b"package"
LOCKED = LockedDeb("thing", "1.0", len(RAW), hashlib.sha256(RAW).hexdigest(), "pool/thing.deb")
STANZA = """\
Package: {0}
Version: 1.0
Depends: {1}
Size: 7
SHA256: {2}
Filename: pool/{0}.deb

"""


class Apt:
    """Answers like apt-get and apt-cache."""

    def __init__(self, *, brings: bytes | None = None, says: str = "", knows: str = "") -> None:
        self._brings = brings
        self._says = says
        self._knows = knows

    def __call__(
        self, command: list[str], cwd: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.CompletedProcess(command, 0, stdout="", stderr="")
        if "update" in command:
            return done
        if command[0] == "apt-cache":
            names = command[command.index("--") + 1 :]
            needs = {debian.KERNEL: "linux-image-6.12.1-cloud-amd64 (= 6.12.1)"}
            texts = [
                STANZA.format(name, needs.get(name, ""), "a" * 64)
                for name in names
                if name in self._knows or name in needs or name in "".join(needs.values())
            ]
            done.stdout = "".join(texts)
            return done
        if self._brings is not None:
            assert cwd is not None
            (Path(cwd) / "thing_1.0_amd64.deb").write_bytes(self._brings)
        done.stderr, done.returncode = self._says, 100 if self._says else 0
        return done


def fetch(cache: Path, apt: Apt, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(debian, "_run", apt)
    store = Store(cache)
    found = Debian(cache, Archives(main="file:/nowhere"), keyring=Path("/none"))
    found.fetch([LOCKED], store)
    return store


def test_what_the_lock_says_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fetch(tmp_path, Apt(brings=RAW), monkeypatch)

    assert store.get(LOCKED.sha256) == RAW


@pytest.mark.parametrize(
    ("apt", "code", "text"),
    [
        (Apt(brings=b"another"), "image.hash", "thing 1.0"),
        (Apt(says="E: Version '1.0' for 'thing' was not found\n"), "image.package_gone", "thing"),
        (Apt(says="E: Unable to locate package thing\n"), "image.package_gone", "thing"),
        (Apt(says="E: Failed to fetch\n"), "image.fetch", "Failed to fetch"),
    ],
)
def test_what_cannot_be_had_is_named(
    apt: Apt, code: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AtollError, match=text) as caught:
        fetch(tmp_path, apt, monkeypatch)
    assert caught.value.code == code
    assert caught.value.hint
    if code == "image.package_gone":
        assert "atoll image lock" in caught.value.hint


def test_a_lock_has_the_kernel_that_the_newest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_run", Apt(knows="thing"))
    found = Debian(tmp_path, Archives(main="file:/nowhere"), keyring=Path("/none"))

    names = [item.name for item in found.lock(["thing", debian.KERNEL])]
    assert names == ["linux-image-6.12.1-cloud-amd64", "thing"]
    with pytest.raises(AtollError) as caught:
        found.lock(["unknown"])
    assert caught.value.code == "image.package_gone"


def test_a_file_of_the_cache_that_was_damaged_is_as_good_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sha256 = store.put(RAW)
    (tmp_path / FOLDER / sha256).write_bytes(RAW[:-1])

    assert store.get(sha256) is None


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with pytest.raises(AtollError) as caught:
        Store(tmp_path).put(RAW)
    assert caught.value.code == "image.cache"


def test_the_archives_are_those_of_apt(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "a.sources").write_text(
        "Types: deb\nURIs: http://one.example\nSuites: trixie\n"
    )
    assert machine_archives(tmp_path).main == "http://one.example"


def test_the_cache_is_where_the_desktop_says() -> None:
    assert default_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/atoll")
    assert default_cache({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == Path("/h/.cache/atoll")


def test_without_a_lock_the_command_says_where_it_looked(console: Console, tmp_path: Path) -> None:
    said = console("image", "build", "--out", tmp_path / "out", "--lock", tmp_path, "--json")

    assert said.status == 1
    assert "image.lock" in said.out
    assert "packages.lock" in said.err


def test_an_image_is_refused_when_its_description_is_none(console: Console, tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text("{}")
    said = console("image", "show", tmp_path, "--json")

    assert (said.status, "image.description" in said.out) == (1, True)
    (tmp_path / "image.json").unlink()
    assert console("image", "show", tmp_path, "--json").status == 1
