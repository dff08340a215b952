"""configfs-tsm: the request, what goes wrong with it, and that nothing of it stays."""

import errno
from collections.abc import Callable
from functools import partial
from itertools import count

import pytest

from atoll.errors import AtollError, EvidenceError, UnreachableError
from atoll.evidence.document import Tee
from atoll_agent.evidence.provider import Quoted
from atoll_agent.evidence.tsm import ROOT, TsmProvider, provider_name
from support.evidence import chain
from support.kernel import recorded
from support.kernel.configfs import ConfigFs, Driver, Entry
from support.kernel.machine import Machine, fault
from unit.agent.evidence.makers import DATA, OTHER, Pauses, quote, report, table

ATTEMPTS = 5


def snp(**changes: object) -> ConfigFs:
    values = {"name": "sev_guest", "report": lambda data, vmpl: (report(data, vmpl), table())}
    return ConfigFs(driver=Driver(**(values | {"floor": 0} | changes)))  # type: ignore[arg-type]


def tdx(**changes: object) -> ConfigFs:
    values = {"name": "tdx_guest", "report": lambda data, _: (quote(data), b"")}
    return ConfigFs(driver=Driver(**(values | {"auxblob": False} | changes)))  # type: ignore[arg-type]


def ask(files: ConfigFs, tee: Tee = Tee.SNP, pauses: Pauses | None = None) -> Quoted:
    """One quote; afterwards no request is there."""
    names = count()
    provider = TsmProvider(
        Machine(files=files),
        tee,
        patience=(pauses or Pauses()).patience(ATTEMPTS),
        token=lambda: str(next(names)),
    )
    try:
        return provider.ask(DATA)
    finally:
        if not files.faults.get("rmdir") and "rmdir" not in files.faults:
            assert files.entries == {}


def failing(files: ConfigFs, tee: Tee = Tee.SNP) -> AtollError:
    with pytest.raises(AtollError) as caught:
        ask(files, tee)
    return caught.value


def test_a_report_comes_with_its_certificates() -> None:
    quoted = ask(snp())
    assert quoted.report == report(DATA)
    assert set(quoted.certs) == set(chain().certificates)


async def test_the_provider_answers_from_a_thread() -> None:
    provider = TsmProvider(Machine(files=snp()), Tee.SNP)
    assert (await provider.quote(DATA)).report == report(DATA)
    with pytest.raises(ValueError, match="63 bytes"):
        await provider.quote(DATA[1:])


def test_a_report_is_asked_for_at_the_lowest_level_that_there_is() -> None:
    assert ask(snp(floor=2)).report == report(DATA, 2)


def test_a_quote_comes_without_levels_and_tables() -> None:
    files = tdx()
    assert ask(files, Tee.TDX) == Quoted(report=quote(DATA))
    assert "write privlevel" not in files.log


def test_a_host_without_certificates_is_no_fault() -> None:
    assert ask(snp(report=lambda data, vmpl: (report(data, vmpl), b""))).certs == ()
    assert ask(snp(auxblob=False)).certs == ()


def answer(raw: bytes, more: bytes, _data: bytes, _level: int) -> tuple[bytes, bytes]:
    return raw, more


def test_recorded_reports_and_quotes_pass_unchanged() -> None:
    for found, files, tee in (
        (recorded.snp(), snp(), Tee.SNP),
        (recorded.snp("Genoa"), snp(), Tee.SNP),
        (recorded.tdx(), tdx(), Tee.TDX),
    ):
        given = found.table() if tee is Tee.SNP else b""
        assert files.driver is not None
        files.driver.report = partial(answer, found.raw, given)
        quoted = TsmProvider(Machine(files=files), tee).ask(found.report_data)
        assert quoted.report == found.raw
        assert len(quoted.certs) == (3 if tee is Tee.SNP else 0)


def test_a_name_that_is_taken_is_left_alone() -> None:
    files = snp()
    files.entries[f"{ROOT}/atoll-0"] = theirs = Entry(inblob=OTHER)
    quoted = TsmProvider(Machine(files=files), Tee.SNP, token=iter("0123").__next__).ask(DATA)
    assert quoted.report == report(DATA)
    assert files.entries == {f"{ROOT}/atoll-0": theirs}


def test_it_gives_up_when_every_name_is_taken() -> None:
    files = snp().fail("mkdir", *[errno.EEXIST] * 4)
    assert failing(files).code == "tsm.failed"


@pytest.mark.parametrize("number", [errno.EINTR, errno.EBUSY, errno.EWOULDBLOCK])
@pytest.mark.parametrize("operation", ["read outblob", "read auxblob", "write privlevel"])
def test_what_passes_is_tried_again(operation: str, number: int) -> None:
    pauses = Pauses()
    assert ask(snp().fail(operation, number, number), pauses=pauses).report == report(DATA)
    assert pauses.taken == [0.05, 0.1]


def test_what_does_not_pass_after_all_is_unreachable() -> None:
    pauses = Pauses()
    with pytest.raises(UnreachableError) as caught:
        ask(tdx().fail("read outblob", *[errno.EBUSY] * 99), Tee.TDX, pauses)
    assert caught.value.code == "tsm.busy"
    assert "EBUSY" in caught.value.message
    assert len(pauses.taken) == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("operation", "number", "code"),
    [
        ("mkdir", errno.ENXIO, "tsm.no_provider"),
        ("mkdir", errno.ENOENT, "tsm.no_provider"),
        ("mkdir", errno.ENOMEM, "tsm.too_large"),
        ("mkdir", errno.EACCES, "tsm.failed"),
        ("read provider", errno.ENOTTY, "tsm.no_provider"),
        ("write privlevel", errno.EINVAL, "tsm.refused"),
        ("write inblob", errno.EACCES, "tsm.failed"),
        ("read outblob", errno.ENXIO, "tsm.refused"),
        ("read outblob", errno.EINVAL, "tsm.refused"),
        ("read outblob", errno.EIO, "tsm.failed"),
        ("read outblob", errno.ENOTTY, "tsm.no_provider"),
        ("read outblob", errno.EFBIG, "tsm.too_large"),
        ("read auxblob", errno.EFBIG, "tsm.too_large"),
        ("read outblob", errno.ETIMEDOUT, "tsm.timeout"),
    ],
)
def test_every_errno_has_its_code(operation: str, number: int, code: str) -> None:
    error = failing(snp().fail(operation, number))
    assert error.code == code
    assert isinstance(error, UnreachableError) == (code == "tsm.timeout")
    assert errno.errorcode[number] in error.message


def test_without_a_driver_there_is_no_request() -> None:
    error = failing(ConfigFs())
    assert error.code == "tsm.no_provider"
    assert error.hint is not None


def test_a_driver_that_goes_away_meanwhile_is_said() -> None:
    files = snp()

    def leave(operation: str, _: Entry) -> None:
        if operation == "read outblob":
            files.driver = None

    files.disturb = leave
    # Without a driver the attributes are not there, either.
    assert failing(files).code == "tsm.no_provider"


@pytest.mark.parametrize("tee", [Tee.TDX, Tee.KEYSTONE])
def test_another_driver_than_was_chosen_is_refused(tee: Tee) -> None:
    assert failing(snp(), tee).code == "tsm.provider"


def test_a_lost_write_is_noticed_and_made_again() -> None:
    files = snp().fail("close inblob", errno.EBUSY)
    assert ask(files).report == report(DATA)
    assert files.log.count("write inblob") == 2


def meddler(when: str, times: int) -> Callable[[str, Entry], None]:
    """Somebody who writes other data to our request just before an operation of ours."""
    left = [times]

    def disturb(operation: str, entry: Entry) -> None:
        if operation == when and left[0]:
            left[0] -= 1
            entry.advance()
            entry.inblob = OTHER

    return disturb


@pytest.mark.parametrize(
    "when", ["write privlevel", "write inblob", "read outblob", "read auxblob"]
)
def test_a_report_over_somebody_elses_data_is_never_given(when: str) -> None:
    files = snp()
    files.disturb = meddler(when, 2)
    assert ask(files).report == report(DATA)


def test_who_never_stops_meddling_is_named() -> None:
    files = snp()
    files.disturb = meddler("read outblob", 99)
    error = failing(files)
    assert (error.code, type(error)) == ("tsm.conflict", UnreachableError)


def test_a_request_that_cannot_be_removed_does_no_harm() -> None:
    files = snp().fail("rmdir", errno.EBUSY)
    assert ask(files).report == report(DATA)
    assert len(files.entries) == 1


@pytest.mark.parametrize(
    ("name", "answer", "code"),
    [
        ("outblob", b"", "evidence.malformed"),
        ("outblob", report(DATA)[:-1], "evidence.malformed"),
        ("outblob", report(DATA) + b"\0", "evidence.malformed"),
        ("outblob", bytes(1 << 20), "evidence.malformed"),
        ("outblob", report(OTHER), "evidence.other_data"),
        ("auxblob", b"\1" * 24, "evidence.malformed"),
        ("auxblob", bytes(1 << 20), "evidence.malformed"),
        ("provider", b"\xff\n", "evidence.malformed"),
        ("provider", b"arm_cca_guest\n", "tsm.provider"),
        ("provider", b"sev_guest" * 99, "evidence.malformed"),
        ("generation", b"-1\n", "evidence.malformed"),
        ("generation", b"9" * 40, "evidence.malformed"),
        ("generation", b"", "evidence.malformed"),
        ("privlevel_floor", b"4\n", "evidence.malformed"),
        ("privlevel_floor", b"0x0\n", "evidence.malformed"),
        ("privlevel_floor", "\u0665\n".encode(), "evidence.malformed"),
    ],
)
def test_nonsense_is_refused(name: str, answer: bytes, code: str) -> None:
    files = snp()
    files.answers[name] = answer
    error = failing(files)
    assert (error.code, isinstance(error, EvidenceError)) == (code, True)


def test_a_table_of_zeros_is_no_table() -> None:
    files = snp()
    files.answers["auxblob"] = bytes(4096)
    assert ask(files).certs == ()


def test_a_quote_over_other_data_is_refused() -> None:
    files = tdx()
    files.answers["outblob"] = quote(OTHER)
    assert failing(files, Tee.TDX).code == "evidence.other_data"
    files.answers["outblob"] = quote(DATA)[:100]
    assert failing(files, Tee.TDX).code.startswith("evidence.")


def test_the_driver_is_known_by_its_name() -> None:
    files = tdx()
    assert provider_name(Machine(files=files)) == "tdx_guest"
    assert files.entries == {}
    files.faults["read provider"] = [fault(errno.EIO)]
    with pytest.raises(EvidenceError):
        provider_name(Machine(files=files))
    assert files.entries == {}
