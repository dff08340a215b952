"""Evidence leaves only when its launch was made for the settings that the guest was given."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError, EvidenceError
from atoll.evidence.document import Tee
from atoll.measure.launch_settings import LaunchSettings
from atoll_agent.boot.main import read_settings
from atoll_agent.evidence import opening, sev_guest, tdx_guest
from atoll_agent.evidence.choose import choose
from atoll_agent.evidence.looking import look
from atoll_agent.evidence.provider import Provider, SettingsBound, require_settings
from support.dcap.quotes import Platform, td_report
from support.evidence import guest, resign
from support.kernel.configfs import ConfigFs, Driver
from support.kernel.machine import Machine
from support.kernel.sev import SevGuest
from support.kernel.tdx import Service, TdxGuest, framed, response
from unit.agent.evidence.makers import DATA, OTHER, table

RAW = json.dumps({"ATOLL_AGENT_NATS_URL": "nats://bus:4222"}).encode()
GIVEN = LaunchSettings.of(RAW)
OTHERS = LaunchSettings.of(RAW + b" ")


@dataclass(frozen=True)
class Launched:
    """What the launch said of the settings."""

    host_data: bytes
    mr_config_id: bytes

    def report(self, user_data: bytes, vmpl: int = 0) -> bytes:
        return guest(host_data=self.host_data).attest(user_data, vmpl=vmpl)

    def quote(self, user_data: bytes) -> bytes:
        body = td_report(report_data=user_data, mr_config_id=self.mr_config_id)
        return Platform(body=body).quote()


RIGHT = Launched(GIVEN.host_data, GIVEN.mr_config_id)
WRONG = {
    "others": Launched(OTHERS.host_data, OTHERS.mr_config_id),
    "none": Launched(bytes(32), bytes(48)),
    "one bit": Launched(
        bytes([GIVEN.host_data[0] ^ 1]) + GIVEN.host_data[1:],
        GIVEN.mr_config_id[:-1] + bytes([GIVEN.mr_config_id[-1] ^ 0x80]),
    ),
}


def tsm_snp(it: Launched) -> Machine:
    driver = Driver("sev_guest", lambda data, vmpl: (it.report(data, vmpl), table()), floor=0)
    return Machine(files=ConfigFs(driver=driver))


def tsm_tdx(it: Launched) -> Machine:
    driver = Driver("tdx_guest", lambda data, _: (it.quote(data), b""), auxblob=False)
    return Machine(files=ConfigFs(driver=driver))


def sev(it: Launched) -> Machine:
    return Machine(devices={sev_guest.DEVICE: SevGuest(it.report, table())})


def tdx(it: Launched) -> Machine:
    def answer(report: bytes) -> bytes:
        return framed(response(it.quote(report[0x80:0xC0])))

    return Machine(
        devices={tdx_guest.DEVICE: TdxGuest()},
        services={tdx_guest.QGS_PORT: lambda _: Service(answer)},
    )


MACHINES: dict[str, Callable[[Launched], Machine]] = {
    "configfs-tsm, SEV-SNP": tsm_snp,
    "configfs-tsm, TDX": tsm_tdx,
    "/dev/sev-guest": sev,
    "/dev/tdx_guest": tdx,
}
each_machine = pytest.mark.parametrize("make", MACHINES.values(), ids=MACHINES)


def provider(machine: Machine, launch_settings: str) -> Provider:
    """As the agent opens it (`atoll_agent.main.run`)."""
    return opening.bound(choose("auto", look(machine)), machine, b"", launch_settings)


def told(tmp_path: Path, raw: bytes = RAW) -> str:
    """What the first process tells the agent of settings that it read."""
    (tmp_path / "raw").write_bytes(raw)
    return read_settings(tmp_path / "raw")["ATOLL_AGENT_LAUNCH_SETTINGS"]


@each_machine
async def test_a_launch_for_the_settings_that_came_gives_evidence(
    make: Callable[[Launched], Machine], tmp_path: Path
) -> None:
    found = provider(make(RIGHT), told(tmp_path))
    assert isinstance(found, SettingsBound)
    quoted = await found.quote(DATA)
    assert DATA in quoted.report
    assert found.tee in {Tee.SNP, Tee.TDX}


@each_machine
@pytest.mark.parametrize("launched", WRONG.values(), ids=WRONG)
async def test_a_launch_for_others_or_none_gives_no_evidence(
    make: Callable[[Launched], Machine], launched: Launched, tmp_path: Path
) -> None:
    with pytest.raises(EvidenceError) as caught:
        await provider(make(launched), told(tmp_path)).quote(DATA)
    assert caught.value.code == "evidence.settings"
    snp = "SNP" in caught.value.message
    wanted, found = (
        (GIVEN.host_data, launched.host_data)
        if snp
        else (GIVEN.mr_config_id, launched.mr_config_id)
    )
    assert wanted.hex() in caught.value.message
    assert found.hex() in caught.value.message


@each_machine
async def test_one_byte_more_in_the_file_is_another_launch(
    make: Callable[[Launched], Machine], tmp_path: Path
) -> None:
    with pytest.raises(EvidenceError) as caught:
        await provider(make(RIGHT), told(tmp_path, RAW + b"\n")).quote(DATA)
    assert caught.value.code == "evidence.settings"


@each_machine
async def test_where_another_process_started_the_agent_there_is_nothing_to_compare(
    make: Callable[[Launched], Machine],
) -> None:
    found = provider(make(WRONG["none"]), "")
    assert not isinstance(found, SettingsBound)
    assert DATA in (await found.quote(DATA)).report


@each_machine
async def test_what_was_wrong_with_the_answer_before_is_still_said(
    make: Callable[[Launched], Machine], tmp_path: Path
) -> None:
    class Stale(Launched):
        def report(self, user_data: bytes, vmpl: int = 0) -> bytes:
            return super().report(OTHER, vmpl)

        def quote(self, user_data: bytes) -> bytes:
            return super().quote(OTHER)

    stale = Stale(RIGHT.host_data, RIGHT.mr_config_id)
    with pytest.raises(EvidenceError) as caught:
        await provider(make(stale), told(tmp_path)).quote(DATA)
    assert caught.value.code == "evidence.other_data"


def test_a_vtpm_has_no_place_for_it() -> None:
    machine = Machine(nodes={"/dev/tpmrm0"})
    choice = choose("vtpm", look(machine))
    chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    found = opening.bound(choice, machine, chain, GIVEN.to_text())
    assert found.tee is Tee.VTPM
    assert not isinstance(found, SettingsBound)


@pytest.mark.parametrize("text", ["none", GIVEN.to_text()[:-1], GIVEN.to_text() + "0"])
def test_digests_that_are_none_stop_the_agent(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        provider(sev(RIGHT), text)
    assert caught.value.code == "config.invalid"


def test_a_quote_of_something_else_than_a_trust_domain_names_no_settings() -> None:
    quote = Platform.sgx().quote()
    with pytest.raises(EvidenceError, match="MRCONFIGID is not there") as caught:
        require_settings(Tee.TDX, quote, GIVEN)
    assert caught.value.code == "evidence.settings"


@given(st.binary(max_size=1300), st.sampled_from([Tee.SNP, Tee.TDX]))
def test_any_bytes_name_other_settings_or_are_no_quote(raw: bytes, tee: Tee) -> None:
    with pytest.raises(EvidenceError):
        require_settings(tee, raw, GIVEN)


@given(st.integers(0, 1183), st.integers(1, 255))
def test_a_changed_byte_of_a_report_matters_where_the_field_is(at: int, flip: int) -> None:
    raw = bytearray(RIGHT.report(DATA))
    raw[at] ^= flip
    inside = 0xC0 <= at < 0xE0
    with suppress(EvidenceError):
        require_settings(Tee.SNP, bytes(raw), GIVEN)
        assert not inside


def test_reports_signed_anew_over_another_host_data_are_refused() -> None:
    report = resign(RIGHT.report(DATA), host_data=OTHERS.host_data)
    with pytest.raises(EvidenceError, match="HOST_DATA"):
        require_settings(Tee.SNP, report, GIVEN)
