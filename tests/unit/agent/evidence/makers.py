"""Providers over fake kernels, and simulated reports and quotes for them."""

from dataclasses import dataclass, field
from functools import cache

from atoll_agent.evidence.patience import Patience
from support.dcap.quotes import Platform, td_report
from support.evidence import chain, guest

DATA = bytes(range(64))
OTHER = bytes(64)


@dataclass
class Pauses:
    """Where `Patience` waits."""

    taken: list[float] = field(default_factory=list)

    def patience(self, attempts: int = 5) -> Patience:
        return Patience(attempts=attempts, pause=self.taken.append)


def report(user_data: bytes, vmpl: int = 0) -> bytes:
    """A report by the simulated processor."""
    return guest().attest(user_data, vmpl=vmpl)


def table() -> bytes:
    """The simulated processor's certificates as a host gives them."""
    return chain().table().to_bytes()


@cache
def quote(report_data: bytes) -> bytes:
    """A TDX quote by a platform of the tests."""
    return Platform(body=td_report(report_data=report_data)).quote()
