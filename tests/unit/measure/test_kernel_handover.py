"""A kernel's digest is of the image as the firmware gets it.

A whole Debian kernel is too large for a fixture: the images here are small and made by hand. For
the boot of `support.boots` the prediction was right: its log has the digest of `patched`.
"""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.authenticode import authenticode
from atoll.measure.kernel_handover import Handover, Launch, Machine, kernel_digests, patched

MIB = 1 << 20
LAUNCH = Launch(memory_bytes=256 * MIB, initrd_size=22176)
PE = 0x280
OPTIONAL = PE + 24
SECURITY = OPTIONAL + 112 + 32
TABLE = OPTIONAL + 240
HEADERS = 0x800
SECTION = b"code" * 64
CERTIFICATES = b"signature"


def image(*, protocol: int = 0x20F, high: int = 1, flags: int = 0x7F, sections: int = 1) -> bytes:
    """A bzImage that is a PE32+ image as well, with certificates at its end."""
    raw = bytearray(HEADERS) + SECTION + b"trailing" + CERTIFICATES
    raw[:2] = b"MZ"
    struct.pack_into("<I", raw, 0x3C, PE)
    raw[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", raw, 0x206, protocol)
    raw[0x211] = high
    struct.pack_into("<I", raw, 0x22C, 0x37FFFFFF)
    raw[0x236] = flags
    raw[PE : PE + 4] = b"PE\0\0"
    struct.pack_into("<H", raw, PE + 6, sections)
    struct.pack_into("<H", raw, PE + 20, 240)
    struct.pack_into("<H", raw, OPTIONAL, 0x20B)
    struct.pack_into("<I", raw, OPTIONAL + 60, HEADERS)
    struct.pack_into("<I", raw, OPTIONAL + 108, 16)
    struct.pack_into("<II", raw, SECURITY, len(raw) - len(CERTIFICATES), len(CERTIFICATES))
    struct.pack_into("<II", raw, TABLE + 16, len(SECTION), HEADERS)
    return bytes(raw)


def changed(raw: bytes, at: int, value: bytes) -> bytes:
    return raw[:at] + value + raw[at + len(value) :]


def test_the_digest_is_of_all_but_checksum_and_signatures() -> None:
    raw = image()
    hashed = b"".join(
        (
            raw[: OPTIONAL + 64],
            raw[OPTIONAL + 68 : SECURITY],
            raw[SECURITY + 8 : len(raw) - len(CERTIFICATES)],
        )
    )

    assert authenticode(raw) == hashlib.sha256(hashed).digest()


@pytest.mark.parametrize("at", [OPTIONAL + 64, len(image()) - 1])
def test_checksum_and_signatures_may_change(at: int) -> None:
    assert authenticode(changed(image(), at, b"\xaa")) == authenticode(image())


@pytest.mark.parametrize("at", [0x100, HEADERS - 1, HEADERS, len(image()) - 10])
def test_every_other_byte_counts(at: int) -> None:
    assert authenticode(changed(image(), at, b"\xaa")) != authenticode(image())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"MZ",
        changed(image(), 0, b"ZM"),
        changed(image(), PE, b"XX"),
        changed(image(), OPTIONAL, b"\0\0"),
        changed(image(), OPTIONAL + 108, b"\x04"),
        changed(image(), PE + 6, b"\x61"),
        changed(image(), OPTIONAL + 60, b"\0\0\x10"),
        changed(image(), OPTIONAL + 60, b"\0\x01"),
        changed(image(), TABLE + 16, b"\xff\xff"),
        changed(image(), TABLE + 20, b"\0\x01"),
        changed(image(), SECURITY + 4, b"\xff\xff"),
    ],
)
def test_what_is_no_image_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        authenticode(raw)

    assert caught.value.code == "measure.kernel"


@given(raw=st.binary(max_size=400), at=st.integers(0, 0x800), value=st.binary(max_size=8))
def test_any_bytes_have_a_digest_or_are_refused(raw: bytes, at: int, value: bytes) -> None:
    for one in (raw, changed(image(), at, value)):
        try:
            assert len(authenticode(one)) == 32
        except InputError:
            continue


def test_the_header_is_filled_as_qemu_does() -> None:
    found = patched(image(), LAUNCH)

    assert (found[0x210], found[0x211]) == (0xB0, 0x81)
    assert struct.unpack_from("<H", found, 0x224) == (0xFE00,)
    assert struct.unpack_from("<I", found, 0x228) == (0x20000,)
    # As QEMU 7.2 placed it in a machine of this size.
    address = (256 * MIB - 0x28000 - 1 - 22176) & ~4095
    assert struct.unpack_from("<II", found, 0x218) == (address, 22176)
    assert found[0x264:] == image()[0x264:]


@pytest.mark.parametrize(
    ("flags", "memory", "machine", "top"),
    [
        (0x7F, 4096 * MIB, Machine.Q35, 0x80000000 - 0x28000 - 1),
        (0x7F, 4096 * MIB, Machine.I440FX, 0xC0000000 - 0x28000 - 1),
        (0x7F, 2815 * MIB, Machine.Q35, 2815 * MIB - 0x28000 - 1),
        (0x00, 2048 * MIB, Machine.Q35, 0x37FFFFFF),
    ],
)
def test_the_initrd_is_below_what_kernel_and_machine_allow(
    flags: int, memory: int, machine: Machine, top: int
) -> None:
    launch = Launch(memory_bytes=memory, initrd_size=1, machine=machine)

    address = struct.unpack_from("<I", patched(image(flags=flags), launch), 0x218)[0]

    assert address == (top - 1) & ~4095


def test_without_an_initrd_there_is_no_address() -> None:
    found = patched(image(), Launch(memory_bytes=256 * MIB, initrd_size=0))

    assert found[0x218:0x220] == bytes(8)


def test_each_behaviour_of_qemu_has_its_digest() -> None:
    found = kernel_digests(image(), LAUNCH)

    assert found[Handover.UNTOUCHED] == authenticode(image())
    assert found[Handover.PATCHED] == authenticode(patched(image(), LAUNCH))
    assert len(set(found.values())) == len(Handover)


@pytest.mark.parametrize(
    ("raw", "launch", "code"),
    [
        (b"", LAUNCH, "measure.kernel"),
        (changed(image(), 0x202, b"X"), LAUNCH, "measure.kernel"),
        (image(protocol=0x20B), LAUNCH, "measure.kernel"),
        (image(high=0), LAUNCH, "measure.kernel"),
        (image(), Launch(memory_bytes=MIB, initrd_size=MIB), "measure.memory"),
    ],
)
def test_what_cannot_be_started_is_refused(raw: bytes, launch: Launch, code: str) -> None:
    with pytest.raises(InputError) as caught:
        kernel_digests(raw, launch)

    assert caught.value.code == code
