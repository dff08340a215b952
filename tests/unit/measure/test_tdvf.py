"""Firmware of TDs: what is read, what is measured, and that nothing else comes out of bad ones."""

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.tdvf import TdSection, Tdvf
from support import ovmf


def _code(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        Tdvf.from_bytes(raw)
    return caught.value.code


def _entry(name: bytes, gpa: int) -> bytes:
    return name.ljust(16, b"\0") + struct.pack("<Q", gpa) + bytes(104)


def test_reads_the_sections() -> None:
    raw = ovmf.td_image()
    code, heap, later = Tdvf.from_bytes(raw).sections
    assert code == TdSection(gpa=0xFFFFE000, pages=1, attributes=1, data=raw[:4096])
    assert heap == TdSection(gpa=0x810000, pages=2, attributes=0, data=b"")
    assert (later.pages, later.attributes) == (1, 2)


def test_measured_are_addresses_and_what_is_extended_page_by_page() -> None:
    raw = ovmf.td_image()
    said = _entry(b"MEM.PAGE.ADD", 0xFFFFE000)
    for at in range(0, 4096, 256):
        said += _entry(b"MR.EXTEND", 0xFFFFE000 + at) + raw[at : at + 256]
    said += _entry(b"MEM.PAGE.ADD", 0x810000) + _entry(b"MEM.PAGE.ADD", 0x811000)
    # The last section is added when the TD accepts it.
    assert Tdvf.from_bytes(raw).mr_td() == hashlib.sha384(said).digest()


def test_a_byte_of_the_code_and_an_address_change_it() -> None:
    raw = ovmf.td_image()
    before = Tdvf.from_bytes(raw).mr_td()
    assert Tdvf.from_bytes(b"\0" + raw[1:]).mr_td() != before
    moved = [(*ovmf.TD_SECTIONS[0][:2], 0xFFFFD000, *ovmf.TD_SECTIONS[0][3:])]
    other = ovmf.td_image(ovmf.td_metadata([*moved, *ovmf.TD_SECTIONS[1:]]))
    assert Tdvf.from_bytes(other).mr_td() != before


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(8192),
        ovmf.image(),
        ovmf.td_image(offset=1 << 31),
        ovmf.td_image(offset=8),
        ovmf.td_image(offset=2990),
        ovmf.td_image(b"TDVX" + ovmf.td_metadata()[4:]),
        ovmf.td_image(ovmf.td_metadata([])),
        ovmf.td_image(b"TDVF" + struct.pack("<III", 16 + 32 * 3, 2, 3)),
        ovmf.td_image(b"TDVF" + struct.pack("<III", 16 + 32 * 3, 1, 2)),
        ovmf.td_image(b"TDVF" + struct.pack("<III", 16 + 32 * 65, 1, 65)),
        ovmf.td_image(b"TDVF" + struct.pack("<III", 16 + 32 * 64, 1, 64), offset=1000),
    ],
)
def test_refuses_what_cannot_start_a_td(raw: bytes) -> None:
    assert _code(raw) == "measure.firmware"


@pytest.mark.parametrize(
    "section",
    [
        (0, 0x1000, 0x810001, 0x1000, 0, 0),
        (0, 0x1000, 0x810000, 0x1001, 0, 0),
        (0, 0x2000, 0x810000, 0x1000, 0, 0),
        (0, 0, (1 << 52) - 4096, 0x2000, 3, 0),
        (0, 0x1000, 0x810000, 0x2000, 0, 1),
        (0x1800, 0x1000, 0x810000, 0x1000, 0, 1),
        (0, 0x1000, 0x810000, 0x1000, 0, 3),
        (0, 0, 0x810000, 0x1000, 0, 4),
        (0, 0, 0, 0x10001000, 3, 0),
    ],
)
def test_refuses_sections_that_cannot_be_measured(section: tuple[int, ...]) -> None:
    assert _code(ovmf.td_image(ovmf.td_metadata([section]))) == "measure.firmware"


@given(st.binary(max_size=400))
@settings(max_examples=150)
def test_arbitrary_metadata_gives_a_value_or_the_one_error(metadata: bytes) -> None:
    raw = ovmf.td_image(b"TDVF" + struct.pack("<III", 16 + len(metadata), 1, len(metadata) // 32))
    raw = raw[: len(raw) - 2984] + metadata + raw[len(raw) - 2984 + len(metadata) :]
    try:
        size = len(Tdvf.from_bytes(raw).mr_td())
    except InputError as error:
        size = {"measure.firmware": 0}[error.code]
    assert size in {0, 48}
