"""Firmware images: what is read, and that nothing else than a value or InputError comes out."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.guid_table import FOOTER, MAX_FIRMWARE
from atoll.measure.ovmf import (
    KERNEL_HASHES,
    RESET_BLOCK,
    SEV_METADATA,
    Firmware,
    Section,
    SectionType,
)
from support import ovmf


def _code(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        Firmware.from_bytes(raw)
    return caught.value.code


def test_reads_sections_and_addresses() -> None:
    firmware = Firmware.from_bytes(ovmf.image())
    assert firmware.sections[0] == Section(kind=SectionType.SEC_MEM, gpa=0x800000, size=0x2000)
    assert [item.kind for item in firmware.sections] == list(SectionType)
    assert firmware.reset_eip == ovmf.RESET_EIP
    assert firmware.hashes_gpa == ovmf.HASHES_GPA
    assert firmware.gpa == 0xFFFFE000


def test_an_address_of_zero_is_none() -> None:
    zero = struct.pack("<I", 0)
    entries = {RESET_BLOCK: zero, KERNEL_HASHES: zero, SEV_METADATA: struct.pack("<I", 2048)}
    firmware = Firmware.from_bytes(ovmf.image(entries=entries))
    assert (firmware.reset_eip, firmware.hashes_gpa) == (None, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        ovmf.image()[1:],
        ovmf.image() + b"\0",
        bytes(4096),
        bytes(MAX_FIRMWARE + 4096),
        ovmf.image(entries={}),
        ovmf.image(entries={SEV_METADATA: b"\0\0"}),
        ovmf.image(entries={SEV_METADATA: struct.pack("<I", 1 << 31)}),
        ovmf.image(entries={SEV_METADATA: struct.pack("<I", 8)}),
        ovmf.image(entries={SEV_METADATA: struct.pack("<I", 2000)}),
        ovmf.image(entries={SEV_METADATA: struct.pack("<I", 24)})[:-24]
        + b"ASEV"
        + struct.pack("<III", 28, 1, 1)
        + bytes(8),
    ],
)
def test_refuses_what_is_no_launchable_image(raw: bytes) -> None:
    assert _code(raw) == "measure.firmware"


@pytest.mark.parametrize(
    "sections",
    [
        [(0x800001, 0x1000, 1)],
        [(0x800000, 0x1001, 1)],
        [(0x800000, 0, 1)],
        [(0x800000, 0x1000, 5)],
        [(0xFFFFF000, 0x2000, 1)],
        [(0, 0x10001000, 1)],
        [(0x800000, 0x1000, 1)] * 65,
    ],
)
def test_refuses_sections_that_no_hypervisor_could_prepare(
    sections: list[tuple[int, int, int]],
) -> None:
    assert _code(ovmf.image(sev=ovmf.metadata(sections))) == "measure.firmware"


@pytest.mark.parametrize(
    ("at", "value"), [(0, b"BSEV"), (4, b"\xff\xff\xff\xff"), (8, b"\x02"), (12, b"\x06")]
)
def test_refuses_metadata_with_a_wrong_header(at: int, value: bytes) -> None:
    sev = bytearray(ovmf.metadata())
    sev[at : at + len(value)] = value
    assert _code(ovmf.image(sev=bytes(sev))) == "measure.firmware"


def _with_table(size: int, table: bytes) -> bytes:
    raw = bytearray(ovmf.image())
    end = len(raw) - 32
    footer = struct.pack("<H", size) + FOOTER
    raw[end - 18 - len(table) : end] = table + footer
    return bytes(raw)


@pytest.mark.parametrize(
    ("size", "table"),
    [
        (17, b""),
        (0xFFFF, b""),
        (18 + 5, b"12345"),
        (18 + 18, struct.pack("<H", 17) + bytes(16)),
        (18 + 18, struct.pack("<H", 19) + bytes(16)),
        (18 + 36, 2 * ovmf.entry(bytes(16), b"")),
    ],
)
def test_refuses_a_table_that_does_not_add_up(size: int, table: bytes) -> None:
    assert _code(_with_table(size, table)) == "measure.firmware"


@given(st.binary(max_size=600), st.integers(0, 65535))
@settings(max_examples=150)
def test_an_arbitrary_table_gives_a_value_or_the_one_error(table: bytes, size: int) -> None:
    try:
        sections = Firmware.from_bytes(_with_table(size, table)).sections
    except InputError as error:
        code = error.code
    else:
        code = "" if sections else "no sections"
    assert code in ("", "no sections", "measure.firmware")
