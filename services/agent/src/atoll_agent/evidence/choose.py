"""Which provider the agent takes, by what there is. Pure.

| wanted             | taken                                                                  |
| nothing            | the simulated device, if one was handed in; else as `auto`             |
| `auto`             | the first of configfs-tsm, /dev/sev-guest, /dev/tdx_guest and the vTPM |
| `sev-snp`, `tdx`   | configfs-tsm if its driver is of that kind, else the device            |
| `vtpm`, `keystone` | that                                                                   |
| `simulated`        | the simulated device, which must have been handed in                   |

Nothing ever becomes simulated because something else is missing. The host chooses all the same
(settings come from it): what it chooses is in the evidence, and who appraises that decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from atoll.errors import ConfigError
from atoll.evidence.document import Tee as EvidenceTee
from atoll_agent.evidence.tsm import TEES

AUTO: Final = "auto"


class Source(Enum):
    """Where evidence can come from."""

    TSM = "configfs-tsm"
    SEV_GUEST = "/dev/sev-guest"
    TDX_GUEST = "/dev/tdx_guest"
    VTPM = "vtpm"
    KEYSTONE = "keystone"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What there is here."""

    tsm: str | None = None
    """Who registered with configfs-tsm, in its own word; empty: nobody; None: there is none."""
    sev_guest: bool = False
    tdx_guest: bool = False
    vtpm: bool = False
    device: bool = False
    """A simulated device was handed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is taken, and why; one sentence each."""

    source: Source
    tee: EvidenceTee | None
    """Of configfs-tsm, which makes several kinds."""
    reasons: tuple[str, ...]


_WANTED: Final[Mapping[str, tuple[Source, ...]]] = {
    AUTO: (Source.TSM, Source.SEV_GUEST, Source.TDX_GUEST, Source.VTPM),
    "sev-snp": (Source.TSM, Source.SEV_GUEST),
    "tdx": (Source.TSM, Source.TDX_GUEST),
    "vtpm": (Source.VTPM,),
    "keystone": (Source.KEYSTONE,),
    "simulated": (Source.SIMULATED,),
}
WANTED: Final = tuple(_WANTED)
"""What may be asked for."""


def choose(wanted: str, offer: Offer) -> Choice:
    """What to take.

    Args:
        wanted: one of `WANTED`, or empty.
        offer: what there is.

    Raises:
        ConfigError: `tee.unknown`; `tee.missing`: there is nothing of the kind here.
    """
    if not wanted and offer.device:
        return Choice(
            source=Source.SIMULATED, tee=None, reasons=("a simulated device was handed in",)
        )
    sources = _WANTED.get(wanted or AUTO)
    if sources is None:
        raise ConfigError(
            f"there is no TEE {wanted[:40]!r}; want one of {', '.join(WANTED)}", code="tee.unknown"
        )
    reasons: list[str] = []
    for source in sources:
        tee = TEES.get(offer.tsm or "") if source is Source.TSM else None
        there, reason = _look(source, offer, wanted)
        reasons.append(f"{source.value}: {reason}")
        if there:
            return Choice(source=source, tee=tee, reasons=tuple(reasons))
    raise ConfigError(
        f"no evidence of the kind {wanted or AUTO} can be made here ({'; '.join(reasons)})",
        code="tee.missing",
        hint="a TEE is never simulated by itself; ATOLL_AGENT_TEE=simulated asks for that",
    )


def _look(source: Source, offer: Offer, wanted: str) -> tuple[bool, str]:
    """Whether this can be taken, and why or why not."""
    there = {
        Source.SEV_GUEST: offer.sev_guest,
        Source.TDX_GUEST: offer.tdx_guest,
        Source.VTPM: offer.vtpm,
        # Whether there is a runtime shows when it is asked.
        Source.KEYSTONE: True,
        Source.SIMULATED: offer.device,
    }
    if source is not Source.TSM:
        return there[source], "is there" if there[source] else "is not there"
    if offer.tsm is None:
        return False, "is not there"
    tee = TEES.get(offer.tsm)
    if tee is None:
        return False, f"{offer.tsm[:40]!r} is no driver that we know" if offer.tsm else "no driver"
    if wanted not in {"", AUTO, tee.value}:
        return False, f"its driver is {offer.tsm}"
    return True, f"its driver is {offer.tsm}"
