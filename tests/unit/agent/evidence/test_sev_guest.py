"""/dev/sev-guest: rooms for certificates, throttling, and the errors of firmware and host."""

import errno

import pytest

from atoll.errors import AtollError, EvidenceError, UnreachableError
from atoll_agent.evidence.provider import Quoted
from atoll_agent.evidence.sev_guest import DEVICE, SevGuestProvider
from support.evidence import chain
from support.kernel import recorded
from support.kernel.machine import Machine
from support.kernel.sev import GET_EXT_REPORT, GET_REPORT, PAGE, SevGuest
from unit.agent.evidence.makers import DATA, OTHER, Pauses, report, table


def ask(device: SevGuest, pauses: Pauses | None = None) -> Quoted:
    machine = Machine(devices={DEVICE: device})
    return SevGuestProvider(machine, patience=(pauses or Pauses()).patience()).ask(DATA)


def failing(device: SevGuest) -> AtollError:
    with pytest.raises(AtollError) as caught:
        ask(device)
    return caught.value


def test_a_report_comes_with_its_certificates_in_the_room_that_they_need() -> None:
    device = SevGuest(report, table())
    quoted = ask(device)
    assert quoted.report == report(DATA)
    assert set(quoted.certs) == set(chain().certificates)
    assert device.requests == [GET_EXT_REPORT, GET_EXT_REPORT]


async def test_the_provider_answers_from_a_thread() -> None:
    provider = SevGuestProvider(Machine(devices={DEVICE: SevGuest(report)}))
    assert await provider.quote(DATA) == Quoted(report=report(DATA))


def test_a_recorded_report_passes_unchanged() -> None:
    found = recorded.snp()
    device = SevGuest(lambda _data, _vmpl: found.raw, found.table())
    quoted = SevGuestProvider(Machine(devices={DEVICE: device})).ask(found.report_data)
    assert (quoted.report, len(quoted.certs)) == (found.raw, 3)


def test_a_table_that_grows_meanwhile_is_asked_for_again() -> None:
    device = SevGuest(report, table())
    device.pages = lambda given: {0: 1, 1: 3}.get(given, 3)
    assert set(ask(device).certs) == set(chain().certificates)
    assert device.requests == [GET_EXT_REPORT] * 3


@pytest.mark.parametrize(
    "pages",
    [
        lambda given: given + 1,  # always a page more
        lambda _: 5,  # more than the driver takes
        lambda _: 1 << 19,  # a size with its highest bit set
    ],
    ids=["growing", "beyond", "huge"],
)
def test_who_asks_for_ever_more_room_gets_a_report_without_certificates(pages: object) -> None:
    device = SevGuest(report, table(), pages=pages)  # type: ignore[arg-type]
    assert ask(device) == Quoted(report=report(DATA))
    assert device.requests[-1] == GET_REPORT
    assert len(device.requests) <= 5


def test_a_throttled_request_is_made_again_with_growing_pauses() -> None:
    pauses = Pauses()
    assert ask(SevGuest(report, throttled=3), pauses).report == report(DATA)
    assert pauses.taken == [0.05, 0.1, 0.2]


def test_throttling_without_end_is_unreachable() -> None:
    pauses = Pauses()
    with pytest.raises(UnreachableError) as caught:
        ask(SevGuest(report, throttled=99), pauses)
    assert caught.value.code == "sev_guest.busy"
    assert "host error 0x2" in caught.value.message
    assert len(pauses.taken) == 4


def test_an_interrupted_request_is_made_again() -> None:
    device = SevGuest(report, failures=[(errno.EINTR, 0, 0)])
    assert ask(device).report == report(DATA)


@pytest.mark.parametrize(
    ("number", "fw_error", "code"),
    [
        (errno.EIO, 0x16, "sev_guest.failed"),
        (errno.ETIMEDOUT, 0, "sev_guest.failed"),
        (errno.EINVAL, 0, "sev_guest.refused"),
        (errno.ENOTTY, 0, "sev_guest.disabled"),
        (errno.EACCES, 0, "sev_guest.denied"),
        (errno.ENODEV, 0, "sev_guest.missing"),
        (errno.EBADMSG, 0, "sev_guest.failed"),
    ],
)
def test_an_error_says_what_firmware_and_host_said(number: int, fw_error: int, code: str) -> None:
    error = failing(SevGuest(report, failures=[(number, fw_error, 7)]))
    assert (error.code, isinstance(error, EvidenceError)) == (code, True)
    assert errno.errorcode[number] in error.message
    assert f"firmware error 0x{fw_error:x}, host error 0x7" in error.message
    assert error.hint


def test_a_device_that_lost_its_key_says_so_from_then_on() -> None:
    device = SevGuest(report, failures=[(errno.EIO, 1, 0)])
    assert failing(device).code == "sev_guest.failed"
    assert failing(device).code == "sev_guest.disabled"


def test_without_the_device_it_is_missing() -> None:
    with pytest.raises(EvidenceError) as caught:
        SevGuestProvider(Machine()).ask(DATA)
    assert caught.value.code == "sev_guest.missing"


def test_a_status_of_the_firmware_is_a_refusal() -> None:
    error = failing(SevGuest(report, status=0x16))
    assert error.code == "sev_guest.refused"
    assert "0x16" in error.message


def size_of(value: int) -> bytes:
    return bytes(4) + value.to_bytes(4, "little") + bytes(3992)


@pytest.mark.parametrize("value", [0, 1183, 1185, 3968, 3969, 0xFFFFFFFF])
def test_a_report_of_another_size_is_refused(value: int) -> None:
    device = SevGuest(report, spoil=lambda _: size_of(value))
    assert failing(device).code == "evidence.malformed"


def test_a_report_over_other_data_is_refused() -> None:
    device = SevGuest(lambda _data, vmpl: report(OTHER, vmpl))
    assert failing(device).code == "evidence.other_data"


def test_a_table_that_is_none_is_refused() -> None:
    assert failing(SevGuest(report, b"\1" * PAGE)).code == "evidence.malformed"
