"""Quotes are read whole or refused: every length, every version, every byte."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.dcap.collateral import verify_collateral
from atoll.evidence.dcap.quote import MAX_QUOTE, Quote, QuoteTee
from atoll.evidence.dcap.reports import EnclaveReport, TdReport
from atoll.evidence.dcap.verify import verify_quote
from support import dcap
from support.dcap import Platform

V4 = Platform().quote()
V5 = Platform(version=5, body=dcap.td_report(newer=True)).quote()
SGX = Platform.sgx().quote()
QUOTES = {"v4": V4, "v5": V5, "sgx": SGX}


def _code(raw: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        Quote.from_bytes(raw)
    return caught.value.code


def test_reads_a_td_report_by_the_offsets_of_the_table() -> None:
    body = bytes(range(256)) * 2 + bytes(range(72))
    report = TdReport.from_bytes(body)
    assert report.tee_tcb_svn == body[0:16]
    assert report.mr_seam == body[16:64]
    assert report.mr_signer_seam == body[64:112]
    assert report.seam_attributes == body[112:120]
    assert report.td_attributes == int.from_bytes(body[120:128], "little")
    assert report.xfam == body[128:136]
    assert report.mr_td == body[136:184]
    assert report.mr_config_id == body[184:232]
    assert report.mr_owner == body[232:280]
    assert report.mr_owner_config == body[280:328]
    assert [report.rtmr0, report.rtmr1] == [body[328:376], body[376:424]]
    assert [report.rtmr2, report.rtmr3] == [body[424:472], body[472:520]]
    assert report.report_data == body[520:584]
    assert report.tee_tcb_svn_2 is None
    assert report.mr_service_td is None


def test_reads_what_td_report_15_appends() -> None:
    report = TdReport.from_bytes(bytes(584) + b"\x01" * 16 + b"\x02" * 48)
    assert report.tee_tcb_svn_2 == b"\x01" * 16
    assert report.mr_service_td == b"\x02" * 48


@pytest.mark.parametrize(
    ("raw", "version", "tee", "body_type"),
    [
        (V4, 4, QuoteTee.TDX, 2),
        (V5, 5, QuoteTee.TDX, 3),
        (SGX, 3, QuoteTee.SGX, 1),
        (Platform.sgx(version=4).quote(), 4, QuoteTee.SGX, 1),
        (Platform.sgx(version=5).quote(), 5, QuoteTee.SGX, 1),
        (Platform(version=5).quote(), 5, QuoteTee.TDX, 2),
    ],
)
def test_reads_every_version(raw: bytes, version: int, tee: QuoteTee, body_type: int) -> None:
    quote = Quote.from_bytes(raw)
    assert (quote.header.version, quote.header.tee, quote.body_type) == (version, tee, body_type)
    assert isinstance(quote.body, TdReport) == (tee is QuoteTee.TDX)
    assert len(quote.certification.chain) == 3


@pytest.mark.parametrize("name", QUOTES)
def test_refuses_every_truncation(name: str) -> None:
    raw = QUOTES[name]
    for size in range(len(raw)):
        with pytest.raises(MalformedEvidenceError):
            Quote.from_bytes(raw[:size])


@pytest.mark.parametrize("tail", [b"\x01", b"\x00\x00\x01", b"garbage"])
def test_refuses_bytes_after_the_quote(tail: bytes) -> None:
    assert _code(V4 + tail) == "evidence.malformed"


def test_accepts_the_zero_padding_that_kernels_add() -> None:
    assert Quote.from_bytes(V4.ljust(8000, b"\x00")) == Quote.from_bytes(V4)


def test_refuses_an_oversized_buffer_before_reading_it() -> None:
    assert _code(V4.ljust(MAX_QUOTE + 1, b"\x00")) == "evidence.malformed"


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (0, b"\x02\x00", "evidence.quote_version"),
        (0, b"\x06\x00", "evidence.quote_version"),
        (0, b"\x00\x04", "evidence.quote_version"),
        (2, b"\x03\x00", "evidence.quote_key_type"),
        (4, b"\x82\x00\x00\x00", "evidence.quote_tee"),
        (4, b"\x00\x00\x00\x81", "evidence.quote_tee"),
        (12, b"\x00", "evidence.quote_vendor"),
        (0, b"\x03\x00", "evidence.malformed"),
        (4, b"\x00\x00\x00\x00", "evidence.malformed"),
    ],
)
def test_refuses_an_unsupported_header(at: int, value: bytes, code: str) -> None:
    assert _code(V4[:at] + value + V4[at + len(value) :]) == code


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (48, b"\x04\x00", "evidence.quote_body"),
        (48, b"\x02\x00", "evidence.malformed"),
        (48, b"\x01\x00\x80\x01\x00\x00", "evidence.malformed"),
        (50, b"\xff\xff\xff\xff", "evidence.malformed"),
    ],
)
def test_refuses_a_body_descriptor_that_does_not_fit(at: int, value: bytes, code: str) -> None:
    assert _code(V5[:at] + value + V5[at + len(value) :]) == code


def test_refuses_an_outer_certification_type_that_hides_the_qe_report() -> None:
    assert _code(Platform(outer_type=5).quote()) == "evidence.malformed"


@pytest.mark.parametrize("kind", [0, 1, 4, 6, 7, 0xFFFF])
def test_refuses_certification_data_that_names_no_chain(kind: int) -> None:
    raw = Platform(certification=(kind, bytes(404))).quote()
    assert _code(raw) == "evidence.quote_certification"


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"not PEM", b"-----BEGIN CERTIFICATE-----\n????\n", bytes(20_000)]
)
def test_refuses_a_chain_that_is_not_pem(data: bytes) -> None:
    assert _code(Platform(certification=(5, data)).quote()) == "evidence.malformed"


@pytest.mark.parametrize(("kind", "size"), [(2, 256), (3, 384)])
def test_reads_an_encrypted_ppid(kind: int, size: int) -> None:
    data = b"\x01" * size + b"\x02" * 16 + b"\x0b\x00" + b"\x00\x01"
    found = Quote.from_bytes(Platform(certification=(kind, data)).quote()).certification
    assert (found.encrypted_ppid, found.cpu_svn) == (b"\x01" * size, b"\x02" * 16)
    assert (found.pce_svn, found.pce_id, found.chain) == (11, b"\x00\x01", ())
    assert _code(Platform(certification=(kind, data + b"\x00")).quote()) == "evidence.malformed"


LENGTHS: dict[str, Callable[[bytes], int]] = {
    "signature data": lambda raw: 48 + 584,
    "outer certification": lambda raw: 48 + 584 + 4 + 128 + 2,
    "authentication data": lambda raw: 48 + 584 + 4 + 128 + 6 + 448,
    "inner certification": lambda raw: 48 + 584 + 4 + 128 + 6 + 450 + 32 + 2,
}


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("change", [1, -1, 0x7F00])
def test_refuses_a_length_that_lies(name: str, change: int) -> None:
    at = LENGTHS[name](V4)
    size = 2 if name == "authentication data" else 4
    value = int.from_bytes(V4[at : at + size], "little") + change
    raw = V4[:at] + dcap.le(value & 0xFFFF, 2) + V4[at + 2 :]
    assert _code(raw) == "evidence.malformed"


@pytest.mark.parametrize("at", [20, 31, 96, 127, 160, 191, 262, 303])
def test_refuses_a_reserved_byte_in_an_enclave_report(at: int) -> None:
    raw = bytearray(dcap.enclave_report())
    raw[at] = 1
    with pytest.raises(MalformedEvidenceError, match="reserved"):
        EnclaveReport.from_bytes(bytes(raw))


@pytest.mark.parametrize("name", QUOTES)
def test_no_bit_of_a_quote_is_ignored(name: str) -> None:
    raw = QUOTES[name]
    collateral = verify_collateral(
        dcap.collateral("SGX" if name == "sgx" else "TDX"), dcap.roots(), now=dcap.NOW
    )
    # The certificates' PEM armour has line ends of two kinds and a NUL that may be there.
    armour = raw.index(b"-----BEGIN")
    for at in (*range(armour), *range(armour, len(raw), 7)):
        flipped = raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :]
        with pytest.raises(EvidenceError):
            verify_quote(flipped, collateral, dcap.roots(), now=dcap.NOW)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000))
def test_arbitrary_bytes_are_refused_with_the_documented_errors(raw: bytes) -> None:
    with pytest.raises((MalformedEvidenceError, UnsupportedEvidenceError)):
        Quote.from_bytes(raw)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(QUOTES)),
    st.integers(0, 2200),
    st.binary(min_size=1, max_size=8),
)
def test_a_damaged_quote_is_read_or_refused_with_the_documented_errors(
    name: str, at: int, piece: bytes
) -> None:
    raw = QUOTES[name]
    try:
        quote = Quote.from_bytes(raw[:at] + piece + raw[at + len(piece) :])
    except (MalformedEvidenceError, UnsupportedEvidenceError):
        return
    assert (
        quote.signed_bytes == (raw[:at] + piece + raw[at + len(piece) :])[: len(quote.signed_bytes)]
    )
