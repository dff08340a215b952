"""The attestor's settings, read once and never changed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError

PREFIX: Final = "ATOLL_ATTESTOR_"
MAX_TTL_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestorConfig:
    nats_url: str
    """Where the bus is."""

    nats_user: str = "attestor"
    nats_password: str = field(repr=False)

    signing_key_file: Path
    """Ed25519 private key, PKCS#8 PEM, for attestation results; made by whoever sets up."""

    policy_file: Path
    """The appraisal policy, canonical JSON (`atoll.evidence.policy`)."""

    development_root_file: Path | None = None
    """The ARK certificate of a simulated TEE. Only naming it here makes simulated evidence
    pass; the genuine AMD roots are always trusted."""

    result_ttl_s: int = 300
    """How long an attestation result holds."""

    nonce_ttl_s: int = 120
    """How long a challenge may be answered."""

    supervised: bool = False
    """End when standard input ends."""

    def __post_init__(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        for name in ("result_ttl_s", "nonce_ttl_s"):
            if not 1 <= getattr(self, name) <= MAX_TTL_S:
                raise ConfigError(
                    f"{PREFIX}{name.upper()}={getattr(self, name)}: want 1 to {MAX_TTL_S}",
                    code="config.invalid",
                )
