"""The image is the same bytes wherever it is built, and holds what it should and no more."""

import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import zstandard
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import atoll
import atoll_agent
from atoll.measure.guest import (
    CMDLINE_FILE,
    DESCRIPTION_FILE,
    DOCKER_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    parse_description,
)
from atoll.measure.kernel_hashes import KernelHashes
from atoll_cli.image.assemble import CONTENTS_FILE, SBOM_FILE
from support.guest_image import CACHE, LOCKS, guest_image  # noqa: F401 - a fixture
from support.newc import Member, newc

pytestmark = pytest.mark.timeout(1800)

SHELLS = re.compile(
    r"(?:ba|da|z|k|c|tc|a)?sh|busybox|toybox|perl|env|login|su|sudo|sshd?|getty|init\.d"
)
AGENT_FILE = "usr/lib/python3/dist-packages/atoll_agent/job.py"


@pytest.fixture(scope="module")
def tree(guest_image: Path) -> Mapping[str, Member]:  # noqa: F811 - the fixture
    """The root of the guest, from the file that it boots."""
    raw = zstandard.ZstdDecompressor().decompress((guest_image / INITRD_FILE).read_bytes())
    return {member.name: member for member in newc(raw)}


def build(folder: Path, *options: str, **environment: str) -> dict[str, object]:
    """What the command says of an image that it builds without fetching anything."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "atoll_cli.main", "image", "build", "--out", str(folder)),
            *("--lock", str(LOCKS), "--cache", str(CACHE), *options),
        ],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    said: dict[str, object] = json.loads(line)
    return said


def test_two_builds_are_the_same_bytes_and_one_byte_of_the_agent_is_another_image(
    guest_image: Path,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    copies = []
    for package in (atoll, atoll_agent):
        source = Path(package.__path__[0])
        copies.append(tmp_path / "src" / source.name)
        shutil.copytree(source, copies[-1], ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--library", str(copies[0]), "--agent", str(copies[1]))
    before = os.umask(0o077)
    try:
        said = build(
            tmp_path / "again", *options, TZ="Pacific/Kiritimati", PYTHONHASHSEED="7", LANG="C"
        )
    finally:
        os.umask(before)
    changed = copies[1] / "job.py"
    changed.write_bytes(changed.read_bytes() + b"\n")
    other = build(tmp_path / "other", *options, TZ="America/Noronha", PYTHONHASHSEED="8")

    ours = parse_description((guest_image / DESCRIPTION_FILE).read_bytes())
    for name in (KERNEL_FILE, INITRD_FILE, CMDLINE_FILE, DOCKER_FILE, SBOM_FILE, CONTENTS_FILE):
        assert digest(tmp_path / "again" / name) == digest(guest_image / name), name
    assert said["digest"] == ours.digest
    assert said["bytes"] == ours.bytes
    assert other["digest"] != ours.digest
    assert (other["kernel"], other["cmdline"]) == (ours.kernel, ours.cmdline)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digests_are_those_that_a_processor_measures(guest_image: Path) -> None:  # noqa: F811
    ours = parse_description((guest_image / DESCRIPTION_FILE).read_bytes())
    cmdline = (guest_image / CMDLINE_FILE).read_text()
    hashes = KernelHashes.of(
        (guest_image / KERNEL_FILE).read_bytes(),
        initrd=(guest_image / INITRD_FILE).read_bytes(),
        append=cmdline,
    )

    assert (hashes.kernel.hex(), hashes.initrd.hex()) == (ours.kernel, ours.initrd)
    # On hardware the NUL at its end counts too.
    assert ours.cmdline == hashlib.sha256(cmdline.encode()).hexdigest()
    assert cmdline == cmdline.strip()


def test_there_is_no_shell_and_no_way_in(tree: Mapping[str, Member]) -> None:
    programs = {
        name.rpartition("/")[2]
        for name, member in tree.items()
        if stat.S_ISREG(member.mode) and member.mode & 0o111
    }

    assert programs == {"init", "python3.13", "bwrap", "ld-linux-x86-64.so.2"}
    assert not [name for name in tree if SHELLS.fullmatch(name.rpartition("/")[2])]
    passwd = tree["etc/passwd"].content.decode()
    assert all(line.split(":")[1] == "x" for line in passwd.splitlines())
    assert "etc/shadow" not in tree


def test_nothing_is_privileged_or_anybodys(tree: Mapping[str, Member]) -> None:
    assert [name for name, item in tree.items() if item.mode & 0o6000] == []
    assert {(item.uid, item.gid, item.mtime) for item in tree.values()} == {(0, 0, 0)}
    links = {name for name, item in tree.items() if stat.S_ISLNK(item.mode)}
    writable = [name for name, item in tree.items() if item.mode & 0o022 and name not in links]
    assert writable == ["tmp"]
    devices = [name for name, item in tree.items() if stat.S_ISCHR(item.mode)]
    assert devices == ["dev/console"]


def test_nothing_is_set_up_to_listen_or_to_reach_a_network(tree: Mapping[str, Member]) -> None:
    network = re.compile(
        r"systemd|inetd|cron|dhcp|resolv\.conf|/etc/network|virtio_net|e1000|nfs\b"
    )

    assert [name for name in tree if network.search(name) and "libsystemd.so" not in name] == []


def test_every_library_that_something_links_to_is_there(tree: Mapping[str, Member]) -> None:
    present = {name.rpartition("/")[2] for name in tree}
    missing = {
        (name, library)
        for name, member in tree.items()
        if member.content[:4] == b"\x7fELF" and not name.endswith(".ko")
        for library in needed(member.content)
        if library not in present
    }

    assert missing == set()


def needed(raw: bytes) -> list[str]:
    """DT_NEEDED of an ELF object (System V ABI, chapter 5), by its section headers."""
    (table,) = struct.unpack_from("<Q", raw, 40)
    (count,) = struct.unpack_from("<H", raw, 60)
    heads = [struct.unpack_from("<IIQQQQIIQQ", raw, table + 64 * index) for index in range(count)]
    found = []
    for _, kind, _, _, offset, size, link, *_ in heads:
        if kind != 6:  # SHT_DYNAMIC
            continue
        strings = heads[link][4]
        for at in range(offset, offset + size, 16):
            tag, value = struct.unpack_from("<QQ", raw, at)
            if tag == 1:
                end = raw.index(b"\0", strings + value)
                found.append(raw[strings + value : end].decode())
    return found


def test_every_source_is_compiled_and_the_compiled_file_asks_for_no_time(
    tree: Mapping[str, Member],
) -> None:
    sources = [
        name for name, member in tree.items() if name.endswith(".py") and stat.S_ISREG(member.mode)
    ]
    for name in sources:
        base, _, file = name.rpartition("/")
        compiled = tree[f"{base}/__pycache__/{file.removesuffix('.py')}.cpython-313.pyc"].content
        # PEP 552: the file names the hash of its source, and is taken without comparing it.
        assert struct.unpack_from("<I", compiled, 4) == (1,), name
    assert AGENT_FILE in sources
    assert len(sources) > 500


def test_the_agent_inside_is_the_one_that_is_installed(tree: Mapping[str, Member]) -> None:
    assert tree[AGENT_FILE].content == (Path(atoll_agent.__path__[0]) / "job.py").read_bytes()
    assert not [name for name in tree if "/docker/" in name and "atoll_agent" not in name]


def test_the_list_of_what_is_inside_is_cyclonedx(guest_image: Path) -> None:  # noqa: F811
    text = (guest_image / SBOM_FILE).read_text()
    ours = parse_description((guest_image / DESCRIPTION_FILE).read_bytes())
    components = json.loads(text)["components"]

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    # And the agent itself.
    assert len(components) == ours.packages + 1
    assert all(re.fullmatch("[0-9a-f]{64}", item["hashes"][0]["content"]) for item in components)
    licensed = [item for item in components if item.get("licenses")]
    assert len(licensed) > len(components) // 2


def test_show_hashes_the_files(guest_image: Path, tmp_path: Path) -> None:  # noqa: F811
    command = [sys.executable, "-m", "atoll_cli.main", "image", "show", "--json"]
    shutil.copytree(guest_image, tmp_path / "image")
    good = subprocess.run([*command, str(tmp_path / "image")], capture_output=True, check=True)
    with (tmp_path / "image" / CMDLINE_FILE).open("a") as file:
        file.write(" init=/planted")
    bad = subprocess.run([*command, str(tmp_path / "image")], capture_output=True, check=False)

    description = parse_description((guest_image / DESCRIPTION_FILE).read_bytes())
    assert json.loads(good.stdout)["digest"] == description.digest
    assert (bad.returncode, json.loads(bad.stdout)["error"]["code"]) == (1, "image.file")
