"""The files that an attestor is set up with."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from atoll.evidence.policy import policy_to_json
from atoll_attestor.config import AttestorConfig
from support.evidence import chain, policy

KEY = Ed25519PrivateKey.generate()


def write(directory: Path) -> AttestorConfig:
    """Good files, and the settings that name them."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(pem)
    (directory / "policy.json").write_bytes(policy_to_json(policy()))
    (directory / "ark.pem").write_bytes(chain().ark_pem)
    return AttestorConfig(
        nats_url="nats://127.0.0.1:4222",
        nats_password="marker",
        signing_key_file=directory / "key.pem",
        policy_file=directory / "policy.json",
        development_root_file=directory / "ark.pem",
    )
