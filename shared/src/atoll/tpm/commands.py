"""Commands as they are sent (TPM 2.0 Library, part 3).

| tag u16 | size u32 | command code u32 | handles u32 ... | authorisation | parameters |

Big-endian. The authorisation is that of an empty password, and there only with the tag
TPM_ST_SESSIONS: size u32 = 9, TPM_RS_PW u32, empty nonce, attributes u8, empty password.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from atoll.tpm.codes import DIGEST_SIZES, NO_SESSIONS, NULL, PASSWORD_SESSION, SESSIONS

SELECT_SIZE: Final = 3
"""Bytes of a register selection: 24 registers."""
MAX_QUALIFYING: Final = 50
"""Bytes that every TPM takes as the data of a quote: TPM2B_DATA holds a TPMT_HA, and one
without SHA-384 and SHA-512 has 34."""

_PASSWORD: Final = struct.pack(">IIHBH", 9, PASSWORD_SESSION, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; `has_sessions` and `handles` say what its response looks like."""

    name: str
    raw: bytes = field(repr=False)
    has_sessions: bool
    has_handle: bool = False


def startup() -> Command:
    """TPM2_Startup(TPM_SU_CLEAR), section 9.3: registers at their initial values."""
    return _command("TPM2_Startup", 0x144, parameters=struct.pack(">H", 0))


def shutdown() -> Command:
    """TPM2_Shutdown(TPM_SU_CLEAR), section 9.4."""
    return _command("TPM2_Shutdown", 0x145, parameters=struct.pack(">H", 0))


def create_primary(hierarchy: int, template: bytes) -> Command:
    """TPM2_CreatePrimary, section 24.1, with an empty password for hierarchy and key.

    Args:
        hierarchy: such as `codes.ENDORSEMENT`.
        template: a TPMT_PUBLIC (`templates`).
    """
    sensitive = _sized(_sized(b"") + _sized(b""))
    parameters = sensitive + _sized(template) + _sized(b"") + struct.pack(">I", 0)
    return _command(
        "TPM2_CreatePrimary", 0x131, handles=(hierarchy,), parameters=parameters, makes=True
    )


def read_public(handle: int) -> Command:
    """TPM2_ReadPublic, section 12.4."""
    return _command("TPM2_ReadPublic", 0x173, handles=(handle,), sessions=False)


def quote(key: int, qualifying: bytes, bank: int, registers: Iterable[int]) -> Command:
    """TPM2_Quote, section 18.4, by the scheme of the key.

    Args:
        key: the handle of a restricted signing key.
        qualifying: at most `MAX_QUALIFYING` bytes, which become extraData.
        bank: the hash algorithm of the registers.
        registers: numbers from 0 to 23.

    Raises:
        ValueError: too much, or no such register.
    """
    if len(qualifying) > MAX_QUALIFYING:
        raise ValueError(f"qualifying data of {len(qualifying)} bytes, at most {MAX_QUALIFYING}")
    parameters = _sized(qualifying) + struct.pack(">H", NULL) + selection((bank, registers))
    return _command("TPM2_Quote", 0x158, handles=(key,), parameters=parameters)


def pcr_read(bank: int, registers: Iterable[int]) -> Command:
    """TPM2_PCR_Read, section 22.4. The TPM answers with at most eight of them."""
    return _command("TPM2_PCR_Read", 0x17E, parameters=selection((bank, registers)))


def pcr_extend(register: int, bank: int, digest: bytes) -> Command:
    """TPM2_PCR_Extend, section 22.2, of one bank.

    Raises:
        ValueError: the digest is not of the bank's size.
    """
    if len(digest) != DIGEST_SIZES[bank]:
        raise ValueError(f"a digest of {len(digest)} bytes for bank 0x{bank:04x}")
    parameters = struct.pack(">IH", 1, bank) + digest
    return _command("TPM2_PCR_Extend", 0x182, handles=(register,), parameters=parameters)


def pcr_allocate(hierarchy: int, *banks: tuple[int, Iterable[int]]) -> Command:
    """TPM2_PCR_Allocate, section 22.5: which banks there are from the next start on."""
    return _command("TPM2_PCR_Allocate", 0x12B, handles=(hierarchy,), parameters=selection(*banks))


def flush_context(handle: int) -> Command:
    """TPM2_FlushContext, section 28.4: forget a key. Its handle is a parameter."""
    return _command("TPM2_FlushContext", 0x165, parameters=struct.pack(">I", handle))


def get_pcr_banks() -> Command:
    """TPM2_GetCapability(TPM_CAP_PCRS), section 30.2: which banks there are."""
    return _command("TPM2_GetCapability", 0x17A, parameters=struct.pack(">III", 5, 0, 1))


def selection(*banks: tuple[int, Iterable[int]]) -> bytes:
    """TPML_PCR_SELECTION.

    Raises:
        ValueError: a register outside 0 to 23.
    """
    packed = [struct.pack(">I", len(banks))]
    for bank, registers in banks:
        bits = 0
        for number in registers:
            if not 0 <= number < 8 * SELECT_SIZE:
                raise ValueError(f"there is no PCR {number}")
            bits |= 1 << number
        packed.append(struct.pack(">HB", bank, SELECT_SIZE) + bits.to_bytes(SELECT_SIZE, "little"))
    return b"".join(packed)


def _command(
    name: str,
    code: int,
    *,
    handles: tuple[int, ...] = (),
    parameters: bytes = b"",
    sessions: bool | None = None,
    makes: bool = False,
) -> Command:
    """By default a command with a handle is authorised."""
    has_sessions = bool(handles) if sessions is None else sessions
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    body += (_PASSWORD if has_sessions else b"") + parameters
    tag = SESSIONS if has_sessions else NO_SESSIONS
    raw = struct.pack(">HII", tag, 10 + len(body), code) + body
    return Command(name=name, raw=raw, has_sessions=has_sessions, has_handle=makes)


def _sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value
