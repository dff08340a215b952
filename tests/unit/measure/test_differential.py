"""Launch digests against another implementation, on firmware made up here."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp_launch import Processors, firmware_only_digest, launch_digest
from atoll.measure.vcpu_types import vcpu_signature
from atoll.measure.vmsa import Vmm
from support import ovmf

ORACLE = "sevsnpmeasure"
VMMS = {Vmm.QEMU: "QEMU", Vmm.EC2: "ec2", Vmm.GCE: "gce"}


@pytest.fixture(scope="module")
def oracle() -> Any:
    pytest.importorskip(ORACLE)
    names = ("guest", "vmm_types", "sev_mode", "vcpu_types")
    return {name: importlib.import_module(f"{ORACLE}.{name}") for name in names}


@given(
    vcpus=st.integers(1, 9),
    signature=st.integers(0, (1 << 32) - 1),
    features=st.integers(0, (1 << 64) - 1),
    vmm=st.sampled_from(Vmm),
    append=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    kernel=st.none() | st.binary(max_size=40),
    reset_eip=st.integers(1, (1 << 32) - 1),
    order=st.permutations(ovmf.SECTIONS),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_agrees_on_random_launches(
    *,
    oracle: Any,
    tmp_path: Path,
    vcpus: int,
    signature: int,
    features: int,
    vmm: Vmm,
    append: str,
    kernel: bytes | None,
    reset_eip: int,
    order: list[tuple[int, int, int]],
) -> None:
    image = ovmf.image(sev=ovmf.metadata(order)).replace(
        ovmf.RESET_EIP.to_bytes(4, "little"), reset_eip.to_bytes(4, "little")
    )
    paths = {name: tmp_path / name for name in ("ovmf", "kernel", "initrd")}
    paths["ovmf"].write_bytes(image)
    paths["kernel"].write_bytes(kernel or b"")
    paths["initrd"].write_bytes(b"initrd")
    expected = oracle["guest"].snp_calc_launch_digest(
        vcpus,
        signature,
        str(paths["ovmf"]),
        str(paths["kernel"]) if kernel is not None else "",
        str(paths["initrd"]),
        append,
        features,
        "",
        vmm_type=oracle["vmm_types"].VMMType[VMMS[vmm]],
    )
    hashes = None
    if kernel is not None:
        hashes = KernelHashes.of(kernel, initrd=b"initrd", append=append)
    processors = Processors(count=vcpus, signature=signature, guest_features=features)
    got = launch_digest(Firmware.from_bytes(image), processors, vmm=vmm, kernel=hashes)
    assert got == expected


def test_agrees_on_the_digest_of_firmware_alone(oracle: Any, tmp_path: Path) -> None:
    path = tmp_path / "ovmf"
    path.write_bytes(ovmf.image(pages=5))
    expected = oracle["guest"].calc_snp_ovmf_hash(str(path))
    assert firmware_only_digest(Firmware.from_bytes(path.read_bytes())) == expected


def test_agrees_on_every_vcpu_type_that_both_know(oracle: Any) -> None:
    for name, signature in oracle["vcpu_types"].CPU_SIGS.items():
        assert vcpu_signature(name) == signature
