"""An attestor with damaged files or settings does not start, and says which."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from atoll import settings
from atoll.errors import ConfigError
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.main import MAX_FILE, make_verifier
from support.evidence import chain
from unit.attestor import files

ENCRYPTED = files.KEY.private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)
OTHER_KIND = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)


def refusal(config: AttestorConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        make_verifier(config)
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("key.pem", b"", "config.invalid"),
        (
            "key.pem",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "config.invalid",
        ),
        ("key.pem", ENCRYPTED, "config.invalid"),
        ("key.pem", OTHER_KIND, "config.invalid"),
        ("policy.json", b"", "json.malformed"),
        ("policy.json", b"{}", "policy.invalid"),
        ("policy.json", bytes(MAX_FILE + 1), "config.invalid"),
        ("ark.pem", b"no certificate", "trust.development_root"),
        ("ark.pem", chain().ask, "trust.development_root"),
    ],
)
def test_a_damaged_file_stops_the_start(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    config = files.write(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert refusal(config) == code


@pytest.mark.parametrize("name", ["key.pem", "policy.json", "ark.pem"])
def test_a_missing_file_stops_the_start(tmp_path: Path, name: str) -> None:
    config = files.write(tmp_path)
    (tmp_path / name).unlink()
    assert refusal(config) == "config.unreadable"


def test_good_files_make_a_verifier_that_says_whom_it_trusts(tmp_path: Path) -> None:
    assert make_verifier(files.write(tmp_path)).trust.has_simulated


@pytest.mark.parametrize("name", ["RESULT_TTL_S", "NONCE_TTL_S"])
@pytest.mark.parametrize("value", ["0", "-1", "86401"])
def test_a_lifetime_that_makes_no_sense_stops_the_start(name: str, value: str) -> None:
    env = {
        "ATOLL_ATTESTOR_NATS_URL": "nats://127.0.0.1:4222",
        "ATOLL_ATTESTOR_NATS_PASSWORD": "marker",
        "ATOLL_ATTESTOR_SIGNING_KEY_FILE": "key.pem",
        "ATOLL_ATTESTOR_POLICY_FILE": "policy.json",
        PREFIX + name: value,
    }
    with pytest.raises(ConfigError, match=name) as caught:
        settings.read(AttestorConfig, PREFIX, env)
    assert caught.value.code == "config.invalid"


def test_the_password_is_not_shown(tmp_path: Path) -> None:
    assert "marker" not in repr(files.write(tmp_path))
