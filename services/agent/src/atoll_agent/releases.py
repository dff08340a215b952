"""Collects key releases until every asset of the manifest has its key. Pure.

A release that does not open is refused and reported by its code; it never ends the
wait, or anybody who may publish to this enclave could end its job.
"""

from dataclasses import dataclass, field
from typing import Final

from atoll.errors import MessageError, SealError
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.release import KeyRelease, ReleasedKey, open_release
from atoll.wire import schema
from atoll_agent.assignment import Task

MAX_REFUSALS: Final = 16
"""Refusals that are reported; further ones are only counted."""

MAX_RELEASE: Final = 8 << 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A release that was not accepted, fit to be told: no secret is in it."""

    code: str
    message: str
    asset: str | None


@dataclass(slots=True)
class ReleaseCollector:
    """The releases seen so far for one task."""

    task: Task
    enclave_key: HpkePrivateKey = field(repr=False)
    keys: dict[str, ReleasedKey] = field(default_factory=dict, repr=False)
    refused: int = 0

    @property
    def missing(self) -> frozenset[str]:
        """Names of the assets that still have no key."""
        return frozenset(self.task.manifest.assets()) - self.keys.keys()

    def take(self, raw: bytes) -> Refusal | None:
        """Take in one message; None if it was accepted, or if refusals are told no longer.

        The first release of an asset stays: whoever can sign for the provider gains
        nothing by a second one, and the asset must open under what was taken.
        """
        asset: str | None = None
        try:
            release = schema.decode(KeyRelease, raw, limit=MAX_RELEASE)
            asset = release.asset_name
            if asset not in self.task.manifest.assets():
                raise SealError(
                    f"asset {asset!r} is not in the manifest", code="release.undeclared_asset"
                )
            key = open_release(
                release,
                enclave_key=self.enclave_key,
                expected=self.task.release_context(asset),
            )
        except (MessageError, SealError) as error:
            self.refused += 1
            if self.refused > MAX_REFUSALS:
                return None
            return Refusal(code=error.code, message=error.message, asset=asset)
        self.keys.setdefault(asset, key)
        return None
