"""Prove that evidence is of a virtual TPM that a trusted authority certified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import RejectedEvidenceError
from atoll.evidence.eventlog.pcr_log import COUNT, PcrLog
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.quote import VerifiedTpmQuote, verify_ecdsa_quote
from atoll.evidence.vtpm.chain import VerifiedAk, VtpmRoots, verify_ak_chain
from atoll.evidence.vtpm.report import QUOTED, VtpmReport

BANK: Final = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedVtpm:
    """A quote by a certified key, with the registers that it proves and the log that explains
    them. What they say is policy's affair, as is that their host can have made all of it up."""

    ak: VerifiedAk
    quote: VerifiedTpmQuote
    registers: Mapping[int, bytes]
    log: PcrLog


def verify_vtpm(
    report: VtpmReport, certs: Sequence[bytes], roots: VtpmRoots, *, now: datetime
) -> VerifiedVtpm:
    """Verify one report.

    1. The boot log parses.
    2. The attestation key's certificate holds (see `chain.verify_ak_chain`).
    3. The key signed the quote, which is one (see `tpm.quote.verify_ecdsa_quote`).
    4. It is of SHA-256 registers only, at least of `QUOTED`, and of the values given.
    5. The log replays to every register that is quoted.

    Does not check: what the quote answers (extraData), which the caller compares.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: something does not parse.
        RejectedEvidenceError: any other step, with the code of the check.
    """
    # 1
    log = PcrLog.from_bytes(report.event_log)
    # 2
    ak = verify_ak_chain(certs, roots, now=now)
    # 3
    quote = verify_ecdsa_quote(report.attest, report.signature, ak.key)
    # 4
    registers = _proven(quote, report.pcrs)
    # 5
    replayed = log.replay()
    for number, value in registers.items():
        if replayed[number] != value:
            raise RejectedEvidenceError(
                f"PCR{number} is {value[:8].hex()}.., the log replays to "
                f"{replayed[number][:8].hex()}..",
                code="evidence.pcr_replay",
            )
    return VerifiedVtpm(ak=ak, quote=quote, registers=registers, log=log)


def _proven(quote: VerifiedTpmQuote, given: Mapping[int, bytes]) -> Mapping[int, bytes]:
    proven = pcrs.check(quote, {BANK: given})[BANK]
    if not set(QUOTED) <= proven.keys() or not all(number < COUNT for number in proven):
        raise RejectedEvidenceError(
            f"TPM quote is not of PCR0 to {QUOTED[-1]} and others below {COUNT}",
            code="evidence.pcr_selection",
        )
    return proven
