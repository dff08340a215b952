"""What the settings and the files that they name amount to."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from atoll.credentials.door_keys import DoorKeys
from atoll.errors import ConfigError, InputError
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.identity import PartyPublic
from atoll.telemetry.metrics.metric import UNMETERED, Meter
from atoll_attestor import files, ports
from atoll_attestor.collateral.cache import fetch_crl
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.kds import Kds
from atoll_attestor.collateral.pcs import Pcs, fmspcs
from atoll_attestor.collateral.supply import Sources, Supply
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.door import Keyring
from atoll_attestor.gathering import Gathering
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
    """The vendors' roots, and what the settings name beside them."""
    owners: Owners
    sources: Sources
    fetcher: Fetcher
    door: Keyring = field(repr=False)
    door_raw: bytes = field(repr=False)
    """The content of the file of door keys."""

    @classmethod
    def read(cls, config: AttestorConfig) -> Self:
        """Read the files.

        Raises:
            ConfigError: `config.unreadable`; `config.invalid`: a file is too large;
                `keyring.invalid`, `identity.malformed`, `trust.development_root`,
                `trust.device_key`.
        """
        trust = PRODUCTION
        with files.naming(config.development_root_file):
            if config.development_root_file is not None:
                trust = trust.with_development_root(files.read(config.development_root_file))
        with files.naming(config.keystone_devices_file):
            if config.keystone_devices_file is not None:
                text = files.read(config.keystone_devices_file).decode("utf-8", "replace")
                trust = trust.with_device_keys(text)
        with files.naming(config.key_ring_file):
            raw = files.read(config.key_ring_file)
            ring = KeyRing.from_bytes(raw)
        with files.naming(config.door_keys_file):
            door_raw = files.read(config.door_keys_file)
            door = Keyring(DoorKeys.from_bytes(door_raw))
        sources = _sources(config)
        return cls(
            config=config,
            ring=raw,
            keys=SigningKeys(ring, ttl_s=config.result_ttl_s),
            nonces=NonceIssuer(ring.nonce_secret, config.nonce_ttl_s * 1000),
            trust=trust,
            sources=sources,
            fetcher=Fetcher(sources.bases),
            door=door,
            door_raw=door_raw,
            owners=Owners(
                name=config.policy_name,
                keys=_owners(config.policy_owners_dir, config.policy_threshold),
                threshold=config.policy_threshold,
            ),
        )

    def gathering(self, supply: Supply) -> Gathering:
        """What evidence is judged by, from these caches and the services that may be asked."""
        kds_url, pcs_url = self.sources.kds_url, self.sources.pcs_url
        brief = Fetcher(self.sources.bases, IN_A_REQUEST)
        return Gathering(
            trust=self.trust,
            crls=supply.crls,
            documents=supply.store,
            kds=Kds(fetcher=brief, store=supply.store, base=kds_url) if kds_url else None,
            pcs=Pcs(
                fetcher=brief,
                store=supply.store,
                base=pcs_url,
                root_crl_url=self.sources.root_crl_url,
            )
            if pcs_url
            else None,
            fetch_crl=partial(fetch_crl, supply.crls, brief, kds_url) if kds_url else None,
        )

    def verifier(
        self,
        policies: ports.Policies,
        archive: ports.Archive,
        gathering: Gathering,
        meter: Meter = UNMETERED,
    ) -> Verifier:
        """The operations about enclaves, over these ports."""
        return Verifier(
            keys=self.keys,
            nonces=self.nonces,
            policy_name=self.owners.name,
            policies=policies,
            archive=archive,
            gathering=gathering,
            result_ttl_s=self.config.result_ttl_s,
            meter=meter,
        )

    def judging(
        self, policies: ports.Policies, archive: ports.Archive, gathering: Gathering
    ) -> Judging:
        """The operation about anybody's evidence, over the same."""
        return Judging(
            keys=self.keys,
            owners=self.owners,
            policies=policies,
            archive=archive,
            gathering=gathering,
            result_ttl_s=self.config.result_ttl_s,
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
