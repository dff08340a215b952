"""What a deployment on one machine is made of, made at the first start and kept.

    <data_dir>/bus/                  logins of the bus (`atoll_cli.deployment.folder`)
    <data_dir>/http-token            the HTTP token
    <data_dir>/attestor-keys.json    keys that sign attestation results
    <data_dir>/operator.json         the operator's keys, which sign the policy
    <data_dir>/owners/operator.json  their public halves: who may sign it
    <data_dir>/simulated/chain.pem   the simulated TEE's certificates and its VCEK key
    <data_dir>/simulated/ark.pem     its root, which trusting it takes
    <data_dir>/vtpm/authority.pem    certifies virtual TPMs: certificate and key
    <data_dir>/development-roots.pem the root and the authority's certificate: who is believed
    <data_dir>/webhook-key           seals webhooks' secrets
    <data_dir>/collateral/           revocation lists and roots, if there are any, for the attestor
    <data_dir>/policy.json           accepts the agent that is installed now, nothing else

All files are 0600. Directories that are made here are 0700; one that was there before
stays as it is.
"""

import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from atoll.client.files import make_private_directory, read_private, write_private
from atoll.client.profile import Profile
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.evidence.ear_keys import KeyRing
from atoll.identity import PartyKeys
from atoll.simulated.chain import DevelopmentChain, DevelopmentKeys
from atoll.tpm.authority import VtpmAuthority
from atoll.wire import tenancy
from atoll.wire.access import AccessToken
from atoll_cli.deployment.folder import KEY_RING, Folder
from atoll_cli.deployment.identities import Identities
from atoll_cli.stack.enclaves import Enclaves

MAX_FILE: Final = 1 << 20
OPERATOR: Final = "operator.json"
OWNERS: Final = "owners"
WEBHOOK_KEY: Final = "webhook-key"
COLLATERAL: Final = "collateral"
OLDER_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32,256}")
"""As older versions made them; replaced by one that has the form of a token."""
KEY_SIZE: Final = 32
VTPM_AUTHORITY: Final = Path("vtpm") / "authority.pem"
ROOTS: Final = "development-roots.pem"
PROCESSES: Final = Enclaves()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A deployment's secrets and files."""

    data_dir: Path
    identities: Identities = field(repr=False)
    bus: Folder
    http_token: str = field(repr=False)
    policy: bytes
    """What clients ask of an enclave, and the first policy of the attestor."""
    operator: PartyKeys
    ark_pem: bytes
    roots_pem: bytes
    """Everything that is believed beside the vendors' roots: `ark_pem`, and who certifies
    virtual TPMs. What passes under it is marked."""
    enclaves: Enclaves = PROCESSES

    @classmethod
    def prepare(
        cls,
        data_dir: Path,
        tenants: tuple[str, ...] = (),
        *,
        enclaves: Enclaves = PROCESSES,
    ) -> Self:
        """Read what is there and make what is missing, these tenants among it.

        Args:
            data_dir: where all of it is.
            tenants: beside the operator's own.
            enclaves: what the policy is to accept.

        Raises:
            ConfigError: `data_dir.unusable`; `data_dir.damaged`, a file is not what was
                written there; `file.unwritable`.
            ConflictError: `tenant.removed`.
        """
        try:
            make_private_directory(data_dir / COLLATERAL)
        except OSError as error:
            raise ConfigError(f"{data_dir}: {error.strerror}", code="data_dir.unusable") from error
        bus = Folder(data_dir / "bus")
        identities = _identities(bus, tenants)
        bus.write(identities, now=int(time.time()))
        token = _token(data_dir / "http-token")
        _key_ring(data_dir / KEY_RING)
        operator = _operator(data_dir / OPERATOR)
        write_private(data_dir / OWNERS / OPERATOR, operator.public.to_bytes())
        chain = _chain(data_dir / "simulated" / "chain.pem")
        write_private(data_dir / "simulated" / "ark.pem", chain.ark_pem)
        authority = _vtpm_authority(data_dir / VTPM_AUTHORITY)
        roots = chain.ark_pem + authority.certificate_pem
        write_private(data_dir / ROOTS, roots)
        _random_key(data_dir / WEBHOOK_KEY)
        policy = enclaves.policy()
        write_private(data_dir / "policy.json", policy)
        return cls(
            data_dir=data_dir,
            identities=identities,
            bus=bus,
            http_token=token,
            policy=policy,
            operator=operator,
            ark_pem=chain.ark_pem,
            roots_pem=roots,
            enclaves=enclaves,
        )

    def profile(self, nats_url: str, http_url: str, *, ca: str = "", http_ca: str = "") -> Profile:
        """How clients reach it, and what they ask of its enclaves.

        Args:
            ca: PEM of who certifies the bus; empty: the system's roots.
            http_ca: PEM of who certifies the HTTP gateway; empty likewise.
        """
        return Profile(
            nats_url=nats_url,
            nats_creds=self.bus.tenant_creds(tenancy.HOUSE).read_text("ascii"),
            tenant=tenancy.HOUSE,
            ca=ca,
            http_url=http_url,
            http_token=self.http_token,
            http_ca=http_ca,
            tee=self.enclaves.tee,
            policy=self.policy.decode(),
            development_root=self.roots_pem.decode(),
        )


def _identities(bus: Folder, tenants: tuple[str, ...]) -> Identities:
    try:
        known = bus.identities()
    except NotFoundError:
        known = Identities.generate(secrets.token_bytes)
    for name in (tenancy.HOUSE, *tenants):
        known = known.with_tenant(name, secrets.token_bytes)
    return known


def _token(path: Path) -> str:
    """The first token of the HTTP gateway, an operator's."""
    try:
        text = _read(path).decode("ascii").strip()
        if text.startswith("atoll_"):
            return AccessToken.parse(text).text
        if not OLDER_TOKEN.fullmatch(text):
            raise ValueError("an empty token would be accepted from everybody")
    except NotFoundError:
        pass
    except (ValueError, InputError) as error:
        raise _damaged(path) from error
    token = AccessToken.generate(secrets.token_bytes).text
    write_private(path, token.encode())
    return token


def _random_key(path: Path) -> None:
    try:
        raw = _read(path)
    except NotFoundError:
        write_private(path, secrets.token_bytes(KEY_SIZE))
        return
    if len(raw) != KEY_SIZE:
        raise _damaged(path)


def _key_ring(path: Path) -> None:
    try:
        KeyRing.from_bytes(_read(path))
    except InputError as error:
        raise _damaged(path) from error
    except NotFoundError:
        now = int(datetime.now(UTC).timestamp())
        write_private(path, KeyRing.generate(secrets.token_bytes, now=now).to_bytes())


def _operator(path: Path) -> PartyKeys:
    try:
        return PartyKeys.from_bytes(_read(path))
    except InputError as error:
        raise _damaged(path) from error
    except NotFoundError:
        keys = PartyKeys.generate("operator", secrets.token_bytes)
        write_private(path, keys.to_bytes())
        return keys


def _chain(path: Path) -> DevelopmentChain:
    try:
        return DevelopmentChain.from_pem(_read(path))
    except InputError as error:
        raise _damaged(path) from error
    except NotFoundError:
        chain = DevelopmentChain.generate(
            now=datetime.now(UTC), keys=DevelopmentKeys.generate(), chip_id=secrets.token_bytes(64)
        )
        write_private(path, chain.to_pem())
        return chain


def _vtpm_authority(path: Path) -> VtpmAuthority:
    try:
        return VtpmAuthority.from_pem(_read(path))
    except InputError as error:
        raise _damaged(path) from error
    except NotFoundError:
        authority = VtpmAuthority.generate(now=datetime.now(UTC))
        write_private(path, authority.to_pem())
        return authority


def _read(path: Path) -> bytes:
    """Raises: NotFoundError; ConfigError `data_dir.damaged`."""
    try:
        return read_private(path, limit=MAX_FILE)
    except InputError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is damaged",
        code="data_dir.damaged",
        hint="restore it from a backup, or start with an empty data directory",
    )
