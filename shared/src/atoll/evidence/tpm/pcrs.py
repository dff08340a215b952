"""The registers of a TPM, which travel beside a quote as JSON.

An array of 24 values is the SHA-256 bank; an object has an array for each bank, by name:
`{"sha256": [...], "sha384": [...]}`. The quote has only a digest of those that it selects:
that of their values, bank after bank as selected, in the order of their numbers (TCG TPM 2.0
Library, part 1, section 17.5.2). SHA-1 registers are no proof of anything and not read.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import Hash as Hasher

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.tpm.quote import SHA256_ALG, SHA384_ALG, SHA512_ALG, VerifiedTpmQuote

COUNT: Final = 24
MAX_JSON: Final = 16 << 10
BANKS: Final[Mapping[str, int]] = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Sizes of the values of each bank."""

_NAMES: Final = {SHA256_ALG: "sha256", SHA384_ALG: "sha384", SHA512_ALG: "sha512"}

Registers = Mapping[str, Mapping[int, bytes]]
"""Values by bank and number."""


def parse(raw: bytes) -> Registers:
    """The 24 values of each bank.

    Raises:
        MalformedEvidenceError: not one of the two forms above, or values of another size.
    """
    if len(raw) > MAX_JSON:
        raise _malformed(f"are {len(raw)} bytes, at most {MAX_JSON}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _malformed("are not JSON with distinct names") from error
    banks = value if isinstance(value, dict) else {"sha256": value}
    if not banks or not banks.keys() <= BANKS.keys():
        raise _malformed(f"are not of banks {', '.join(BANKS)}")
    return {bank: _values(bank, values) for bank, values in banks.items()}


def check(quote: VerifiedTpmQuote, given: Registers) -> Registers:
    """The values that the quote proves, which are those of the registers that it selects.

    Raises:
        RejectedEvidenceError: `evidence.pcr_selection`: it selects none, or one that no value
            is given for; `evidence.pcr_digest_mismatch`: other values.
    """
    proven: dict[str, dict[int, bytes]] = {}
    hasher = Hasher(quote.hash)
    for algorithm, numbers in quote.attest.selections:
        if not numbers:
            continue
        bank = _NAMES.get(algorithm, "")
        if bank not in given or not numbers <= given[bank].keys():
            raise _selection(f"selects a register of bank 0x{algorithm:04x} without a value")
        proven[bank] = {number: given[bank][number] for number in sorted(numbers)}
        for value in proven[bank].values():
            hasher.update(value)
    if not proven:
        raise _selection("selects no register")
    if hasher.finalize() != quote.attest.pcr_digest:
        raise RejectedEvidenceError(
            "TPM quote is over other register values", code="evidence.pcr_digest_mismatch"
        )
    return proven


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object repeats a name")
    return value


def _values(bank: str, values: object) -> dict[int, bytes]:
    if not isinstance(values, list) or len(values) != COUNT:
        raise _malformed(f"are not an array of {COUNT}")
    return {at: _value(at, text, BANKS[bank]) for at, text in enumerate(values)}


def _value(at: int, text: object, size: int) -> bytes:
    if not isinstance(text, str) or len(text) != 2 * size:
        raise _malformed(f"have no {2 * size} digits for PCR{at}")
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise _malformed(f"have no hexadecimal value for PCR{at}") from error
    if len(value) != size:
        raise _malformed(f"have spaces in the value of PCR{at}")
    return value


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("PCR values", 0, reason)


def _selection(why: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(f"TPM quote {why}", code="evidence.pcr_selection")
