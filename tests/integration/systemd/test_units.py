"""The units are legal for systemd itself, and start what we install with settings that exist."""

import configparser
import os
import shutil
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

from atoll.process import EXIT_CONFIG
from atoll_cli.nats_server import find_binary

UNITS: Final = Path(__file__).resolve().parents[3] / "infra" / "systemd"
NAMES: Final = ("nats", "gateway", "attestor", "manager")
SERVICES: Final = ("gateway", "attestor", "manager")


class _Keys(configparser.RawConfigParser):
    """A unit file: names keep their case and may come again."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit(name: str) -> dict[str, str]:
    """Its section Service; of a key that comes again, the last value."""
    parser = _Keys(strict=False, interpolation=None)
    parser.read(UNITS / f"atoll-{name}.service")
    return dict(parser["Service"])


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not there: Debian's package systemd")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root with the units, and the programs and files that they name."""
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for name in NAMES:
        text = (UNITS / f"atoll-{name}.service").read_text()
        (units / f"atoll-{name}.service").write_text(
            text.replace("/opt/atoll/bin", f"{tmp_path}/bin")
        )
    (tmp_path / "bin").mkdir()
    for name in ("nats-server", *(f"atoll-{each}" for each in SERVICES)):
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return units


def verify(analyze: str, *units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units[0].parent}:"},  # noqa: TID251
    )


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_nothing_wrong(analyze: str, installed: Path, name: str) -> None:
    done = verify(analyze, installed / f"atoll-{name}.service")

    assert f"atoll-{name}" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_systemd_would_find_it(analyze: str, installed: Path) -> None:
    path = installed / "atoll-gateway.service"
    path.write_text(
        path.read_text().replace("KillMode", "x").replace("Restart=always", "Restart=so")
    )

    assert "atoll-gateway.service" in verify(analyze, path).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_starts_a_program_that_is_installed(name: str) -> None:
    program = Path(unit(name)["ExecStart"])
    scripts = {each.name for each in entry_points(group="console_scripts")}

    assert program.parent == Path("/opt/atoll/bin")
    assert program.name in scripts
    assert unit(name)["EnvironmentFile"] == f"/etc/atoll/env/{name}.env"
    assert unit(name)["RestartPreventExitStatus"] == str(EXIT_CONFIG)


def test_the_servers_program_is_the_one_that_the_package_brings() -> None:
    assert Path(unit("nats")["ExecStart"].split()[0]).name == find_binary().name


def test_only_a_manager_leaves_its_processes_behind() -> None:
    assert unit("manager")["KillMode"] == "process"
    assert not any("KillMode" in unit(name) for name in ("nats", "gateway", "attestor"))
    # These would reach into enclaves that outlive it.
    assert not {"PrivateTmp", "PrivateDevices", "RestrictNamespaces", "NoNewPrivileges"} & set(
        unit("manager")
    )


@pytest.mark.parametrize("name", ["nats", "gateway", "attestor"])
def test_what_serves_the_network_is_no_root_and_confined(name: str) -> None:
    keys = unit(name)

    assert keys["User"] not in {"root", ""}
    assert keys["User"] in (UNITS / "sysusers.conf").read_text()
    wanted = {"NoNewPrivileges", "PrivateDevices", "ProtectKernelModules", "RestrictNamespaces"}
    assert {keys[key] for key in wanted} == {"yes"}
    assert keys["ProtectSystem"] == "strict"
    assert keys["CapabilityBoundingSet"] == ""
