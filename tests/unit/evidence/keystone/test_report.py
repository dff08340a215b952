"""The Keystone report's parser, against the table in its docstring."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.evidence.keystone.report import BUFFER_SIZE, DATA_LEN_AT, REPORT_SIZE, KeystoneReport

# Every byte names its field: 01 enclave hash, 02 data, 03 unsigned rest, 04 and so on.
DATA_LEN = 5
BY_HAND = b"".join(
    (
        b"\x01" * 64,
        b"\x05\x00\x00\x00\x00\x00\x00\x00",
        b"\x02" * DATA_LEN,
        b"\x03" * (1024 - DATA_LEN),
        b"\x04" * 64,
        b"\x05" * 64,
        b"\x06" * 32,
        b"\x07" * 64,
        b"\x08" * 32,
    )
)


def with_data_len(value: int) -> bytes:
    return BY_HAND[:64] + value.to_bytes(8, "little") + BY_HAND[72:]


def test_reads_a_report_written_by_hand_from_the_table() -> None:
    report = KeystoneReport.from_bytes(BY_HAND)
    assert report.enclave_hash == b"\x01" * 64
    assert report.data == b"\x02" * DATA_LEN
    assert report.enclave_signature == b"\x04" * 64
    assert report.sm_hash == b"\x05" * 64
    assert report.sm_public_key == b"\x06" * 32
    assert report.sm_signature == b"\x07" * 64
    assert report.device_public_key == b"\x08" * 32
    assert report.enclave_signed == BY_HAND[: 72 + DATA_LEN]
    assert report.sm_signed == b"\x05" * 64 + b"\x06" * 32


def test_attack_30_data_beyond_data_len_is_in_no_value() -> None:
    other = BY_HAND[: 72 + DATA_LEN] + b"\xff" * (1024 - DATA_LEN) + BY_HAND[1096:]
    assert KeystoneReport.from_bytes(other) == KeystoneReport.from_bytes(BY_HAND)


@pytest.mark.parametrize("data_len", [0, 1, 1023, 1024])
def test_takes_every_data_len_up_to_the_whole_array(data_len: int) -> None:
    report = KeystoneReport.from_bytes(with_data_len(data_len))
    assert len(report.data) == data_len
    assert len(report.enclave_signed) == 72 + data_len


@pytest.mark.parametrize("data_len", [1025, 1 << 16, 1 << 32, (1 << 64) - 72, (1 << 64) - 1])
def test_attack_30_data_len_beyond_the_array(data_len: int) -> None:
    with pytest.raises(MalformedEvidenceError) as caught:
        KeystoneReport.from_bytes(with_data_len(data_len))
    assert caught.value.offset == DATA_LEN_AT


def test_takes_the_sdk_buffer_and_drops_its_rest() -> None:
    padded = BY_HAND.ljust(BUFFER_SIZE, b"\xee")
    assert KeystoneReport.from_bytes(padded) == KeystoneReport.from_bytes(BY_HAND)


def test_refuses_every_other_size() -> None:
    for size in (*range(REPORT_SIZE), REPORT_SIZE + 1, BUFFER_SIZE - 1, BUFFER_SIZE + 1, 1 << 20):
        with pytest.raises(MalformedEvidenceError) as caught:
            KeystoneReport.from_bytes(BY_HAND[:size].ljust(size, b"\x00"))
        assert caught.value.offset == 0


@given(st.binary(max_size=4096) | st.binary(min_size=REPORT_SIZE, max_size=REPORT_SIZE))
@settings(max_examples=200)
def test_arbitrary_bytes_are_a_report_or_malformed(raw: bytes) -> None:
    try:
        report = KeystoneReport.from_bytes(raw)
    except MalformedEvidenceError:
        return
    assert raw.startswith(report.enclave_signed)
