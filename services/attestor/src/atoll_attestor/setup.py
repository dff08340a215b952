"""What the settings and the files that they name amount to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from atoll.errors import ConfigError, InputError
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.judgement import Roots
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.identity import PartyPublic
from atoll_attestor import files, ports
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.kds import Kds
from atoll_attestor.collateral.pcs import fmspcs
from atoll_attestor.collateral.supply import Sources, Supply
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.judging import Judging
from atoll_attestor.nonces import NonceIssuer
from atoll_attestor.policies import Owners
from atoll_attestor.signing import SigningKeys
from atoll_attestor.verifier import Verifier

IN_A_REQUEST: Final = Limits(attempts=1, timeout_s=3.0)
"""Somebody waits for what is fetched."""


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
    sources: Sources
    fetcher: Fetcher
    roots: Roots
    """What is believed beside the pinned roots."""

    @classmethod
    def read(cls, config: AttestorConfig) -> Self:
        """Read the files.

        Raises:
            ConfigError: `config.unreadable`; `config.invalid`: a file is too large;
                `keyring.invalid`, `identity.malformed`, `trust.development_root`.
        """
        trust, roots = PRODUCTION, Roots()
        with files.naming(config.development_root_file):
            if config.development_root_file is not None:
                ark = files.read(config.development_root_file)
                trust, roots = trust.with_development_root(ark), Roots(certificates=(ark,))
        with files.naming(config.key_ring_file):
            raw = files.read(config.key_ring_file)
            ring = KeyRing.from_bytes(raw)
        sources = _sources(config)
        return cls(
            config=config,
            ring=raw,
            keys=SigningKeys(ring, ttl_s=config.result_ttl_s),
            nonces=NonceIssuer(ring.nonce_secret, config.nonce_ttl_s * 1000),
            trust=trust,
            sources=sources,
            roots=roots,
            fetcher=Fetcher(sources.bases),
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

    def judging(self, supply: Supply) -> Judging:
        """The service's other operation, over this collateral."""
        kds = self.sources.kds_url and Kds(
            fetcher=Fetcher(self.sources.bases, IN_A_REQUEST),
            store=supply.store,
            base=self.sources.kds_url,
        )
        return Judging(
            crls=supply.crls, documents=supply.store, kds=kds or None, amd_roots=self.roots
        )


def _sources(config: AttestorConfig) -> Sources:
    try:
        platforms = fmspcs(config.pcs_fmspcs)
    except InputError as error:
        raise ConfigError(f"{PREFIX}PCS_FMSPCS: {error}", code="config.invalid") from error
    return Sources(
        directory=config.collateral_dir,
        kds_url=config.kds_url,
        pcs_url=config.pcs_url,
        root_crl_url=config.pcs_root_crl_url,
        platforms=platforms,
        refresh_s=float(config.kds_refresh_s),
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
