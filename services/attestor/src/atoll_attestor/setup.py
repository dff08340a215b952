"""What the settings and the files that they name amount to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from atoll.errors import ConfigError
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.identity import PartyPublic
from atoll_attestor import files, ports
from atoll_attestor.collateral.fetch import Fetcher
from atoll_attestor.config import AttestorConfig
from atoll_attestor.nonces import NonceIssuer
from atoll_attestor.policies import Owners
from atoll_attestor.signing import SigningKeys
from atoll_attestor.verifier import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that is known before there is a bus."""

    config: AttestorConfig
    ring: bytes = field(repr=False)
    """The content of the key ring file."""
    keys: SigningKeys = field(repr=False)
    nonces: NonceIssuer = field(repr=False)
    trust: TrustStore
    owners: Owners
    fetcher: Fetcher

    @classmethod
    def read(cls, config: AttestorConfig) -> Self:
        """Read the files.

        Raises:
            ConfigError: `config.unreadable`; `config.invalid`: a file is too large;
                `keyring.invalid`, `identity.malformed`, `trust.development_root`.
        """
        trust: TrustStore = PRODUCTION
        with files.naming(config.development_root_file):
            if config.development_root_file is not None:
                trust = trust.with_development_root(files.read(config.development_root_file))
        with files.naming(config.key_ring_file):
            raw = files.read(config.key_ring_file)
            ring = KeyRing.from_bytes(raw)
        return cls(
            config=config,
            ring=raw,
            keys=SigningKeys(ring, ttl_s=config.result_ttl_s),
            nonces=NonceIssuer(ring.nonce_secret, config.nonce_ttl_s * 1000),
            trust=trust,
            fetcher=Fetcher([config.kds_url] if config.kds_url else []),
            owners=Owners(
                name=config.policy_name,
                keys=_owners(config.policy_owners_dir, config.policy_threshold),
                threshold=config.policy_threshold,
            ),
        )

    def verifier(
        self, policies: ports.Policies, archive: ports.Archive, crls: ports.Crls
    ) -> Verifier:
        """The service's operations over these ports."""
        return Verifier(
            keys=self.keys,
            nonces=self.nonces,
            trust=self.trust,
            policy_name=self.owners.name,
            policies=policies,
            archive=archive,
            crls=crls,
            result_ttl_s=self.config.result_ttl_s,
        )


def _owners(directory: Path, threshold: int) -> frozenset[bytes]:
    keys = set()
    for path in sorted(directory.glob("*.json")):
        with files.naming(path):
            keys.add(PartyPublic.from_bytes(files.read(path)).signing_key)
    if len(keys) < threshold:
        raise ConfigError(
            f"{directory} has the keys of {len(keys)} owners of the policy, want {threshold}",
            code="config.invalid",
        )
    return frozenset(keys)
