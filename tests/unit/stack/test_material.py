"""A deployment's secrets are made once, kept privately, and refused when damaged."""

import stat
from pathlib import Path

import pytest

from atoll.credentials import jwt
from atoll.credentials.nkey import Kind
from atoll.errors import ConfigError
from atoll.evidence.trust import TrustStore
from atoll.evidence.vtpm.chain import authority_spki_sha256
from atoll.simulated.chain import DevelopmentKeys
from atoll.tpm.authority import VtpmAuthority
from atoll.wire.endpoints import ROLES
from atoll_cli.deployment.identities import LOGINS
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from support.evidence import keys


@pytest.fixture(autouse=True)
def quick_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """RSA keys take seconds; those of the other tests do."""
    made = keys()  # by the real function, before it is replaced
    monkeypatch.setattr(DevelopmentKeys, "generate", lambda: made)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


FILES = (
    "bus/identities.json",
    "http-token",
    "attestor-keys.json",
    "operator.json",
    "simulated/chain.pem",
    "vtpm/authority.pem",
)


def test_everything_is_made_and_private(data: Path) -> None:
    made = Material.prepare(data)
    for path in (data, *data.rglob("*")):
        want = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == want, path
    assert {path.stem for path in (data / "bus" / "creds").iterdir()} == set(LOGINS)
    shown = repr(made)
    assert made.http_token not in shown
    assert made.identities.users["gateway"].seed not in shown


def test_the_second_start_finds_the_same(data: Path) -> None:
    one = Material.prepare(data)
    kept = {name: (data / name).read_bytes() for name in FILES}
    other = Material.prepare(data)
    assert (one.identities.to_bytes(), one.http_token, one.ark_pem) == (
        other.identities.to_bytes(),
        other.http_token,
        other.ark_pem,
    )
    assert kept == {name: (data / name).read_bytes() for name in FILES}


def test_the_simulated_root_and_the_vtpm_authority_are_believed_and_marked(data: Path) -> None:
    made = Material.prepare(data)
    store = TrustStore(roots=frozenset()).with_development_root(
        (data / "development-roots.pem").read_bytes()
    )
    authority = VtpmAuthority.from_pem((data / "vtpm" / "authority.pem").read_bytes())

    assert all(root.simulated for root in store.roots)
    assert store.vtpm.keys == {authority_spki_sha256(authority.certificate)}
    assert made.profile("nats://x", "http://x").development_root.encode() == made.roots_pem


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\0", b"[" * 100_000, bytes((1 << 20) + 1)])
def test_a_damaged_file_stops_the_start_and_is_not_replaced(
    data: Path, name: str, content: bytes
) -> None:
    Material.prepare(data)
    (data / name).write_bytes(content)
    with pytest.raises(ConfigError, match=Path(name).name) as caught:
        Material.prepare(data)
    assert caught.value.code in {"data_dir.damaged", "deployment.damaged"}
    assert (data / name).read_bytes() == content


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_token_that_anybody_could_guess_is_damage(data: Path, secret: str) -> None:
    Material.prepare(data)
    (data / "http-token").write_text(secret)
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
        creds = {value for value in spec.env.values() if value.endswith(".creds")}
        own = {"attestor": {"attestor", "door"}}.get(spec.name, {spec.name})
        assert {Path(each).stem for each in creds} == own
        assert not any(pair.seed in str(spec.env) for pair in made.identities.users.values())


def test_every_role_is_a_login_and_only_the_operators_may_do_all(data: Path) -> None:
    made = Material.prepare(data).identities
    assert {path.stem for path in (data / "bus" / "creds").iterdir()} == {
        *(set(ROLES) - {"enclave", "client"}),
        "operator",
        "door",
        "system",
    }
    assert [path.stem for path in (data / "bus" / "tenants").iterdir()] == ["main"]
    stated = made.statements(now=1000)
    accounts = [
        jwt.read(stated[public], Kind.OPERATOR).nats
        for public in (made.accounts["ATOLL"].public, made.tenants["main"].account.public)
    ]
    roles = {
        each["role"]: each["template"] for account in accounts for each in account["signing_keys"]
    }
    assert set(roles) == {*ROLES, "applicant"}
    assert not [role for role, may in roles.items() if ">" in may["pub"]["allow"]]
    for login in LOGINS:
        credentials = made.credentials(login, now=1000)
        # What a client shows has to fit into one line of 4 KiB.
        assert len(credentials.jwt) < 2048
