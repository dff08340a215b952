"""`atoll image reference`: from an image to signed values, and from these into a policy."""

from pathlib import Path
from typing import Any

import pytest

from atoll.measure.guest import CMDLINE_FILE, INITRD_FILE
from atoll.measure.ovmf import Firmware
from atoll.measure.reference import Boot, snp_measurements, tdx_fields, vtpm_fields
from atoll.measure.snp_launch import Processors
from atoll.measure.tdvf import Tdvf
from support import ovmf
from unit.cli.console import Console
from unit.manager.libvirt.test_image import written
from unit.measure.test_kernel_handover import image as kernel

CMDLINE = "console=ttyS0 panic=-1"
BOOT = Boot(kernel=kernel(), initrd=b"initrd", cmdline=CMDLINE)


@pytest.fixture
def folder(tmp_path: Path, console: Console) -> Path:
    assert console("keys", "new", "builder").status == 0
    path = tmp_path / "image"
    path.mkdir()
    return written(path, kernel=kernel())


@pytest.fixture
def tdvf(tmp_path: Path) -> Path:
    path = tmp_path / "td.fd"
    path.write_bytes(ovmf.td_image())
    return path


@pytest.fixture
def snp(tmp_path: Path) -> Path:
    path = tmp_path / "snp.fd"
    path.write_bytes(ovmf.image())
    return path


def _section(console: Console, tmp_path: Path, tee: str, file: Path) -> Any:
    """What a policy has after it took the file."""
    public, draft, taken = (tmp_path / name for name in ("builder", f"{tee}.json", f"{tee}.next"))
    public.write_text(console("keys", "show", "builder", "--json").out)
    assert console("policy", "new", "guests", "--tee", tee, "-o", draft).status == 0
    line = ("policy", "corim", "import", file, "--key", public, "--into", draft)
    said = console(*line, "-o", taken, "--json")
    assert said.status == 0, said.err
    return said.document()["document"]["sections"][tee]


def _hex(values: frozenset[bytes]) -> list[str]:
    return sorted(value.hex() for value in values)


def test_a_policy_takes_what_the_image_measures(
    console: Console, tmp_path: Path, folder: Path, tdvf: Path, snp: Path
) -> None:
    options = ("--vcpus", "1-2", "--vcpu-type", "EPYC-v4", "--vcpu-type", "0x00a00f11")
    line = ("image", "reference", folder, "--key", "builder", "--tdvf", tdvf, "--ovmf", snp)
    said = console(*line, *options, "--json")
    assert said.status == 0, said.err
    files = {tee: Path(it["file"]) for tee, it in said.document()["reference"].items()}
    assert sorted(files) == ["sev-snp", "tdx", "vtpm"]
    assert {path.parent for path in files.values()} == {folder}

    section = _section(console, tmp_path, "vtpm", files["vtpm"])
    wanted = vtpm_fields(BOOT)
    assert {name: section[name] for name in wanted} == {k: _hex(v) for k, v in wanted.items()}
    assert section["allow_host_tpm"] is False
    section = _section(console, tmp_path, "tdx", files["tdx"])
    wanted = tdx_fields(BOOT, Tdvf.from_bytes(tdvf.read_bytes()))
    assert {name: section[name] for name in wanted} == {k: _hex(v) for k, v in wanted.items()}
    machines = [
        Processors(count=count, signature=signature)
        for count in (1, 2)
        for signature in (0x800F12, 0xA00F11)
    ]
    measurements = snp_measurements(BOOT, Firmware.from_bytes(snp.read_bytes()), machines)
    section = _section(console, tmp_path, "sev-snp", files["sev-snp"])
    assert section["measurements"] == _hex(measurements)
    assert len(measurements) == 4

    again = console(*line, *options, "--json")
    assert (again.status, again.document()["error"]["code"]) == (1, "file.exists")


def test_values_of_small_machines_are_given_when_asked_for(
    console: Console, tmp_path: Path, folder: Path
) -> None:
    line = ("image", "reference", folder, "--key", "builder", "--memory", "512")
    assert console(*line, "--out", tmp_path, "--until", "2100-01-01").status == 0
    section = _section(console, tmp_path, "vtpm", tmp_path / "reference-vtpm.corim")
    assert section["kernel_digests"] == _hex(vtpm_fields(BOOT, [512 << 20])["kernel_digests"])


def test_one_byte_more_is_refused_or_another_value(
    console: Console, tmp_path: Path, folder: Path
) -> None:
    (folder / INITRD_FILE).write_bytes(b"initrd\0")
    said = console("image", "reference", folder, "--key", "builder", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "image.altered")
    (folder / CMDLINE_FILE).unlink()
    (folder / INITRD_FILE).write_bytes(b"initrd")
    said = console("image", "reference", folder, "--key", "builder", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "image.missing")


def test_bad_options_are_said(console: Console, folder: Path, tdvf: Path, snp: Path) -> None:
    line = ("image", "reference", folder, "--key", "builder")
    usage: tuple[tuple[str | Path, ...], ...] = (
        ("--ovmf", snp),
        ("--vcpu-type", "EPYC-v4"),
        ("--ovmf", snp, "--vcpu-type", "EPYC-none"),
        *(
            ("--ovmf", snp, "--vcpu-type", "EPYC-v4", "--vcpus", counts)
            for counts in ("0", "2-1", "1-", "-1", "a", "1-99999999", "٣")
        ),
        ("--memory", "1"),
        ("--until", "tomorrow"),
    )
    for bad in usage:
        assert console(*line, *bad).status == 2, bad
    refused: tuple[tuple[tuple[str | Path, ...], str], ...] = (
        (("--tdvf", snp), "measure.firmware"),
        (("--ovmf", tdvf, "--vcpu-type", "EPYC-v4"), "measure.firmware"),
        (("--ovmf", snp, "--vcpu-type", "EPYC-v4", "--vcpus", "1-300"), "corim.invalid"),
        (("--memory", "384", "--tdvf", snp.parent / "image" / "vmlinuz"), "measure.firmware"),
    )
    for bad, code in refused:
        said = console(*line, *bad, "--json")
        assert (said.status, said.document()["error"]["code"]) == (1, code), bad
    assert not list(folder.glob("*.corim"))
    said = console(*line[:3], "--key", "nobody", "--json")
    assert said.status == 1
