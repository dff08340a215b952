"""The report parser against a vector written by hand from AMD 56860, table 23."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.snp import REPORT_SIZE, AttestationReport, GuestPolicy
from support import vectors


def _vector(version: int = 5) -> bytearray:
    raw = bytearray(REPORT_SIZE)
    struct.pack_into("<IIQ", raw, 0x000, version, 7, 0x30133)
    raw[0x010:0x020] = b"F" * 16
    raw[0x020:0x030] = b"I" * 16
    struct.pack_into("<II", raw, 0x030, 2, 1)
    raw[0x038:0x040] = bytes.fromhex("04000000000018db")
    struct.pack_into("<QI", raw, 0x040, 0x67, 0b00111)
    raw[0x050:0x090] = b"D" * 64
    raw[0x090:0x0C0] = b"M" * 48
    raw[0x0C0:0x0E0] = b"H" * 32
    raw[0x0E0:0x110] = b"K" * 48
    raw[0x110:0x140] = b"A" * 48
    raw[0x140:0x160] = b"R" * 32
    raw[0x160:0x180] = b"G" * 32
    raw[0x180:0x188] = bytes.fromhex("03000000000017d1")
    raw[0x188:0x18B] = bytes((0x19, 0x11, 0x01))
    raw[0x1A0:0x1E0] = b"C" * 64
    raw[0x1E0:0x1E8] = bytes.fromhex("02000000000016d0")
    raw[0x1E8:0x1EB] = bytes((29, 55, 1))
    raw[0x1EC:0x1EF] = bytes((28, 54, 1))
    raw[0x1F0:0x1F8] = bytes.fromhex("01000000000015cf")
    struct.pack_into("<QQ", raw, 0x1F8, 3, 4)
    raw[0x2A0] = 9
    raw[0x2E8 + 47] = 1
    return raw


def test_reads_every_field_of_a_hand_written_report() -> None:
    report = AttestationReport.from_bytes(bytes(_vector()))
    body = report.body
    assert (body.version, body.guest_svn, body.policy) == (5, 7, 0x30133)
    assert (body.family_id, body.image_id, body.vmpl) == (b"F" * 16, b"I" * 16, 2)
    assert body.current_tcb.hex() == "04000000000018db"
    assert (body.platform_info, body.signing_key) == (0x67, 1)
    assert body.author_key_en
    assert body.mask_chip_key
    assert (body.report_data, body.measurement) == (b"D" * 64, b"M" * 48)
    assert (body.host_data, body.id_key_digest) == (b"H" * 32, b"K" * 48)
    assert (body.author_key_digest, body.report_id) == (b"A" * 48, b"R" * 32)
    assert body.report_id_ma == b"G" * 32
    assert body.reported_tcb.hex() == "03000000000017d1"
    assert (body.cpuid_fam_id, body.cpuid_mod_id, body.cpuid_step) == (0x19, 0x11, 1)
    assert body.chip_id == b"C" * 64
    assert body.committed_tcb.hex() == "02000000000016d0"
    assert (body.current_version, body.committed_version) == ((1, 55, 29), (1, 54, 28))
    assert body.launch_tcb.hex() == "01000000000015cf"
    assert (body.launch_mit_vector, body.current_mit_vector) == (3, 4)
    assert (report.signature_r, report.signature_s) == (9, 1 << 376)
    assert body.has(GuestPolicy.SMT)
    assert not body.has(GuestPolicy.DEBUG)


def test_writes_the_same_bytes_back_from_the_fields() -> None:
    raw = bytes(_vector())
    report = AttestationReport.from_bytes(raw)
    assert report.to_bytes() == raw
    assert report.body.to_bytes() == raw[:0x2A0] == report.signed_bytes


def test_refuses_every_truncation_and_extension() -> None:
    raw = bytes(_vector())
    for size in range(REPORT_SIZE):
        with pytest.raises(MalformedEvidenceError):
            AttestationReport.from_bytes(raw[:size])
    with pytest.raises(MalformedEvidenceError):
        AttestationReport.from_bytes(raw + b"\x00")


RESERVED = [0x04C, 0x04F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x208, 0x29F]
UNSIGNED = [0x2D0, 0x2E7, 0x318, 0x32F, 0x330, 0x49F]


@pytest.mark.parametrize("at", RESERVED + UNSIGNED)
def test_refuses_a_reserved_byte_that_is_not_zero(at: int) -> None:
    raw = _vector()
    raw[at] = 1
    with pytest.raises(MalformedEvidenceError, match="not zero"):
        AttestationReport.from_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("version", "at"), [(2, 0x188), (2, 0x18A), (2, 0x1F8), (3, 0x1F8), (4, 0x207)]
)
def test_refuses_a_field_that_its_version_does_not_have(version: int, at: int) -> None:
    raw = _vector(version)
    raw[0x1F8:0x208] = bytes(16)
    if version == 2:
        raw[0x188:0x18B] = bytes(3)
    AttestationReport.from_bytes(bytes(raw))
    raw[at] = 1
    with pytest.raises(MalformedEvidenceError):
        AttestationReport.from_bytes(bytes(raw))


@pytest.mark.parametrize("version", [0, 1, 6, 0xFFFFFFFF])
def test_refuses_an_unknown_version(version: int) -> None:
    with pytest.raises(UnsupportedEvidenceError, match="version"):
        AttestationReport.from_bytes(bytes(_vector(version)))


@pytest.mark.parametrize("algorithm", [0, 2, 0x101])
def test_refuses_an_unknown_signature_algorithm(algorithm: int) -> None:
    raw = _vector()
    struct.pack_into("<I", raw, 0x034, algorithm)
    with pytest.raises(UnsupportedEvidenceError, match="algorithm"):
        AttestationReport.from_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0x008, 0x10133),
        (0x008, 0x30133 | 1 << 26),
        (0x008, 0x30133 | 1 << 63),
        (0x030, 4),
        (0x048, 2 << 2),
        (0x048, 6 << 2),
        (0x048, 1 << 5),
        (0x048, 1 << 31),
    ],
)
def test_refuses_reserved_bits_and_values(at: int, value: int) -> None:
    raw = _vector()
    struct.pack_into("<Q" if at == 0x008 else "<I", raw, at, value)
    with pytest.raises(MalformedEvidenceError):
        AttestationReport.from_bytes(bytes(raw))


def test_keeps_platform_bits_without_a_name_because_genuine_turin_sets_one() -> None:
    raw = _vector()
    struct.pack_into("<Q", raw, 0x040, 1 << 6)
    assert AttestationReport.from_bytes(bytes(raw)).body.platform_info == 1 << 6


@given(st.binary(max_size=64) | st.binary(min_size=REPORT_SIZE, max_size=REPORT_SIZE))
@settings(max_examples=100)
def test_arbitrary_bytes_give_a_report_or_the_documented_error(raw: bytes) -> None:
    with pytest.raises((MalformedEvidenceError, UnsupportedEvidenceError)):
        AttestationReport.from_bytes(raw)


@given(
    st.lists(
        st.tuples(st.integers(0, REPORT_SIZE - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
@settings(max_examples=200)
def test_a_damaged_report_parses_to_itself_or_is_refused(edits: list[tuple[int, int]]) -> None:
    raw = _vector()
    for at, value in edits:
        raw[at] = value
    try:
        report = AttestationReport.from_bytes(bytes(raw))
    except EvidenceError:
        return
    assert report.body.to_bytes() + report.to_bytes()[0x2A0:] == bytes(raw)


def test_agrees_with_an_independent_parser_on_published_reports() -> None:
    vectors.require()
    compared = 0
    for case in (*vectors.of_kind("snp_report"), *vectors.of_kind("snp_parse")):
        fields = case.get("fields", {})
        if case["expected"]["verdict"] == "invalid" or fields.get("version", 1) == 1:
            continue
        body = AttestationReport.from_bytes(vectors.read(case["path"])).body
        for name in ("guest_svn", "policy", "vmpl", "platform_info", "cpuid_mod_id"):
            assert getattr(body, name) == fields.get(name, getattr(body, name)), case["id"]
        for name in ("measurement", "report_data", "chip_id", "reported_tcb", "host_data"):
            assert getattr(body, name).hex() == fields[name], case["id"]
        assert ".".join(map(str, body.current_version)) == fields["current_version"]
        compared += 1
    assert compared > 30
