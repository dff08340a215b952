"""`atoll measure snp`."""

import json
from pathlib import Path

import pytest

from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp_launch import Processors, firmware_only_digest, launch_digest
from atoll.measure.vmsa import Vmm
from support import ovmf
from unit.cli.console import Console

MILAN = 0x00A00F11


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(ovmf.image())
    return path


def _fixed(firmware: Path) -> tuple[str | Path, ...]:
    return ("measure", "snp", "--ovmf", firmware, "--vcpus", "2", "--vcpu-type", "EPYC-Milan-v2")


def test_prints_the_measurement_and_nothing_else(console: Console, firmware: Path) -> None:
    said = console(*_fixed(firmware))
    expected = launch_digest(
        Firmware.from_bytes(ovmf.image()), Processors(count=2, signature=MILAN)
    )
    assert (said.status, said.out, said.err) == (0, expected.hex() + "\n", "")


def test_measures_a_kernel_with_what_it_is_given(
    console: Console, firmware: Path, tmp_path: Path
) -> None:
    (tmp_path / "kernel").write_bytes(b"kernel")
    (tmp_path / "initrd").write_bytes(b"initrd")
    said = console(
        *_fixed(firmware), "--kernel", tmp_path / "kernel", "--initrd", tmp_path / "initrd",
        "--append", "quiet", "--guest-features", "0x21", "--json",
    )  # fmt: skip
    hashes = KernelHashes.of(b"kernel", initrd=b"initrd", append="quiet")
    processors = Processors(count=2, signature=MILAN, guest_features=0x21)
    expected = launch_digest(Firmware.from_bytes(ovmf.image()), processors, kernel=hashes)
    document = said.document()
    assert document["measurement"] == expected.hex()
    assert document["cmdline_sha256"] == hashes.cmdline.hex()
    assert document["guest_features"] == "0x21"
    assert document["vcpu_signature"] == "0x00a00f11"


def test_the_end_of_firmware_is_enough_with_its_hash(
    console: Console, firmware: Path, tmp_path: Path
) -> None:
    whole = firmware_only_digest(Firmware.from_bytes(ovmf.image()))
    end = tmp_path / "end"
    end.write_bytes(ovmf.image()[-4096:])
    said = console(*_fixed(end), "--ovmf-hash", whole.hex())
    assert said.out == console(*_fixed(firmware)).out


def test_a_cloud_needs_no_vcpu_type(console: Console, firmware: Path) -> None:
    said = console("measure", "snp", "--ovmf", firmware, "--vcpus", "1", "--vmm", "gce", "--json")
    expected = launch_digest(
        Firmware.from_bytes(ovmf.image()), Processors(count=1, signature=0), vmm=Vmm.GCE
    )
    assert said.document()["measurement"] == expected.hex()
    assert said.document()["vcpu_signature"] is None
    assert console("measure", "snp", "--ovmf", firmware, "--vcpus", "1").status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--vcpus", "0"),
        ("--vcpus", "5000"),
        ("--vcpu-type", "i486"),
        ("--guest-features", "xyz"),
        ("--guest-features", "1" + "0" * 16),
        ("--guest-features", "-1"),
        ("--ovmf-hash", "00"),
        ("--ovmf-hash", "zz"),
        ("--vmm", "xen"),
        ("--append", "quiet"),
        ("--initrd", __file__),
        ("--kernel", "/does/not/exist"),
    ],
)
def test_wrong_options_are_usage_errors(
    console: Console, firmware: Path, arguments: tuple[str, ...]
) -> None:
    said = console(*_fixed(firmware), *arguments)
    assert said.status == 2
    assert said.err.startswith("error: ")


@pytest.mark.parametrize("raw", [b"", b"x" * 4096, bytes(8192)])
def test_what_is_no_firmware_is_a_failure(console: Console, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad"
    path.write_bytes(raw)
    said = console(*_fixed(path), "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "measure.firmware"


def test_a_policy_says_this_image(console: Console, firmware: Path, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"kernel")
    image = (*_fixed(firmware)[2:], "--kernel", tmp_path / "kernel", "--append", "quiet")
    digest = console("measure", "snp", *image).out.strip()
    made = tmp_path / "policy.json"
    said = console("policy", "new", "fleet", *image, "-o", made)
    assert said.status == 0, said.err
    section = json.loads(made.read_bytes())["sections"]["sev-snp"]
    assert section["measurements"] == [digest]
    other = tmp_path / "other.json"
    both = ("policy", "new", "fleet", *image, "--measurement", "00" * 48, "-o", other)
    assert console(*both).status == 0
    section = json.loads(other.read_bytes())["sections"]["sev-snp"]
    assert section["measurements"] == sorted(["00" * 48, digest])


@pytest.mark.parametrize(
    "options",
    [
        ("--vcpus", "2"),
        ("--append", "quiet"),
        ("--tee", "tdx", "--ovmf", "OVMF.fd", "--vcpus", "2", "--vcpu-type", "EPYC-v4"),
        ("--ovmf", "OVMF.fd", "--vcpu-type", "EPYC-v4"),
        ("--ovmf", "OVMF.fd", "--vcpus", "2"),
        ("--ovmf", "OVMF.fd", "--vcpus", "2", "--vcpu-type", "EPYC-v4", "--append", "quiet"),
    ],
)
def test_a_policy_of_half_an_image_is_a_usage_error(
    console: Console, firmware: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    given = [firmware if option == "OVMF.fd" else option for option in options]
    made = tmp_path / "policy.json"
    assert console("policy", "new", "fleet", *given, "-o", made).status == 2
    assert not made.exists()
