"""The readers underneath: a parser's mistake is found, a sender's is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader
from atoll.evidence._fixed import FixedReader, FixedWriter


def _fixed(raw: bytes = b"\x01\x02\x00\x00") -> FixedReader:
    return FixedReader(raw, structure="thing", size=4)


def test_fixed_reads_little_endian_by_offset() -> None:
    reader = _fixed()
    assert reader.uint(0, 2) == 0x0201
    reader.zeros(2, 2)
    reader.finish()


def test_fixed_tells_a_parser_that_skips_a_byte() -> None:
    reader = _fixed()
    reader.uint(0, 3)
    with pytest.raises(AssertionError, match="0x3"):
        reader.finish()


def test_fixed_tells_a_parser_that_reads_a_byte_twice() -> None:
    reader = _fixed()
    reader.uint(0, 2)
    with pytest.raises(AssertionError, match="layout bug"):
        reader.octets(1, 2)


@pytest.mark.parametrize(("at", "size"), [(3, 2), (4, 1), (-1, 1)])
def test_fixed_tells_a_parser_that_reads_outside(at: int, size: int) -> None:
    with pytest.raises(AssertionError, match="layout bug"):
        _fixed().octets(at, size)


@pytest.mark.parametrize("raw", [b"", b"123", b"12345"])
def test_fixed_refuses_another_size(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError, match="want 4"):
        _fixed(raw)


def test_fixed_refuses_a_reserved_byte_and_says_where() -> None:
    with pytest.raises(MalformedEvidenceError, match="thing at 0x0"):
        _fixed().zeros(0, 2)


def test_writer_refuses_a_value_of_another_size() -> None:
    with pytest.raises(ValueError, match="takes 2 bytes"):
        FixedWriter(size=4).octets(0, 2, b"123")


def _der_reader(text: str) -> DerReader:
    return DerReader(bytes.fromhex(text), structure="thing")


@pytest.mark.parametrize(
    ("text", "value"),
    [("020100", 0), ("02017f", 127), ("02020080", 128), ("020200db", 219), ("02020100", 256)],
)
def test_der_reads_an_integer_also_with_its_sign_byte(text: str, value: int) -> None:
    assert _der_reader(text).uint() == value


@pytest.mark.parametrize(
    "text",
    [
        "0200",
        "020180",
        "02020001",
        "0202007f",
        "028101ff",
        "02",
        "0201",
        "030100",
        "0280",
        "02840000000100",
    ],
)
def test_der_refuses_an_integer_in_another_form(text: str) -> None:
    with pytest.raises(MalformedEvidenceError):
        _der_reader(text).uint()


@pytest.mark.parametrize("text", ["010101", "0100", "0102ffff"])
def test_der_refuses_a_boolean_other_than_00_or_ff(text: str) -> None:
    with pytest.raises(MalformedEvidenceError):
        _der_reader(text).boolean()


@pytest.mark.parametrize(
    "content",
    [
        b"17130101000000Z",
        b"20250230000000Z",
        b"2025010100000Z",
        b"20250101000000",
        b"250101000000+",
    ],
)
def test_der_refuses_a_time_that_is_none(content: bytes) -> None:
    raw = bytes((_der.UTC_TIME, len(content))) + content
    with pytest.raises(MalformedEvidenceError):
        DerReader(raw, structure="time").time()


def test_der_refuses_a_generalized_time_of_another_length() -> None:
    content = b"2025010100000Z"
    raw = bytes((_der.GENERALIZED_TIME, len(content))) + content
    with pytest.raises(MalformedEvidenceError, match="impossible time"):
        DerReader(raw, structure="time").time()


@pytest.mark.parametrize(
    ("tag", "content", "year"),
    [
        (_der.UTC_TIME, b"490101000000Z", 2049),
        (_der.UTC_TIME, b"500101000000Z", 1950),
        (_der.GENERALIZED_TIME, b"20510101000000Z", 2051),
    ],
)
def test_der_reads_both_kinds_of_time(tag: int, content: bytes, year: int) -> None:
    assert DerReader(bytes((tag, len(content))) + content, structure="t").time().year == year


def test_der_refuses_bytes_after_the_end() -> None:
    reader = _der_reader("02010100")
    reader.uint()
    with pytest.raises(MalformedEvidenceError, match="after its end"):
        reader.finish()


def test_der_refuses_bits_that_are_not_whole_bytes() -> None:
    with pytest.raises(MalformedEvidenceError, match="whole bytes"):
        _der_reader("03020780").bits()


def test_der_encodes_the_oids_of_amd() -> None:
    assert _der.oid("1.3.6.1.4.1.3704.1.3.8").hex() == "2b060104019c78010308"


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_der_arbitrary_bytes_raise_only_the_documented_error(raw: bytes) -> None:
    for read in (DerReader.uint, DerReader.boolean, DerReader.time, DerReader.bits):
        try:
            read(DerReader(raw, structure="thing"))
        except MalformedEvidenceError:
            continue
