"""A deployment's secrets are made once, kept privately, and refused when damaged."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import ConfigError
from atoll.simulated.chain import DevelopmentKeys
from atoll.wire.endpoints import ROLES
from atoll_cli.stack.layout import Plan, nats_users
from atoll_cli.stack.material import LOGINS, Material
from support.evidence import keys


@pytest.fixture(autouse=True)
def quick_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA keys take seconds; those of the other tests do."""
    made = keys()  # by the real function, before it is replaced
    monkeypatch.setattr(DevelopmentKeys, "generate", lambda: made)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


FILES = ("secrets.json", "attestor-keys.json", "operator.json", "simulated/chain.pem")


def test_everything_is_made_and_private(data: Path) -> None:
    made = Material.prepare(data)
    for path in (data, *data.rglob("*")):
        want = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == want, path
    assert set(made.passwords) == set(LOGINS)
    assert len({*made.passwords.values(), made.http_token}) == len(LOGINS) + 1
    shown = repr(made)
    assert made.http_token not in shown
    assert made.passwords["gateway"] not in shown


def test_the_second_start_finds_the_same(data: Path) -> None:
    one = Material.prepare(data)
    kept = {name: (data / name).read_bytes() for name in FILES}
    other = Material.prepare(data)
    assert (one.passwords, one.http_token, one.ark_pem) == (
        other.passwords,
        other.http_token,
        other.ark_pem,
    )
    assert kept == {name: (data / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\0", b"[" * 100_000, bytes((1 << 20) + 1)])
def test_a_damaged_file_stops_the_start_and_is_not_replaced(
    data: Path, name: str, content: bytes
) -> None:
    Material.prepare(data)
    (data / name).write_bytes(content)
    with pytest.raises(ConfigError, match=Path(name).name) as caught:
        Material.prepare(data)
    assert caught.value.code == "data_dir.damaged"
    assert (data / name).read_bytes() == content


@pytest.mark.parametrize("secret", ["", "short", None, 5, ["x" * 32]])
@pytest.mark.parametrize("field", ["gateway", "http_token"])
def test_a_secret_that_anybody_could_guess_is_damage(data: Path, field: str, secret: Any) -> None:
    Material.prepare(data)
    value = json.loads((data / "secrets.json").read_bytes())
    if field == "http_token":
        value[field] = secret
    else:
        value["passwords"][field] = secret
    (data / "secrets.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError) as caught:
        Material.prepare(data)
    assert caught.value.code == "data_dir.damaged"


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        Material.prepare(tmp_path / "file" / "data")
    assert caught.value.code == "data_dir.unusable"


def test_each_service_gets_its_own_login_and_nothing_of_our_environment(data: Path) -> None:
    made = Material.prepare(data)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "PYTHONPATH": "/evil", "HOME": "/home/me"}
    plan = Plan(
        material=made,
        nats_url="nats://x",
        http=("127.0.0.1", 0),
        slots=2,
        host_id="local",
        env=env,
    )
    for spec in (plan.attestor(), plan.gateway(), plan.manager()):
        prefix = f"ATOLL_{spec.name.upper()}_"
        foreign = {name for name in spec.env if not name.startswith(prefix)}
        assert foreign == {"OTEL_EXPORTER_OTLP_ENDPOINT"}
        others = {value for name, value in made.passwords.items() if name != spec.name}
        if spec.name == "manager":  # it starts the enclaves
            others.remove(made.passwords["enclave"])
        assert not others & set(spec.env.values())
        assert made.passwords[spec.name] not in repr(spec)


def test_every_role_is_a_login_and_only_the_operator_may_do_all(data: Path) -> None:
    users = {user.name: user for user in nats_users(Material.prepare(data))}
    assert set(users) == {*ROLES, "operator"}
    assert {name for name, user in users.items() if ">" in user.publish} == {"operator"}
