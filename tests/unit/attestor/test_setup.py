"""An attestor with damaged files or settings does not start, and says which."""

from dataclasses import replace
from pathlib import Path

import pytest

from atoll import settings
from atoll.errors import ConfigError
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.files import MAX_FILE
from atoll_attestor.setup import Setup
from support.evidence import chain
from unit.attestor import given

ENV = {
    "ATOLL_ATTESTOR_NATS_URL": "nats://127.0.0.1:4222",
    "ATOLL_ATTESTOR_NATS_CREDS_FILE": "attestor.creds",
    "ATOLL_ATTESTOR_DOOR_CREDS_FILE": "door.creds",
    "ATOLL_ATTESTOR_DOOR_KEYS_FILE": "door.json",
    "ATOLL_ATTESTOR_KEY_RING_FILE": "keys.json",
    "ATOLL_ATTESTOR_POLICY_OWNERS_DIR": "owners",
}


def refusal(config: AttestorConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        Setup.read(config)
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("keys.json", b"", "keyring.invalid"),
        ("keys.json", b"{}", "keyring.invalid"),
        ("keys.json", bytes(MAX_FILE + 1), "config.invalid"),
        ("owners/operator.json", b"", "identity.malformed"),
        ("owners/operator.json", given.OWNER.to_bytes(), "identity.malformed"),
        ("ark.pem", b"no certificate", "trust.development_root"),
        ("ark.pem", chain().ask, "trust.development_root"),
    ],
)
def test_a_damaged_file_stops_the_start(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    config = given.write(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert refusal(config) == code


@pytest.mark.parametrize("name", ["keys.json", "ark.pem"])
def test_a_missing_file_stops_the_start(tmp_path: Path, name: str) -> None:
    config = given.write(tmp_path)
    (tmp_path / name).unlink()
    assert refusal(config) == "config.unreadable"


def test_an_attestor_whose_policy_nobody_could_sign_does_not_start(tmp_path: Path) -> None:
    config = given.write(tmp_path)
    assert refusal(replace(config, policy_threshold=2)) == "config.invalid"
    (tmp_path / "owners" / "operator.json").unlink()
    assert refusal(config) == "config.invalid"


def test_good_files_make_a_setup_that_says_whom_it_trusts(tmp_path: Path) -> None:
    setup = Setup.read(given.write(tmp_path))
    assert setup.trust.has_simulated
    assert setup.owners == given.OWNERS
    assert setup.keys.active[0] == given.RING.active.kid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("RESULT_TTL_S", "NONCE_TTL_S") for value in ("0", "86401")),
        ("POLICY_THRESHOLD", "0"),
        ("POLICY_THRESHOLD", "17"),
        ("POLICY_NAME", "../default"),
        ("PCS_URL", "https://pcs.example"),
        ("PCS_ROOT_CRL_URL", "https://pcs.example/root.der"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        settings.read(AttestorConfig, PREFIX, {**ENV, PREFIX + name: value})
    assert caught.value.code == "config.invalid"


def test_platforms_that_are_none_stop_the_start(tmp_path: Path) -> None:
    config = replace(given.write(tmp_path), pcs_fmspcs="none")
    assert refusal(config) == "config.invalid"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    config = given.write(tmp_path)
    assert "marker" not in repr(config)
    shown = repr(Setup.read(config))
    assert "SigningKeys" not in shown
    assert given.RING.nonce_secret.hex() not in shown
    assert repr(given.RING.active.seed) not in shown
