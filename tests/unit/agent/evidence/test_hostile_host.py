"""Whatever a host makes the kernel answer, there is a quote over our data or a documented error."""

import errno
from contextlib import suppress
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, UnreachableError
from atoll.evidence.document import MAX_CERTS, MAX_REPORT, Tee
from atoll_agent.evidence import qgs, sev_guest, tdx_guest
from atoll_agent.evidence.provider import Quoted, snp_quoted, tdx_quoted
from atoll_agent.evidence.sev_guest import SevGuestProvider
from atoll_agent.evidence.tdx_guest import TdxGuestProvider
from atoll_agent.evidence.tsm import TsmProvider
from support.kernel.configfs import ConfigFs, Driver, Entry
from support.kernel.machine import Machine, fault
from support.kernel.sev import SevGuest
from support.kernel.tdx import Service, TdxGuest, framed, response
from unit.agent.evidence.makers import DATA, OTHER, Pauses, quote, report, table

NUMBERS = st.sampled_from(sorted(errno.errorcode))
OPERATIONS = st.sampled_from(
    [
        *("mkdir", "read provider", "read generation", "read privlevel_floor", "rmdir"),
        *("write privlevel", "write inblob", "close inblob", "read outblob", "read auxblob"),
    ]
)
FAULTS = st.dictionaries(OPERATIONS, st.lists(NUMBERS, max_size=6), max_size=4)
FLIPS = st.integers(1, 255)
BLOBS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda at, byte: _flip(report(DATA), at, byte), st.integers(0, 1183), FLIPS),
    st.builds(lambda at, byte: _flip(quote(DATA), at, byte), st.integers(0, 1183), FLIPS),
    st.builds(lambda at, byte: _flip(table(), at, byte), st.integers(0, 95), FLIPS),
    st.sampled_from([b"", report(OTHER), quote(OTHER), bytes(1 << 16), table()]),
)
TEXTS = st.one_of(st.binary(max_size=80), st.integers().map(lambda number: b"%d\n" % number))
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "outblob": BLOBS,
        "auxblob": BLOBS,
        "provider": TEXTS,
        "generation": TEXTS,
        "privlevel_floor": TEXTS,
    },
)


def _flip(raw: bytes, at: int, byte: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= byte
    return bytes(changed)


def is_documented(provider: TsmProvider | SevGuestProvider | TdxGuestProvider) -> bool:
    """Ask; whether a quote came."""
    try:
        found = provider.ask(DATA)
    except (EvidenceError, UnreachableError) as error:
        if error.code in {"evidence.invalid", "unreachable"}:
            raise  # these name nothing
        return False
    require_sound(found, provider.tee)
    return True


def require_sound(found: Quoted, tee: Tee) -> None:
    """It fits an evidence document, and is over our data."""
    assert 0 < len(found.report) <= MAX_REPORT
    assert len(found.certs) <= MAX_CERTS
    start = 0x50 if tee is Tee.SNP else 568
    assert found.report[start : start + 64] == DATA


@given(FAULTS, ANSWERS, st.sampled_from([Tee.SNP, Tee.TDX]), st.integers(0, 40))
@settings(max_examples=200)
def test_configfs(
    faults: dict[str, list[int]],
    answers: dict[str, bytes],
    tee: Tee,
    meddle: int,
) -> None:
    driver = (
        Driver("sev_guest", lambda data, vmpl: (report(data, vmpl), table()), floor=0)
        if tee is Tee.SNP
        else Driver("tdx_guest", lambda data, _: (quote(data), b""), auxblob=False)
    )
    turns = count()

    def disturb(_: str, entry: Entry) -> None:
        if next(turns) == meddle:
            entry.advance()
            entry.inblob = OTHER

    files = ConfigFs(driver=driver, answers=answers, disturb=disturb)
    for operation, numbers in faults.items():
        files.fail(operation, *numbers)
    provider = TsmProvider(Machine(files=files), tee, patience=Pauses().patience())
    is_documented(provider)
    if not faults.get("rmdir"):
        assert files.entries == {}


@given(
    st.lists(st.tuples(NUMBERS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=6),
    st.integers(0, 9),
    BLOBS,
    st.one_of(st.none(), st.lists(st.integers(0, 1 << 20), min_size=1, max_size=6)),
    st.one_of(st.none(), st.binary(min_size=0, max_size=64)),
)
@settings(max_examples=200)
def test_sev_guest(
    failures: list[tuple[int, int, int]],
    throttled: int,
    certificates: bytes,
    pages: list[int] | None,
    head: bytes | None,
) -> None:
    device = SevGuest(report, certificates, throttled=throttled, failures=failures)
    if pages is not None:
        turns = iter(pages)
        device.pages = lambda given: next(turns, given)
    if head is not None:
        device.spoil = lambda found: head + found[len(head) :]
    machine = Machine(devices={sev_guest.DEVICE: device})
    is_documented(SevGuestProvider(machine, patience=Pauses().patience()))


@given(
    st.lists(NUMBERS, max_size=6),
    st.one_of(
        st.binary(max_size=100),
        st.binary(max_size=100).map(framed),
        BLOBS.map(lambda blob: framed(response(blob))),
        st.builds(
            lambda at, byte: _flip(framed(response(quote(DATA))), at, byte),
            st.integers(0, 700),
            st.integers(1, 255),
        ),
    ),
    st.integers(1, 3000),
)
@settings(max_examples=200)
def test_tdx_guest(failures: list[int], answer: bytes, piece: int) -> None:
    machine = Machine(
        devices={tdx_guest.DEVICE: TdxGuest(failures=failures)},
        services={tdx_guest.QGS_PORT: lambda _: Service(lambda _: answer, piece=piece)},
    )
    is_documented(TdxGuestProvider(machine, patience=Pauses().patience()))


@given(NUMBERS)
def test_a_service_that_cannot_be_dialled(number: int) -> None:
    def dial(_: float) -> Service:
        raise fault(number)

    machine = Machine(devices={tdx_guest.DEVICE: TdxGuest()}, services={tdx_guest.QGS_PORT: dial})
    assert not is_documented(TdxGuestProvider(machine))


@given(st.binary(max_size=200))
def test_any_bytes_as_a_response(raw: bytes) -> None:
    with suppress(EvidenceError):
        assert raw.endswith(qgs.decode_response(raw))


@given(BLOBS, BLOBS)
def test_any_bytes_as_report_and_table(blob: bytes, more: bytes) -> None:
    with suppress(EvidenceError):
        require_sound(snp_quoted(blob, more, DATA), Tee.SNP)
    with suppress(EvidenceError):
        require_sound(tdx_quoted(blob, DATA), Tee.TDX)


def test_an_honest_host_gets_a_quote_through_each() -> None:
    """So that the properties above are not about errors only."""
    files = ConfigFs(
        driver=Driver("sev_guest", lambda data, vmpl: (report(data, vmpl), table()), 0)
    )
    assert is_documented(TsmProvider(Machine(files=files), Tee.SNP))
    assert is_documented(
        SevGuestProvider(Machine(devices={sev_guest.DEVICE: SevGuest(report, table())}))
    )
    good = framed(response(quote(DATA)))
    machine = Machine(
        devices={tdx_guest.DEVICE: TdxGuest()},
        services={tdx_guest.QGS_PORT: lambda _: Service(lambda _: good)},
    )
    assert is_documented(TdxGuestProvider(machine))
