"""Each provider of the agent, asked for a quote over a fresh nonce, which is then verified.

Verified is what `atoll attest verify` verifies without a policy: that vendors' own roots stand
behind it, that it is current, of a production guest, and over this nonce.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from atoll.errors import AtollError, ConfigError, EvidenceError
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.findings import Finding
from atoll.evidence.judge import judge
from atoll.evidence.judgement import Judgement, Roots
from atoll.evidence.needed import Platform, Signed, collateral_of, intel_files
from atoll.framing import transcript
from atoll_agent.evidence import opening
from atoll_agent.evidence.choose import Choice, Offer, Source
from atoll_agent.evidence.kernel import Kernel
from atoll_agent.evidence.provider import Quoted
from atoll_agent.evidence.tsm import TEES

LABEL: Final = "atoll selftest v1"
NONCE_SIZE: Final = 32


class Result(Enum):
    """What came of one provider."""

    VERIFIED = "verified"
    PARTLY = "partly"
    """Genuine; but nothing here says whether the platform is up to date."""
    REFUSED = "refused"
    """There is evidence, and it does not verify."""
    FAILED = "failed"
    """There is no evidence."""
    UNTRIED = "untried"
    """This build has no way to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One provider, and what it gave."""

    source: Source
    result: Result
    code: str = ""
    """Of the error, or the first check that failed."""
    message: str = ""
    hint: str = ""
    seconds: float = 0.0
    tee: EvidenceTee | None = None
    quoted: Quoted | None = field(default=None, repr=False)
    checks: tuple[Finding, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    product: str = ""
    tcb_status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """What attempts are made with."""

    kernel: Kernel
    now: datetime
    random: Callable[[int], bytes] = field(repr=False)
    collateral: Mapping[str, Signed] = field(default_factory=dict, repr=False)
    """Of Intel, by the keys of `atoll.evidence.needed`."""
    certs: tuple[bytes, ...] = field(default=(), repr=False)
    """Of AMD, for a host that hands out none."""
    roots: Roots = field(default_factory=Roots)
    """What is believed beside the vendors' pinned roots; the command adds nothing."""
    clock: Callable[[], float] = time.monotonic

    def try_all(self, offer: Offer) -> tuple[Attempt, ...]:
        """Every way that there is here, the ones that the agent would not take included."""
        there = {
            Source.TSM: bool(offer.tsm),
            Source.SEV_GUEST: offer.sev_guest,
            Source.TDX_GUEST: offer.tdx_guest,
            Source.VTPM: offer.vtpm,
        }
        return tuple(self._try(source, offer) for source, is_there in there.items() if is_there)

    def _try(self, source: Source, offer: Offer) -> Attempt:
        tee = TEES.get(offer.tsm or "") if source is Source.TSM else None
        began = self.clock()
        try:
            provider = opening.hardware(Choice(source=source, tee=tee, reasons=()), self.kernel)
            nonce = self.random(NONCE_SIZE)
            data = hashlib.sha512(transcript(LABEL, nonce)).digest()
            quoted = asyncio.run(provider.quote(data))
        except ConfigError as error:
            return _without(source, Result.UNTRIED, error)
        except AtollError as error:
            return _without(source, Result.FAILED, error, self.clock() - began)
        seconds = self.clock() - began
        found, result, hint = self._judge(provider.tee, quoted, data)
        return Attempt(
            source=source,
            result=result,
            code=found.reason,
            hint=hint,
            seconds=seconds,
            tee=provider.tee,
            quoted=quoted,
            checks=found.checks,
            claims=found.claims,
            product=found.product,
            tcb_status=found.tcb_status,
        )

    def _judge(
        self, tee: EvidenceTee, quoted: Quoted, data: bytes
    ) -> tuple[Judgement, Result, str]:
        """The judgement, what it comes to, and what would make more of it."""
        if tee is EvidenceTee.TDX:
            return self._judge_tdx(quoted, data)
        certs = quoted.certs or self.certs
        found = judge(
            "snp_report",
            quoted.report,
            files={"certs": certs},
            policy={"report_data": data.hex()},
            now=self.now,
            roots=self.roots,
        )
        hint = "" if certs else "the host hands out no certificates: give the chip's with --certs"
        return found, _result(found), hint

    def _judge_tdx(self, quoted: Quoted, data: bytes) -> tuple[Judgement, Result, str]:
        try:
            files = intel_files(Platform.of(quoted.report, quoted.certs), self.collateral)
        except EvidenceError:
            files = {}  # the judgement says what is wrong with the quote
        if collateral_of(files) is not None:
            policy = {"report_data": data.hex()}
            found = judge(
                "tdx_quote",
                quoted.report,
                files=files,
                policy=policy,
                now=self.now,
                roots=self.roots,
            )
            return found, _result(found), ""
        found = judge("quote_crypto_only", quoted.report, now=self.now, roots=self.roots)
        result = Result.PARTLY if found.verdict == "valid" else Result.REFUSED
        hint = "`atoll attest collateral import` takes Intel's collateral of this platform"
        return found, result, hint


def _result(found: Judgement) -> Result:
    return Result.VERIFIED if found.verdict == "valid" else Result.REFUSED


def _without(source: Source, result: Result, error: AtollError, seconds: float = 0.0) -> Attempt:
    return Attempt(
        source=source,
        result=result,
        code=error.code,
        message=error.message,
        hint=error.hint or "",
        seconds=seconds,
    )
