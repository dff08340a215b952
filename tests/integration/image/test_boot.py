"""The image boots, its first process prepares the guest and starts the agent, and it goes off.

Emulated, without hardware support; what a processor would measure is computed elsewhere.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from atoll.measure.launch_settings import LaunchSettings
from support.guest_image import guest_image  # noqa: F401 - a fixture
from support.guest_vm import Ended, boot
from unit.agent.test_config import ENV

pytestmark = pytest.mark.timeout(1200)

PROBE = b"#!/usr/bin/python3.13 -I\n" + (Path(__file__).parent / "probe.py").read_bytes()
PORT = (
    "-device", "virtio-serial-pci",
    "-chardev", "null,id=channel",
    "-device", "virtserialport,chardev=channel,name=atoll.channel",
)  # fmt: skip


@pytest.fixture(scope="module")
def facts(guest_image: Path) -> dict[str, Any]:  # noqa: F811 - the fixture
    """What a process in the agent's place finds. The probe is in an archive of its own; all
    else is the image as it is built."""
    ended = boot(guest_image, added={"probe": PROBE}, append="rdinit=/probe", devices=PORT)
    lines = [line for line in ended.console.splitlines() if line.startswith("FACTS ")]
    assert len(lines) == 1, ended.console
    found: dict[str, Any] = json.loads(lines[0].removeprefix("FACTS "))
    return found


@pytest.fixture(scope="module")
def started(guest_image: Path) -> Ended:  # noqa: F811 - the fixture
    """A guest whose settings lack what the agent needs, but reach it."""
    return boot(guest_image, settings={"ATOLL_AGENT_NATS_URL": "nats://127.0.0.1:1"})


def test_the_agent_is_started_with_the_settings_and_its_end_is_the_guests(started: Ended) -> None:
    # It has the one setting that was given, and misses the next by name.
    assert "ATOLL_AGENT_NATS_SENTINEL is required (config.missing)" in started.console
    assert "atoll: agent ended with status 2" in started.console
    assert "Power down" in started.console
    assert started.status == 0


def test_the_agent_is_told_what_its_settings_hash_to(guest_image: Path) -> None:  # noqa: F811
    raw = json.dumps(ENV, indent=1).encode()
    ended = boot(guest_image, settings=raw)

    assert f"settings that were given: {LaunchSettings.of(raw).to_text()}" in ended.console
    # There is nothing here to make evidence with.
    assert "(tee.missing)" in ended.console


def test_settings_that_are_refused_end_the_guest(guest_image: Path) -> None:  # noqa: F811
    ended = boot(guest_image, settings=b'{"LD_PRELOAD": "/tmp/planted.so"}')

    assert "(agent.settings)" in ended.console
    assert "planted" not in ended.console
    assert "agent ended" not in ended.console
    assert ended.status == 0


def test_the_kernel_is_locked_down(facts: dict[str, Any]) -> None:
    assert "[confidentiality]" in facts["lockdown"]
    assert facts["sysrq"] == "0"
    assert facts["unsigned_module"] == "EKEYREJECTED"
    assert facts["dev_mem"] in {"EPERM", "ENOENT"}


def test_the_root_is_read_only_and_can_be_left_behind(facts: dict[str, Any]) -> None:
    assert facts["write_root"] == "EROFS"
    assert facts["bubblewrap"] == "42"
    assert facts["wall"] is None


def test_there_is_no_network_and_nobody_listens(facts: dict[str, Any]) -> None:
    assert facts["interfaces"] == ["lo"]
    assert facts["sockets"] == []


def test_evidence_and_channel_are_where_programs_look(facts: dict[str, Any]) -> None:
    assert facts["tsm"] is True
    assert facts["port"].startswith("/dev/vport")


def test_what_the_agent_imports_works_there(facts: dict[str, Any]) -> None:
    assert facts["wasm"] == 42
    assert facts["signature"] == 64
    assert facts["compiled"] is True


def test_runs_can_have_a_cgroup(facts: dict[str, Any]) -> None:
    assert facts["cgroup"] is None
