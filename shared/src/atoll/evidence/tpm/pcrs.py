"""The registers of a TPM's SHA-256 bank, which travel beside a quote as a JSON array.

The quote has only a digest of those that it selects: that of their values, in the order of
their numbers (TCG TPM 2.0 Library, part 1, section 17.5.2).
"""

import json
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.hashes import Hash as Hasher

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.tpm.quote import SHA256_ALG, VerifiedTpmQuote

COUNT: Final = 24
MAX_JSON: Final = 16 << 10
_DIGITS: Final = 64


def parse(raw: bytes) -> tuple[bytes, ...]:
    """The 24 values, PCR0 first.

    Raises:
        MalformedEvidenceError: not a JSON array of 24 strings of 64 hexadecimal digits.
    """
    if len(raw) > MAX_JSON:
        raise _malformed(f"are {len(raw)} bytes, at most {MAX_JSON}")
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _malformed("are not JSON") from error
    if not isinstance(value, list) or len(value) != COUNT:
        raise _malformed(f"are not an array of {COUNT}")
    return tuple(_value(at, text) for at, text in enumerate(value))


def check(quote: VerifiedTpmQuote, values: Sequence[bytes]) -> frozenset[int]:
    """The numbers of the registers whose values the quote proves; others prove nothing.

    Raises:
        RejectedEvidenceError: `evidence.pcr_selection`: not exactly one selection, of at
            least one register of this bank; `evidence.pcr_digest_mismatch`: other values.
    """
    selections = quote.attest.selections
    if len(selections) != 1 or selections[0][0] != SHA256_ALG or not selections[0][1]:
        raise RejectedEvidenceError(
            "TPM quote does not select registers of the SHA-256 bank alone",
            code="evidence.pcr_selection",
        )
    selected = selections[0][1]
    if not selected <= set(range(len(values))):
        raise RejectedEvidenceError(
            "TPM quote selects a register without a value", code="evidence.pcr_selection"
        )
    hasher = Hasher(quote.hash)
    for number in sorted(selected):
        hasher.update(values[number])
    if hasher.finalize() != quote.attest.pcr_digest:
        raise RejectedEvidenceError(
            "TPM quote is over other register values", code="evidence.pcr_digest_mismatch"
        )
    return selected


def _value(at: int, text: object) -> bytes:
    if not isinstance(text, str) or len(text) != _DIGITS:
        raise _malformed(f"have no 64 digits for PCR{at}")
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise _malformed(f"have no hexadecimal value for PCR{at}") from error
    if len(value) * 2 != _DIGITS:
        raise _malformed(f"have spaces in the value of PCR{at}")
    return value


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("PCR values", 0, reason)
