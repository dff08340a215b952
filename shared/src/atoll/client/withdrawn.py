"""Which consents were taken back from here, so that no key follows, whatever a gateway says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll import canonical
from atoll.client.files import write_private
from atoll.errors import RefusedError
from atoll.wire import schema
from atoll.wire.messages import Withdrawal

DIRECTORY: Final = "withdrawals"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """One small file for each, below ATOLL_HOME. That a file is there is all that counts."""

    home: Path

    def record(self, withdrawal: Withdrawal) -> None:
        """Keep it. It stays; there is no way back. Raises: ConfigError `file.unwritable`."""
        raw = canonical.dumps(schema.to_plain(withdrawal, json=True)) + b"\n"
        write_private(self._path(withdrawal.party, withdrawal.manifest_digest), raw)

    def require_standing(self, party: str, manifest_digest: bytes) -> None:
        """Return unless this party's consent was taken back here.

        Raises:
            RefusedError: `consent.withdrawn`.
        """
        path = self._path(party, manifest_digest)
        if path.exists():
            raise RefusedError(
                f"{party!r} took its consent to the manifest {manifest_digest.hex()} back",
                code="consent.withdrawn",
                hint=f"agree on a new manifest; {path} is why no key is released for this one",
            )

    def _path(self, party: str, manifest_digest: bytes) -> Path:
        return self.home / DIRECTORY / f"{manifest_digest.hex()}.{party}.json"
