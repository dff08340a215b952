"""What a deployment on one machine is made of, made at the first start and kept.

    <data_dir>/secrets.json          bus passwords and the HTTP token
    <data_dir>/attestor.pem          signs attestation results
    <data_dir>/simulated/chain.pem   the simulated TEE's certificates and its VCEK key
    <data_dir>/simulated/ark.pem     its root, which trusting it takes
    <data_dir>/policy.json           accepts the agent that is installed now, nothing else

All files are 0600. Directories that are made here are 0700; one that was there before
stays as it is.
"""

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from atoll.client.files import make_private_directory, read_private, write_private
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.evidence.certs import Signer
from atoll.evidence.policy import UNCHECKED, SnpPolicy, policy_to_json
from atoll.evidence.products import Product
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import installed_agent_files
from atoll.simulated.chain import DEFAULT_TCB, DevelopmentChain, DevelopmentKeys
from atoll.wire.endpoints import ROLES

MAX_FILE: Final = 1 << 20
MIN_SECRET: Final = 16
LOGINS: Final = (*ROLES, "operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A deployment's secrets and files."""

    data_dir: Path
    passwords: dict[str, str] = field(repr=False)
    http_token: str = field(repr=False)
    policy: bytes
    ark_pem: bytes

    @classmethod
    def prepare(cls, data_dir: Path) -> Self:
        """Read what is there and make what is missing.

        Raises:
            ConfigError: `data_dir.unusable`; `data_dir.damaged`, a file is not what was
                written there; `file.unwritable`.
        """
        try:
            make_private_directory(data_dir)
        except OSError as error:
            raise ConfigError(f"{data_dir}: {error.strerror}", code="data_dir.unusable") from error
        passwords, token = _secrets(data_dir / "secrets.json")
        _signing_key(data_dir / "attestor.pem")
        chain = _chain(data_dir / "simulated" / "chain.pem")
        write_private(data_dir / "simulated" / "ark.pem", chain.ark_pem)
        write_private(data_dir / "http-token", token.encode())
        policy = policy_to_json(simulated_policy())
        write_private(data_dir / "policy.json", policy)
        return cls(
            data_dir=data_dir,
            passwords=passwords,
            http_token=token,
            policy=policy,
            ark_pem=chain.ark_pem,
        )


def simulated_policy() -> SnpPolicy:
    """Accept the agent as it is installed here, on the simulated TEE, not in debug mode."""
    measurement = agent_measurement(agent_image(installed_agent_files()))
    return SnpPolicy(
        measurements=frozenset({measurement}),
        minimum_tcb=DEFAULT_TCB,
        allow_provisional_firmware=False,
        products=frozenset({Product.SIMULATED}),
        signers=frozenset({Signer.VCEK}),
        vmpls=frozenset({0}),
        allow_debug=False,
        allow_migrate_ma=False,
        allow_smt=True,
        host_data=UNCHECKED,
        id_key_digests=UNCHECKED,
        author_key_digests=UNCHECKED,
        family_id=UNCHECKED,
        image_id=UNCHECKED,
        chip_ids=UNCHECKED,
        minimum_guest_svn=UNCHECKED,
        platform_info_required=UNCHECKED,
        platform_info_forbidden=UNCHECKED,
        require_crl=False,
    )


def _secrets(path: Path) -> tuple[dict[str, str], str]:
    try:
        raw = _read(path)
    except NotFoundError:
        passwords = {name: secrets.token_urlsafe(32) for name in LOGINS}
        token = secrets.token_urlsafe(32)
        text = json.dumps({"passwords": passwords, "http_token": token}, indent=1)
        write_private(path, text.encode())
        return passwords, token
    try:
        value = json.loads(raw)
        passwords = {name: _secret(value["passwords"][name]) for name in LOGINS}
        return passwords, _secret(value["http_token"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error


def _secret(value: Any) -> str:
    # An empty password would be accepted from everybody.
    if not isinstance(value, str) or len(value) < MIN_SECRET:
        raise ValueError("not a secret of ours")
    return value


def _signing_key(path: Path) -> None:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except NotFoundError:
        fresh = Ed25519PrivateKey.generate()
        write_private(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _damaged(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(path)


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
