"""/dev/tdx_guest and the quote generation service behind it."""

import errno
from collections.abc import Callable

import pytest

from atoll.errors import AtollError, EvidenceError, MalformedEvidenceError, UnreachableError
from atoll_agent.evidence import qgs
from atoll_agent.evidence.kernel import Stream
from atoll_agent.evidence.provider import Quoted
from atoll_agent.evidence.tdx_guest import DEVICE, QGS_PORT, TdxGuestProvider
from support.kernel import recorded
from support.kernel.machine import Machine, fault
from support.kernel.tdx import Service, TdxGuest, framed, response, td_report
from unit.agent.evidence.makers import DATA, OTHER, Pauses, quote


def service(report: bytes) -> bytes:
    """What a good one answers."""
    return framed(response(quote(report[0x80:0xC0])))


def machine(answer: Callable[[bytes], bytes] = service, device: TdxGuest | None = None) -> Machine:
    def dial(_: float) -> Stream:
        return Service(answer)

    return Machine(devices={DEVICE: device or TdxGuest()}, services={QGS_PORT: dial})


def ask(on: Machine) -> Quoted:
    return TdxGuestProvider(on, patience=Pauses().patience()).ask(DATA)


def failing(on: Machine) -> AtollError:
    with pytest.raises(AtollError) as caught:
        ask(on)
    return caught.value


async def test_a_quote_comes_from_the_service_of_the_host() -> None:
    assert await TdxGuestProvider(machine()).quote(DATA) == Quoted(report=quote(DATA))


def test_a_recorded_quote_passes_unchanged() -> None:
    found = recorded.tdx()
    on = machine(lambda _: framed(response(found.raw)))
    assert TdxGuestProvider(on).ask(found.report_data).report == found.raw


def test_an_answer_in_single_bytes_is_put_together_and_the_connection_closed() -> None:
    stream = Service(service, piece=1)
    on = Machine(devices={DEVICE: TdxGuest()}, services={QGS_PORT: lambda _: stream})
    assert ask(on).report == quote(DATA)
    assert stream.closed


def test_a_service_that_dribbles_is_given_up_when_its_time_is_over() -> None:
    clock = [0.0]

    def tick() -> None:
        clock[0] += 1

    stream = Service(service, piece=1, passes=tick)
    on = Machine(devices={DEVICE: TdxGuest()}, services={QGS_PORT: lambda _: stream})
    provider = TdxGuestProvider(on, timeout_s=10.0, clock=lambda: clock[0])
    with pytest.raises(UnreachableError, match="no answer in time") as caught:
        provider.ask(DATA)
    assert caught.value.code == "qgs.unreachable"
    assert stream.closed
    assert max(stream.timeouts) == 10.0
    assert min(stream.timeouts) > 0


def test_a_timeout_of_the_connection_is_unreachable() -> None:
    def late() -> None:
        raise TimeoutError

    stream = Service(service, passes=late)
    on = Machine(devices={DEVICE: TdxGuest()}, services={QGS_PORT: lambda _: stream})
    assert failing(on).code == "qgs.unreachable"
    assert stream.closed


def test_without_the_service_it_is_unreachable_with_a_hint() -> None:
    error = failing(Machine(devices={DEVICE: TdxGuest()}))
    assert (error.code, type(error)) == ("qgs.unreachable", UnreachableError)
    assert "ECONNRESET" in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, "tdx_guest.missing"),
        (errno.EACCES, "tdx_guest.denied"),
        (errno.EIO, "tdx_guest.failed"),
        (errno.ENOTTY, "tdx_guest.failed"),
    ],
)
def test_every_errno_of_the_device_has_its_code(number: int, code: str) -> None:
    error = failing(machine(device=TdxGuest(failures=[number])))
    assert (error.code, isinstance(error, EvidenceError)) == (code, True)


def test_without_the_device_it_is_missing() -> None:
    assert failing(Machine()).code == "tdx_guest.missing"


def test_a_busy_device_is_asked_again_and_not_for_ever() -> None:
    assert ask(machine(device=TdxGuest(failures=[errno.EBUSY, errno.EINTR]))).report == quote(DATA)
    error = failing(machine(device=TdxGuest(failures=[errno.EBUSY] * 99)))
    assert (error.code, type(error)) == ("tdx_guest.busy", UnreachableError)


@pytest.mark.parametrize("found", [bytes(1024), td_report(OTHER)], ids=["type", "data"])
def test_a_td_report_of_another_kind_or_data_is_refused(found: bytes) -> None:
    error = failing(machine(device=TdxGuest(report=lambda _: found)))
    assert error.code == "evidence.malformed"


def test_a_quote_over_other_data_is_refused() -> None:
    assert failing(machine(lambda _: framed(response(quote(OTHER))))).code == "evidence.other_data"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (response(b"", error=0x12001), "qgs.refused"),
        (response(b"", error=0x12001, size=16)[:16], "qgs.refused"),
        (response(b"x", major=2), "evidence.malformed"),
        (response(b"x", kind=0), "evidence.malformed"),
        (response(b"x", size=24), "evidence.malformed"),
        (response(b"x", size=16)[:16], "evidence.malformed"),
        (response(b"no quote"), "evidence.malformed"),
    ],
)
def test_what_the_service_says_is_not_believed(message: bytes, code: str) -> None:
    error = failing(machine(lambda _: framed(message)))
    assert error.code == code
    assert isinstance(error, EvidenceError)


@pytest.mark.parametrize("size", [0, 15, qgs.MAX_MESSAGE + 1, 0xFFFFFFFF])
def test_a_frame_beyond_the_limits_is_refused_before_it_is_read(size: int) -> None:
    error = failing(machine(lambda _: size.to_bytes(4, "big")))
    assert isinstance(error, MalformedEvidenceError)


@pytest.mark.parametrize("cut", [0, 3, 4, 100])
def test_an_answer_that_ends_too_soon_is_refused(cut: int) -> None:
    error = failing(machine(lambda report: service(report)[:cut]))
    assert isinstance(error, MalformedEvidenceError)


def test_a_selected_key_and_another_minor_version_are_no_fault() -> None:
    assert qgs.decode_response(response(b"quote", selected=b"i" * 16, minor=9)) == b"quote"


@pytest.mark.parametrize("at", [0x10, 0x14])
def test_sizes_that_do_not_add_up_are_refused(at: int) -> None:
    raw = bytearray(response(b"quote", selected=b"id"))
    raw[at] ^= 1
    with pytest.raises(MalformedEvidenceError):
        qgs.decode_response(bytes(raw))


def test_a_dialled_connection_is_closed_where_sending_fails() -> None:
    class Broken(Service):
        def sendall(self, data: bytes, /) -> None:
            raise fault(errno.EPIPE)

    stream = Broken(service)
    on = Machine(devices={DEVICE: TdxGuest()}, services={QGS_PORT: lambda _: stream})
    assert failing(on).code == "qgs.unreachable"
    assert stream.closed
