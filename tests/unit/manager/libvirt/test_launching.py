"""What guests are launched with: firmware that can do it, and the digest of their settings."""

import hashlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp_launch import Processors, launch_digest
from atoll.measure.tdvf import Tdvf
from atoll.wire.tee import Tee
from atoll_manager.libvirt.domain import DirectBoot, SnpLaunch, TdxLaunch
from atoll_manager.libvirt.launching import launch_of, snp_measurement, tdx_measurement
from support import ovmf

QUOTES = Path("/run/quotes.sock")


@given(st.binary(max_size=200))
def test_the_digest_of_exactly_the_settings_goes_to_the_processor(raw: bytes) -> None:
    snp, tdx = (launch_of(tee, raw, QUOTES) for tee in (Tee.SEV_SNP, Tee.TDX))
    assert snp == SnpLaunch(host_data=hashlib.sha256(raw).digest())
    assert tdx == TdxLaunch(mr_config_id=hashlib.sha384(raw).digest(), quote_socket=QUOTES)


@pytest.mark.parametrize("tee", [Tee.SIMULATED, Tee.VTPM])
def test_what_is_no_processor_s_is_not_launched_by_one(tee: Tee) -> None:
    assert launch_of(tee, b"{}", QUOTES) is None


def image(folder: Path) -> DirectBoot:
    (folder / "kernel").write_bytes(b"kernel")
    (folder / "initrd").write_bytes(b"initrd")
    return DirectBoot(kernel=folder / "kernel", initrd=folder / "initrd", cmdline="quiet")


def test_the_measurement_is_that_of_firmware_image_and_processors(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(ovmf.image())
    found = snp_measurement(
        tmp_path / "OVMF.fd", image(tmp_path), vcpus=2, vcpu_type="EPYC-Milan-v2"
    )
    # Milan's CPUID signature: family 0x19, model 1, stepping 1.
    assert found == launch_digest(
        Firmware.from_bytes(ovmf.image()),
        Processors(count=2, signature=0x00A00F11),
        kernel=KernelHashes.of(b"kernel", initrd=b"initrd", append="quiet"),
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "libvirt.no_firmware"),
        (b"", "libvirt.firmware"),
        (ovmf.td_image(), "libvirt.firmware"),
        # As Debian 12's: it starts under SEV-SNP, and knows nothing of kernels' hashes.
        (ovmf.image(sev=ovmf.metadata(ovmf.SECTIONS[:4])), "libvirt.firmware"),
    ],
)
def test_firmware_that_cannot_check_a_kernel_is_refused(
    content: bytes | None, code: str, tmp_path: Path
) -> None:
    path = tmp_path / "OVMF.fd"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)) as caught:
        snp_measurement(path, image(tmp_path), vcpus=1, vcpu_type="EPYC-v4")
    assert caught.value.code == code
    assert "docs/hosts.md" in (caught.value.hint or "")


def test_debian_12_s_firmware_is_refused(tmp_path: Path) -> None:
    path = Path("/usr/share/ovmf/OVMF.fd")
    if not path.exists():
        pytest.skip(f"{path} is not installed (Debian: ovmf)")
    with pytest.raises(ConfigError, match="does not take the hashes of a kernel") as caught:
        snp_measurement(path, image(tmp_path), vcpus=1, vcpu_type="EPYC-v4")
    assert caught.value.code == "libvirt.firmware"


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(ovmf.image())
    boot = image(tmp_path)
    (tmp_path / "initrd").unlink()
    with pytest.raises(ConfigError, match="initrd") as caught:
        snp_measurement(tmp_path / "OVMF.fd", boot, vcpus=1, vcpu_type="EPYC-v4")
    assert caught.value.code == "image.missing"


def listening(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def test_a_trust_domain_needs_its_firmware_and_somebody_who_makes_quotes(tmp_path: Path) -> None:
    firmware, quotes = tmp_path / "OVMF.fd", tmp_path / "qgs.socket"
    with pytest.raises(ConfigError) as absent:
        tdx_measurement(firmware, quotes)
    firmware.write_bytes(ovmf.image())
    with pytest.raises(ConfigError, match="no TDX metadata") as unfit:
        tdx_measurement(firmware, quotes)
    firmware.write_bytes(ovmf.td_image())
    with pytest.raises(ConfigError, match=str(quotes)) as nobody:
        tdx_measurement(firmware, quotes)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as no_socket:
        tdx_measurement(firmware, tmp_path / "file")
    assert [it.value.code for it in (absent, unfit, nobody, no_socket)] == [
        "libvirt.no_firmware",
        "libvirt.firmware",
        "libvirt.no_quotes",
        "libvirt.no_quotes",
    ]
    expected = Tdvf.from_bytes(firmware.read_bytes()).mr_td()
    assert tdx_measurement(firmware, listening(quotes)) == expected
