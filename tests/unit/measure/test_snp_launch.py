"""Launch digests: published ones, and that every input counts exactly where it should."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp_launch import (
    MAX_VCPUS,
    Processors,
    firmware_only_digest,
    launch_digest,
)
from atoll.measure.vcpu_types import VCPU_TYPES, cpuid_signature, vcpu_signature
from atoll.measure.vmsa import Vmm, vmsa_page
from support import ovmf, vectors

MILAN = VCPU_TYPES["EPYC-Milan"]
ONE = Processors(count=1, signature=MILAN)
TWO = Processors(count=2, signature=MILAN)
KERNEL = KernelHashes.of(b"kernel", initrd=b"initrd", append="quiet")


def _firmware(**options: Any) -> Firmware:
    return Firmware.from_bytes(ovmf.image(**options))


def _of_vector(case: dict[str, Any]) -> bytes:
    params = case["params"]
    kernel = None
    if params["kernel"] is not None:
        initrd = vectors.read(params["initrd"]) if params["initrd"] else b""
        append = params["append"] or ""
        kernel = KernelHashes.of(vectors.read(params["kernel"]), initrd=initrd, append=append)
    return launch_digest(
        Firmware.from_bytes(vectors.read(case["path"])),
        Processors(
            count=params["vcpus"],
            signature=params["vcpu_sig"],
            guest_features=params["guest_features"],
        ),
        vmm=Vmm(params["vmm"]),
        kernel=kernel,
        firmware_digest=bytes.fromhex(params["ovmf_hash"]) or None,
    )


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["id"]) for case in vectors.of_kind("snp_launch_digest")]
)
def test_agrees_with_a_published_launch_digest(case: dict[str, Any]) -> None:
    same = _of_vector(case).hex() == case["policy"]["measurement"]
    assert same == (case["expected"]["verdict"] == "valid")


def test_the_vectors_are_there() -> None:
    vectors.require()
    assert len(vectors.of_kind("snp_launch_digest")) > 10


def test_each_input_changes_the_digest_of_a_qemu_guest() -> None:
    changed = [
        launch_digest(_firmware(), ONE, kernel=KERNEL),
        launch_digest(_firmware(), ONE),
        launch_digest(_firmware(fill=b"\xa6"), ONE, kernel=KERNEL),
        launch_digest(_firmware(), TWO, kernel=KERNEL),
        launch_digest(_firmware(), Processors(count=1, signature=1), kernel=KERNEL),
        launch_digest(
            _firmware(), Processors(count=1, signature=MILAN, guest_features=0x21), kernel=KERNEL
        ),
        launch_digest(_firmware(), ONE, kernel=KERNEL, vmm=Vmm.EC2),
        launch_digest(_firmware(), ONE, kernel=KERNEL, vmm=Vmm.GCE),
        launch_digest(_firmware(), ONE, kernel=KERNEL, firmware_digest=bytes(48)),
        *(
            launch_digest(_firmware(), ONE, kernel=kernel)
            for kernel in (
                KernelHashes.of(b"Kernel", initrd=b"initrd", append="quiet"),
                KernelHashes.of(b"kernel", initrd=b"Initrd", append="quiet"),
                KernelHashes.of(b"kernel", initrd=b"initrd", append="quiet "),
            )
        ),
    ]
    assert len(set(changed)) == len(changed)


def test_a_type_of_vcpu_does_not_count_on_the_clouds() -> None:
    other = Processors(count=1, signature=1)
    for vmm in (Vmm.EC2, Vmm.GCE):
        assert launch_digest(_firmware(), ONE, vmm=vmm) == launch_digest(
            _firmware(), other, vmm=vmm
        )


def test_only_the_end_of_firmware_is_enough_with_the_digest_of_the_whole() -> None:
    whole = _firmware(pages=8)
    end = Firmware.from_bytes(whole.image[-4096:])
    digest = launch_digest(end, TWO, kernel=KERNEL, firmware_digest=firmware_only_digest(whole))
    assert digest == launch_digest(whole, TWO, kernel=KERNEL)
    with pytest.raises(InputError, match="48"):
        launch_digest(end, TWO, firmware_digest=bytes(47))


def test_firmware_that_takes_no_kernel_is_refused_with_one() -> None:
    without = [section for section in ovmf.SECTIONS if section[2] != 0x10]
    firmware = _firmware(sev=ovmf.metadata(without))
    assert launch_digest(firmware, ONE)
    for bad in (
        firmware,
        _firmware(sev=ovmf.metadata([*ovmf.SECTIONS, ovmf.SECTIONS[-1]])),
        _firmware(sev=ovmf.metadata([*without, (0x810000, 0x2000, 0x10)])),
    ):
        with pytest.raises(InputError) as caught:
            launch_digest(bad, ONE, kernel=KERNEL)
        assert caught.value.code == "measure.kernel"


def test_hashes_that_would_cross_their_page_are_refused() -> None:
    assert KERNEL.to_page(0xF50)[0xF50:0xF52] != b"\0\0"
    for offset in (-1, 0xF51, 0x1000):
        with pytest.raises(InputError) as caught:
            KERNEL.to_page(offset)
        assert caught.value.code == "measure.firmware"


def test_firmware_without_a_reset_block_starts_one_vcpu_only() -> None:
    image = ovmf.image()
    at = image.index((ovmf.RESET_EIP).to_bytes(4, "little"))
    firmware = Firmware.from_bytes(image[:at] + bytes(4) + image[at + 4 :])
    assert launch_digest(firmware, ONE)
    with pytest.raises(InputError) as caught:
        launch_digest(firmware, TWO)
    assert caught.value.code == "measure.reset_block"


def test_the_command_line_counts_with_its_nul() -> None:
    assert KernelHashes.of(b"", append="a").cmdline == hashlib.sha256(b"a\0").digest()
    assert KernelHashes.of(b"").cmdline == hashlib.sha256(b"\0").digest()
    assert KernelHashes.of(b"").initrd == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("append", ["a\0b", "\udcff", "x" * 65537])
def test_refuses_a_command_line_that_cannot_be_one(append: str) -> None:
    with pytest.raises(InputError) as caught:
        KernelHashes.of(b"", append=append)
    assert caught.value.code == "measure.append"


@pytest.mark.parametrize(
    "values",
    [
        {"count": 0, "signature": 0},
        {"count": MAX_VCPUS + 1, "signature": 0},
        {"count": 1, "signature": -1},
        {"count": 1, "signature": 1 << 32},
        {"count": 1, "signature": 0, "guest_features": 1 << 64},
    ],
)
def test_refuses_processors_that_no_guest_has(values: dict[str, int]) -> None:
    with pytest.raises(InputError) as caught:
        Processors(**values)
    assert caught.value.code == "measure.processors"


def test_a_vmsa_has_the_registers_where_the_manual_prints_them() -> None:
    page = vmsa_page(eip=0xFFFFFFF0, vmm=Vmm.QEMU, vcpu_signature=MILAN, guest_features=0x21)
    assert len(page) == 4096
    for at, raw in (
        (0x010, "00f09b00ffff00000000ffff00000000"),
        (0x0D0, "0010"),
        (0x158, "10"),
        (0x178, "f0ff"),
        (0x268, "0604070006040700"),
        (0x310, MILAN.to_bytes(4, "little").hex()),
        (0x3B0, "21"),
        (0x408, "801f"),
        (0x410, "7f03"),
    ):
        wanted = bytes.fromhex(raw)
        assert page[at : at + len(wanted)] == wanted


def test_signatures_are_those_that_processors_answer() -> None:
    assert vcpu_signature("EPYC-v4") == 0x00800F12
    assert vcpu_signature("EPYC-Milan-v2") == vcpu_signature("EPYC-Milan") == 0x00A00F11
    assert vcpu_signature("EPYC-Genoa") == 0x00A10F10
    assert vcpu_signature("EPYC-Turin") == 0x00B00F00
    assert vcpu_signature("0x00a00f11") == 0x00A00F11
    assert cpuid_signature(family=6, model=0x3A, stepping=9) == 0x000306A9


@pytest.mark.parametrize("name", ["", "epyc", "EPYC-", "EPYC-v0", "EPYC-v123", "0x", "0x1ffffffff"])
def test_refuses_a_vcpu_type_that_is_not_known(name: str) -> None:
    with pytest.raises(InputError) as caught:
        vcpu_signature(name)
    assert caught.value.code == "measure.vcpu_type"


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (271, 0, 0), (6, 256, 0), (6, 0, 16)])
def test_a_signature_of_impossible_numbers_is_a_bug(numbers: tuple[int, int, int]) -> None:
    family, model, stepping = numbers
    with pytest.raises(ValueError, match="family"):
        cpuid_signature(family=family, model=model, stepping=stepping)


@given(st.integers(0, 2 * 4096 - 1), st.integers(1, 255))
@settings(max_examples=80)
def test_no_byte_of_firmware_is_ignored(at: int, flip: int) -> None:
    good = ovmf.image()
    bad = bytearray(good)
    bad[at] ^= flip
    try:
        digest = launch_digest(Firmware.from_bytes(bytes(bad)), TWO, kernel=KERNEL)
    except InputError:
        return
    assert digest != launch_digest(Firmware.from_bytes(good), TWO, kernel=KERNEL)
