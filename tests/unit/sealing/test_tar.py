"""One tar header, in one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.sealing.tar import BLOCK, Kind, TarHeader, pax_path, read_pax_path

GOOD = TarHeader(name=b"results/a", size=5, kind=Kind.FILE).to_bytes()

BY_HAND = b"".join(
    (
        b"results/a".ljust(100, b"\x00"),
        b"0000644\x00" + b"0000000\x00" + b"0000000\x00",
        b"00000000005\x00" + b"00000000000\x00",
        b"011044\x00 " + b"0",
        bytes(100),
        b"ustar\x00" + b"00",
        bytes(64),
        b"0000000\x00" * 2,
        bytes(167),
    )
)


def test_header_is_the_table() -> None:
    summed = BY_HAND[:148] + b" " * 8 + BY_HAND[156:]
    assert len(BY_HAND) == BLOCK
    assert BY_HAND[148:154] == b"%06o" % sum(summed)
    assert GOOD == BY_HAND


def test_refuses_every_flipped_bit() -> None:
    # No bit is ignored; and the checksum leaves none of them alone.
    for bit in range(BLOCK * 8):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError) as caught:
            TarHeader.from_bytes(bytes(flipped))
        assert caught.value.code == "archive.malformed"


@pytest.mark.parametrize("type_", [b"\x00", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"g", b"L"])
def test_refuses_links_devices_directories_and_extensions(type_: bytes) -> None:
    block = bytearray(GOOD)
    block[156:157] = type_
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    with pytest.raises(InputError, match="only regular files"):
        TarHeader.from_bytes(bytes(block))


@given(st.binary(min_size=BLOCK, max_size=BLOCK) | st.binary(max_size=20))
def test_arbitrary_bytes_raise_only_input_error(raw: bytes) -> None:
    with pytest.raises(InputError):
        TarHeader.from_bytes(raw)


def test_a_name_or_size_that_does_not_fit_is_a_value_error() -> None:
    for name, size in ((b"", 0), (b"a" * 101, 0), (b"a", 8 * 1024**3), (b"a", -1)):
        with pytest.raises(ValueError, match="does not fit"):
            TarHeader(name=name, size=size, kind=Kind.FILE).to_bytes()


@pytest.mark.parametrize("size", [101, *range(985, 995), 1024])
def test_a_pax_record_counts_its_own_digits(size: int) -> None:
    record = pax_path(b"p" * size)
    assert int(record.split(b" ", 1)[0]) == len(record)
    assert read_pax_path(record) == b"p" * size


@given(
    st.binary(max_size=150)
    | st.binary(min_size=101, max_size=150).map(lambda path: b"%d path=%s\n" % (99, path))
)
def test_arbitrary_records_give_only_what_encodes_to_them(raw: bytes) -> None:
    try:
        path = read_pax_path(raw)
    except InputError:
        return
    assert pax_path(path) == raw


def test_refuses_a_short_path_in_a_pax_record() -> None:
    with pytest.raises(InputError, match="not one long path"):
        read_pax_path(pax_path(b"p" * 100))


def test_refuses_a_header_without_a_name() -> None:
    with pytest.raises(InputError, match="no name"):
        TarHeader.from_bytes(bytes(100) + GOOD[100:])
