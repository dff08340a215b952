"""Responses, parsed totally: a value, `TpmError`, or `MalformedEvidenceError`.

| tag u16 | size u32 | response code u32 | handle u32, if one was made |
| size of parameters u32, with sessions | parameters | session u16 0, u8, u16 0 |

A response that is no success has only the first line, and the tag TPM_ST_NO_SESSIONS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll.errors import MalformedEvidenceError
from atoll.evidence._cursor import Cursor
from atoll.tpm.codes import (
    DIGEST_SIZES,
    ECC,
    ECDSA,
    NIST_P256,
    NO_SESSIONS,
    NULL,
    SESSIONS,
    SHA256,
    SUCCESS,
    TpmError,
)
from atoll.tpm.commands import Command

HEADER_SIZE: Final = 10
MAX_RESPONSE: Final = 4096
"""What TPMs of PCs answer with at most (PC Client Platform TPM Profile)."""
MAX_PUBLIC: Final = 1024
MAX_ATTEST: Final = 1024
MAX_BANKS: Final = 16
MAX_SELECT: Final = 4
_COORDINATE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class EccPublic:
    """The public part of a signing key on P-256."""

    attributes: int
    x: bytes
    y: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """A key that was made: where it is, and its public part as TPMT_PUBLIC."""

    handle: int
    public: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedQuote:
    """TPMS_ATTEST and TPMT_SIGNATURE as the TPM made them."""

    attest: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def size_of(header: bytes) -> int:
    """How many bytes a response has whose first ten are these.

    Raises:
        MalformedEvidenceError: fewer than ten, or over `MAX_RESPONSE`.
    """
    cursor = Cursor(bytes(header), structure="TPM response", order="big")
    cursor.uint(2)
    size = cursor.uint(4)
    if not HEADER_SIZE <= size <= MAX_RESPONSE:
        raise cursor.fail(f"is {size} bytes, want {HEADER_SIZE} to {MAX_RESPONSE}")
    return size


def response_code(raw: bytes) -> int:
    """TPM_RC of a response. Raises: MalformedEvidenceError."""
    size_of(raw)
    return Cursor(bytes(raw[6:]), structure="TPM response", order="big").uint(4)


def done(command: Command, raw: bytes) -> None:
    """That the command was done, whose answer says nothing else. Raises: as `_open` does."""
    _open(command, raw)[1].finish()


def primary(command: Command, raw: bytes) -> Primary:
    """The answer to TPM2_CreatePrimary; what it says about the creation is not kept.

    Raises: as `_open` does.
    """
    handle, cursor = _open(command, raw)
    public = cursor.block(2, limit=MAX_PUBLIC)
    cursor.block(2, limit=MAX_PUBLIC)  # TPM2B_CREATION_DATA
    cursor.block(2, limit=64)  # its digest
    cursor.octets(6)  # tag and hierarchy of the ticket
    cursor.block(2, limit=64)
    cursor.block(2, limit=68)  # name of the key
    cursor.finish()
    return Primary(handle=handle, public=public)


def public(command: Command, raw: bytes) -> bytes:
    """The TPMT_PUBLIC in the answer to TPM2_ReadPublic. Raises: as `_open` does."""
    _, cursor = _open(command, raw)
    found = cursor.block(2, limit=MAX_PUBLIC)
    cursor.block(2, limit=68)  # name
    cursor.block(2, limit=68)  # qualified name
    cursor.finish()
    return found


def quoted(command: Command, raw: bytes) -> SignedQuote:
    """The answer to TPM2_Quote: nothing in it is verified. Raises: as `_open` does."""
    _, cursor = _open(command, raw)
    attest = cursor.block(2, limit=MAX_ATTEST)
    return SignedQuote(attest=attest, signature=cursor.octets(cursor.left))


def pcr_values(command: Command, raw: bytes, bank: int) -> Mapping[int, bytes]:
    """The values in the answer to TPM2_PCR_Read, by number; perhaps not all that were asked for.

    Raises: as `_open` does.
    """
    _, cursor = _open(command, raw)
    cursor.uint(4)  # counter of updates
    selected = _selections(cursor).get(bank, ())
    count = cursor.uint(4)
    if count != len(selected):
        raise cursor.fail(f"has {count} values for {len(selected)} registers")
    values = {number: cursor.block(2, limit=64) for number in selected}
    cursor.finish()
    if any(len(value) != DIGEST_SIZES[bank] for value in values.values()):
        raise cursor.fail("has a value of another size than the bank's")
    return values


def pcr_banks(command: Command, raw: bytes) -> Mapping[int, tuple[int, ...]]:
    """The registers of each bank, from TPM2_GetCapability(TPM_CAP_PCRS).

    Raises: as `_open` does.
    """
    _, cursor = _open(command, raw)
    cursor.uint(1)  # whether there is more
    if cursor.uint(4) != 5:  # noqa: PLR2004
        raise cursor.fail("is not about registers")
    banks = _selections(cursor)
    cursor.finish()
    return banks


def allocated(command: Command, raw: bytes) -> bool:
    """Whether TPM2_PCR_Allocate changed the banks. Raises: as `_open` does."""
    _, cursor = _open(command, raw)
    success = cursor.uint(1)
    cursor.octets(12)  # sizes
    cursor.finish()
    return success == 1


def ecc_public(raw: bytes) -> EccPublic:
    """Read a TPMT_PUBLIC of a P-256 key that signs by ECDSA with SHA-256.

    Raises:
        MalformedEvidenceError: anything else. Whether the point is on the curve is not checked.
    """
    cursor = Cursor(bytes(raw), structure="TPMT_PUBLIC", order="big")
    if (cursor.uint(2), cursor.uint(2)) != (ECC, SHA256):
        raise cursor.fail("is no ECC key with names of SHA-256")
    attributes = cursor.uint(4)
    cursor.block(2, limit=64)  # authorisation policy
    found = tuple(cursor.uint(2) for _ in range(5))
    if found != (NULL, ECDSA, SHA256, NIST_P256, NULL):
        raise cursor.fail("is no P-256 key that signs by ECDSA with SHA-256")
    x, y = cursor.block(2, limit=_COORDINATE), cursor.block(2, limit=_COORDINATE)
    cursor.finish()
    if not x or not y:
        raise cursor.fail("has no point")
    return EccPublic(
        attributes=attributes, x=x.rjust(_COORDINATE, b"\0"), y=y.rjust(_COORDINATE, b"\0")
    )


def _open(command: Command, raw: bytes) -> tuple[int, Cursor]:
    """(the handle that was made or 0, a cursor over the parameters).

    Raises:
        TpmError: the TPM refused.
        MalformedEvidenceError: no response to this command.
    """
    structure = f"response to {command.name}"
    if len(raw) > MAX_RESPONSE:
        raise MalformedEvidenceError(structure, 0, f"is {len(raw)} bytes")
    cursor = Cursor(bytes(raw), structure=structure, order="big")
    tag, size, code = cursor.uint(2), cursor.uint(4), cursor.uint(4)
    if size != len(raw):
        raise cursor.fail(f"says that it is {size} bytes, and is {len(raw)}")
    if code != SUCCESS:
        raise TpmError(command.name, code)
    if tag != (SESSIONS if command.has_sessions else NO_SESSIONS):
        raise cursor.fail(f"has the tag 0x{tag:04x}")
    handle = cursor.uint(4) if command.has_handle else 0
    if not command.has_sessions:
        return handle, cursor
    parameters = cursor.nested(cursor.uint(4), structure=structure)
    cursor.block(2, limit=64)
    cursor.uint(1)
    cursor.block(2, limit=64)
    cursor.finish()
    return handle, parameters


def _selections(cursor: Cursor) -> dict[int, tuple[int, ...]]:
    count = cursor.uint(4)
    if count > MAX_BANKS:
        raise cursor.fail(f"has {count} banks, at most {MAX_BANKS}")
    banks: dict[int, tuple[int, ...]] = {}
    for _ in range(count):
        bank = cursor.uint(2)
        bits = int.from_bytes(cursor.block(1, limit=MAX_SELECT), "little")
        if bank in banks:
            raise cursor.fail(f"has the bank 0x{bank:04x} twice")
        banks[bank] = tuple(at for at in range(bits.bit_length()) if bits >> at & 1)
    return banks
