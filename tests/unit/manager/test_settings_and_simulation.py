"""What the manager is set up with is checked before it takes any work."""

from pathlib import Path

import pytest

from atoll import settings
from atoll.errors import ConfigError
from atoll.evidence.snp import AttestationReport
from atoll.measure.machine import measure_machine
from atoll_manager import simulation
from atoll_manager.config import PREFIX, ManagerConfig
from atoll_manager.drivers.apart import EGRESS_SETTING, Apart, egress_of
from atoll_manager.drivers.driver import EnclaveSpec
from support.evidence import Binding, chain

ENV = {
    "ATOLL_MANAGER_NATS_URL": "nats://127.0.0.1:4222",
    "ATOLL_MANAGER_NATS_CREDS_FILE": "manager.creds",
    "ATOLL_MANAGER_SENTINEL_FILE": "sentinel.jwt",
    "ATOLL_MANAGER_HOST_ID": "host-1",
    "ATOLL_MANAGER_DATA_DIR": "data",
}


def test_settings_are_read() -> None:
    assert settings.read(ManagerConfig, PREFIX, ENV).slots == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLOTS", "0"),
        ("SLOTS", "-1"),
        ("SLOTS", "4097"),
        ("HOST_ID", "a.b"),
        ("HOST_ID", ""),
        ("BOOT_TIMEOUT_S", "0"),
        ("STOP_GRACE_S", "-1"),
        ("ADOPTION_WINDOW_S", "7.5"),
        ("WARM_MIN", "-1"),
        ("WARM_MAX", "4097"),
        ("PATIENCE_S", "0"),
        ("ACCELERATION", "fast"),
        ("TEE", "sev"),
        ("TEE", "vtpm"),
        ("TEE", "sev-snp"),
        ("TEE", "tdx"),
        ("VCPU_TYPE", "EPYC-v4"),
        ("VTPM_AUTHORITY_FILE", "authority.pem"),
        ("GUEST_MEMORY_MIB", "383"),
        ("GUEST_MEMORY_MIB", "-1"),
        ("EMULATOR", "qemu"),
        ("EGRESS", "example.org"),
        ("EGRESS", "a:1,*:443"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        settings.read(ManagerConfig, PREFIX, {**ENV, PREFIX + name: value})
    assert caught.value.code == "config.invalid"


def test_where_jobs_may_connect_to_is_told_to_who_holds_them_to_it() -> None:
    config = settings.read(ManagerConfig, PREFIX, {**ENV, PREFIX + "EGRESS": "a:1,*.b:2"})
    assert config.egress == ("a:1", "*.b:2")
    agents = {"ATOLL_AGENT_NATS_URL": "nats://127.0.0.1:4222", EGRESS_SETTING: "a:1,*.b:2"}
    assert egress_of(agents) == ["a:1", "*.b:2"]
    assert egress_of({}) == []
    # An enclave with a channel has no network to be held to anything with.
    assert EGRESS_SETTING not in Apart().settings(agents)


HARDWARE = {
    "sev-snp": {"DRIVER": "libvirt", "IMAGE": "image", "TEE": "sev-snp", "VCPU_TYPE": "EPYC-v4"},
    "tdx": {"DRIVER": "libvirt", "IMAGE": "image", "TEE": "tdx"},
}


def of_hardware(tee: str, **more: str) -> ManagerConfig:
    own = {PREFIX + name: value for name, value in (HARDWARE[tee] | more).items()}
    return settings.read(ManagerConfig, PREFIX, {**ENV, **own})


def test_hardware_has_the_firmware_of_its_kind_or_the_one_that_is_named() -> None:
    for tee, name in (("sev-snp", "OVMF.amdsev.fd"), ("tdx", "OVMF.inteltdx.ms.fd")):
        found = of_hardware(tee)
        assert found.is_hardware
        assert found.firmware_file == Path("/usr/share/ovmf") / name
        named = of_hardware(tee, FIRMWARE="own.fd").firmware_file
        assert named == Path("own.fd").absolute()
    plain = settings.read(ManagerConfig, PREFIX, {**ENV, f"{PREFIX}FIRMWARE": "/own.fd"})
    assert (plain.is_hardware, plain.firmware_file) == (False, None)


@pytest.mark.parametrize(
    ("tee", "name", "value", "reason"),
    [
        ("sev-snp", "DRIVER", "docker", "driver libvirt"),
        ("sev-snp", "VCPU_TYPE", "", "needs one"),
        ("sev-snp", "VCPU_TYPE", "Skylake", "not known"),
        ("sev-snp", "VCPU_TYPE", "0x00a00f11", "name of a model"),
        ("sev-snp", "ACCELERATION", "tcg", "KVM only"),
        ("sev-snp", "SIMULATED_DIR", "simulated", "has no part in it"),
        ("sev-snp", "VTPM_AUTHORITY_FILE", "authority.pem", "TEE=vtpm"),
        ("tdx", "DRIVER", "docker", "driver libvirt"),
        ("tdx", "VCPU_TYPE", "EPYC-v4", "TEE=sev-snp"),
        ("tdx", "ACCELERATION", "tcg", "KVM only"),
        ("tdx", "SIMULATED_DIR", "simulated", "has no part in it"),
        ("tdx", "QUOTE_SOCKET", "qgs.socket", "absolute path"),
    ],
)
def test_hardware_that_makes_no_sense_stops_the_start(
    tee: str, name: str, value: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        of_hardware(tee, **{name: value})
    assert caught.value.code == "config.invalid"


def test_a_host_whose_guests_have_a_tpm_plays_no_processor() -> None:
    own = {"DRIVER": "libvirt", "IMAGE": "image", "TEE": "vtpm", "VTPM_AUTHORITY_FILE": "a.pem"}
    given = ENV | {PREFIX + name: value for name, value in own.items()}
    found = settings.read(ManagerConfig, PREFIX, given)
    assert (found.is_simulated, found.is_hardware) == (False, False)
    with pytest.raises(ConfigError, match="has no part in it"):
        settings.read(ManagerConfig, PREFIX, {**given, PREFIX + "SIMULATED_DIR": "simulated"})


def test_a_chain_that_is_missing_or_damaged_stops_the_start(tmp_path: Path) -> None:
    for content in (None, b"", b"no chain", chain().to_pem()[:-200]):
        if content is not None:
            (tmp_path / simulation.CHAIN_FILE).write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            simulation.load(tmp_path)
        assert caught.value.code == "simulated.chain"


def test_a_launch_measures_the_agent_and_takes_the_manifest_as_host_data(tmp_path: Path) -> None:
    (tmp_path / simulation.CHAIN_FILE).write_bytes(chain().to_pem())
    simulated = simulation.load(tmp_path)
    spec = EnclaveSpec(enclave_id="e1", job_id="j1", attempt=1, manifest_digest="ab" * 32)
    one, other = (
        AttestationReport.from_bytes(simulated.launch(spec).attest(Binding().report_data)).body
        for _ in range(2)
    )
    assert one.measurement == simulated.measurement
    assert one.host_data == bytes.fromhex("ab" * 32)
    assert one.report_id != other.report_id


def test_no_more_can_wait_at_least_than_at_most() -> None:
    both = {f"{PREFIX}WARM_MIN": "3", f"{PREFIX}WARM_MAX": "2"}
    with pytest.raises(ConfigError) as caught:
        settings.read(ManagerConfig, PREFIX, {**ENV, **both})
    assert caught.value.code == "config.invalid"
    alone = settings.read(ManagerConfig, PREFIX, {**ENV, f"{PREFIX}WARM_MIN": "3"})
    assert (alone.warm_min, alone.warm_max) == (3, 0)


def test_an_enclave_without_a_job_is_launched_without_host_data(tmp_path: Path) -> None:
    (tmp_path / simulation.CHAIN_FILE).write_bytes(chain().to_pem())
    simulated = simulation.load(tmp_path)
    spec = EnclaveSpec(enclave_id="e1", job_id="", attempt=0, manifest_digest="")
    report = AttestationReport.from_bytes(simulated.launch(spec).attest(Binding().report_data))
    assert (report.body.measurement, report.body.host_data) == (simulated.measurement, bytes(32))
    assert simulated.state() == simulated.state()


@pytest.mark.parametrize("driver", ["docker", "libvirt"])
def test_what_starts_an_image_needs_one(driver: str) -> None:
    with pytest.raises(ConfigError, match="IMAGE"):
        settings.read(ManagerConfig, PREFIX, {**ENV, f"{PREFIX}DRIVER": driver})


def test_another_image_is_another_measurement() -> None:
    one, other = (measure_machine(digest) for digest in ("00" * 32, "01" + "00" * 31))
    assert one != other
    assert len(one) == 48
