"""The attestor's settings, read once and never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.policy.signed import MAX_SIGNATURES
from atoll.wire import level
from atoll.wire.names import require_name

PREFIX: Final = "ATOLL_ATTESTOR_"
MAX_TTL_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestorConfig:
    nats_url: str
    """Where the bus is."""

    nats_creds_file: Path
    """The attestor's login. It is read again at each connection, which is how it rotates."""

    nats_ca_file: Path | None = None
    """PEM roots by which the bus's certificate is checked; None: the system's."""

    door_creds_file: Path
    """The login to which servers turn with whoever wants to come in."""

    door_keys_file: Path
    """What logins of enclaves are made with (`atoll_attestor.door`)."""

    key_ring_file: Path
    """The keys that sign attestation results (`atoll.evidence.ear_keys`), made by whoever
    sets up. It is read again when it changes, which is how a key rotates."""

    policy_owners_dir: Path
    """Here are the public files (`*.json`) of the parties that may sign the policy."""

    policy_threshold: int = 1
    """How many of them must have signed."""

    policy_name: str = "default"
    """The policy that is enforced here; its documents are in the bucket `policies`. As long as
    there is none, no evidence passes."""

    development_root_file: Path | None = None
    """The root certificates of a simulated TEE (`TrustStore.with_development_root`). Only naming
    it here makes simulated evidence pass; the genuine roots are always trusted."""

    keystone_devices_file: Path | None = None
    """The public keys of the Keystone devices that are trusted, in hex, one on a line. There is
    no vendor who would vouch for them; without this, no Keystone evidence passes."""

    collateral_dir: Path | None = None
    """Collateral in files: certificates, revocation lists, TCB info and QE identities
    (`*.pem`, `*.der`, `*.crl`, `*.json`), taken at the start and when the directory changes."""

    kds_url: str = ""
    """AMD's key distribution service or a mirror of it, asked for revocation lists, chains and
    VCEKs. Empty: it is never asked."""

    kds_refresh_s: int = 6 * 3600
    """How often the services of AMD and Intel are asked."""

    pcs_url: str = ""
    """Intel's provisioning certification service or a mirror of it, asked for TCB info, QE
    identities and revocation lists. Empty: it is never asked."""

    pcs_root_crl_url: str = ""
    """The revocation list of Intel's root, which is served elsewhere. Needed with `pcs_url`."""

    pcs_fmspcs: str = ""
    """The platforms to ask it about: FMSPCs in hex, with commas between. What was imported
    before is asked for as well."""

    result_ttl_s: int = 300
    """How long an attestation result holds."""

    admission_ttl_s: int = 300
    """How long an enclave stays on the bus by one appraisal of its evidence."""

    nonce_ttl_s: int = 120
    """How long a challenge may be answered."""

    metrics_address: str = ""
    """Where metrics are served for Prometheus (`docs/metrics.md`): HOST:PORT, or a port alone on
    loopback. Empty: nowhere."""

    protocol_newest: int = level.NEWEST
    """Speak no newer protocol level than this, as the release before did; no level above it comes
    into force while this service lives."""

    supervised: bool = False
    """End when standard input ends."""

    def __post_init__(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        for name in ("result_ttl_s", "admission_ttl_s", "nonce_ttl_s", "kds_refresh_s"):
            self._require_range(name, MAX_TTL_S)
        self._require_range("policy_threshold", MAX_SIGNATURES)
        try:
            require_name(self.policy_name, "policy")
        except InputError as error:
            raise ConfigError(f"{PREFIX}POLICY_NAME: {error}", code="config.invalid") from error
        if bool(self.pcs_url) != bool(self.pcs_root_crl_url):
            raise ConfigError(
                f"{PREFIX}PCS_URL and {PREFIX}PCS_ROOT_CRL_URL: want both or none",
                code="config.invalid",
            )

    def _require_range(self, name: str, high: int) -> None:
        if not 1 <= getattr(self, name) <= high:
            raise ConfigError(
                f"{PREFIX}{name.upper()}={getattr(self, name)}: want 1 to {high}",
                code="config.invalid",
            )
