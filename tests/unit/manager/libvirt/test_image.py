"""The guest's image on the disk: what is missing or altered is named before anything starts."""

import hashlib
from pathlib import Path

import pytest

from atoll.errors import ConfigError
from atoll.measure import guest
from atoll.measure.guest import GuestImage
from atoll_manager.libvirt import image


def written(
    folder: Path, cmdline: bytes = b"console=ttyS0 panic=-1", kernel: bytes = b"kernel"
) -> Path:
    """An image of a few bytes."""
    files = {
        guest.KERNEL_FILE: kernel,
        guest.INITRD_FILE: b"initrd",
        guest.CMDLINE_FILE: cmdline,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digest, initrd, line = (hashlib.sha256(it).digest() for it in files.values())
    described = GuestImage(
        release="0.1.0",
        digest=guest.image_digest(kernel=digest, initrd=initrd, cmdline=line).hex(),
        kernel=digest.hex(),
        initrd=initrd.hex(),
        cmdline=line.hex(),
        docker="00" * 32,
        docker_id="00" * 32,
        bytes=sum(map(len, files.values())),
        packages=1,
    )
    (folder / guest.DESCRIPTION_FILE).write_bytes(guest.describe(described))
    return folder


def test_an_image_is_what_its_description_says(tmp_path: Path) -> None:
    checked = image.check(written(tmp_path))
    assert checked.boot.kernel == tmp_path / guest.KERNEL_FILE
    assert checked.boot.cmdline == "console=ttyS0 panic=-1"


@pytest.mark.parametrize("name", [guest.KERNEL_FILE, guest.INITRD_FILE, guest.CMDLINE_FILE])
def test_one_byte_of_any_file_is_noticed_and_named(name: str, tmp_path: Path) -> None:
    path = written(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ConfigError, match=name) as caught:
        image.check(tmp_path)
    assert caught.value.code == "image.altered"


@pytest.mark.parametrize(
    "name", [guest.KERNEL_FILE, guest.INITRD_FILE, guest.CMDLINE_FILE, guest.DESCRIPTION_FILE]
)
def test_a_file_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    (written(tmp_path) / name).unlink()
    with pytest.raises(ConfigError, match=name) as caught:
        image.check(tmp_path)
    assert caught.value.code == "image.missing"


def test_a_description_that_is_none_is_unusable(tmp_path: Path) -> None:
    (written(tmp_path) / guest.DESCRIPTION_FILE).write_bytes(b"{}")
    with pytest.raises(ConfigError) as caught:
        image.check(tmp_path)
    assert caught.value.code == "image.unusable"


@pytest.mark.parametrize("cmdline", [b"a\nb", b"\xff", b"a" * 2048])
def test_a_command_line_that_no_kernel_takes_is_unusable(cmdline: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        image.check(written(tmp_path, cmdline))
    assert caught.value.code == "image.unusable"
