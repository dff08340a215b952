"""Numbers of the specification, and the errors that its response codes become (part 2, 6.6)."""

from typing import Final

from atoll.errors import EvidenceError

NO_SESSIONS: Final = 0x8001
SESSIONS: Final = 0x8002
"""Tags of commands and responses without and with authorisation (TPM_ST)."""

PASSWORD_SESSION: Final = 0x40000009
"""TPM_RS_PW."""
ENDORSEMENT: Final = 0x4000000B
PLATFORM: Final = 0x4000000C
"""Hierarchies (TPM_RH)."""

RSA: Final = 0x0001
SHA1: Final = 0x0004
SHA256: Final = 0x000B
SHA384: Final = 0x000C
SHA512: Final = 0x000D
NULL: Final = 0x0010
RSASSA: Final = 0x0014
ECDSA: Final = 0x0018
ECC: Final = 0x0023
"""Algorithms (TPM_ALG)."""
NIST_P256: Final = 0x0003
"""TPM_ECC_CURVE."""
DIGEST_SIZES: Final = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64}

SUCCESS: Final = 0x000
YIELDED: Final = 0x908
TESTING: Final = 0x90A
RETRY: Final = 0x922
AGAIN: Final = frozenset({YIELDED, TESTING, RETRY})
"""Warnings after which the same command is sent again."""

_FORMAT_ONE: Final = 0x080
_PARAMETER: Final = 0x040
_NAMES: Final = {
    0x100: "INITIALIZE",
    0x101: "FAILURE",
    0x120: "DISABLED",
    0x125: "AUTH_MISSING",
    0x142: "COMMAND_SIZE",
    0x143: "COMMAND_CODE",
    0x144: "AUTHSIZE",
    0x902: "OBJECT_MEMORY",
    0x903: "SESSION_MEMORY",
    0x907: "CANCELED",
    YIELDED: "YIELDED",
    0x909: "LOCALITY",
    TESTING: "TESTING",
    0x920: "NV_RATE",
    0x921: "LOCKOUT",
    RETRY: "RETRY",
    0x923: "NV_UNAVAILABLE",
}
_FORMAT_ONE_NAMES: Final = {
    0x01: "ASYMMETRIC",
    0x02: "ATTRIBUTES",
    0x03: "HASH",
    0x04: "VALUE",
    0x05: "HIERARCHY",
    0x07: "KEY_SIZE",
    0x0A: "TYPE",
    0x0B: "HANDLE",
    0x0E: "AUTH_FAIL",
    0x10: "PP",
    0x12: "SCHEME",
    0x15: "SIZE",
    0x16: "SYMMETRIC",
    0x18: "SELECTOR",
    0x1A: "INSUFFICIENT",
    0x1C: "KEY",
    0x22: "BAD_AUTH",
    0x26: "CURVE",
}


class TpmError(EvidenceError):
    """A TPM refused a command; `response` is its TPM_RC."""

    default_code = "tpm.refused"

    def __init__(self, command: str, response: int) -> None:
        super().__init__(f"the TPM answered {command} with {name_of(response)}")
        self.response = response


def name_of(response: int) -> str:
    """The name of a response code, with what it is about, and its number.

    A code of format one has bit 7; it names a parameter (bit 6), a session or a handle by its
    number (part 2, section 6.6.2, table 15).
    """
    number = f"0x{response:03x}"
    if not response & _FORMAT_ONE:
        return f"TPM_RC_{_NAMES.get(response, 'unknown')} ({number})"
    name = _FORMAT_ONE_NAMES.get(response & 0x3F, "unknown")
    place = response >> 8 & 0xF
    if response & _PARAMETER:
        where = f" of parameter {place}"
    elif place & 0x8:
        where = f" of session {place & 0x7}"
    else:
        where = f" of handle {place}" if place else ""
    return f"TPM_RC_{name}{where} ({number})"
