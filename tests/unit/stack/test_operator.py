"""The operator's key of a stack is at hand in ATOLL_HOME, and never takes another's place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atoll.client.keystore import KeyStore
from atoll_cli.stack import up
from unit.attestor.given import OTHER, OWNER


def material(tmp_path: Path) -> Any:
    return SimpleNamespace(operator=OWNER, data_dir=tmp_path / "data")


def test_the_key_is_put_into_a_home_that_has_none(tmp_path: Path) -> None:
    up._share_operator(tmp_path, material(tmp_path))
    assert KeyStore(tmp_path).load("operator").signing_key == OWNER.signing_key


@pytest.mark.parametrize("there", [OTHER.to_bytes(), b"damaged"])
def test_another_key_stays_and_is_told(
    tmp_path: Path, there: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = KeyStore(tmp_path).path("operator")
    path.parent.mkdir()
    path.write_bytes(there)
    up._share_operator(tmp_path, material(tmp_path))
    assert path.read_bytes() == there
    assert "operator.json" in capsys.readouterr().err


def test_the_same_key_is_nothing_to_talk_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    up._share_operator(tmp_path, material(tmp_path))
    up._share_operator(tmp_path, material(tmp_path))
    assert capsys.readouterr().err == ""
