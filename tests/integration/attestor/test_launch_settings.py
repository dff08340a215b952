"""The agent as its first process starts it in an SEV-SNP guest, in front of a real attestor.

The kernel is a fake of configfs-tsm, which answers with reports of the simulated processor; all
else is the agent's and the attestor's own.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import atoll_agent.main as agent
from atoll import canonical, settings
from atoll.bus import KeyValue
from atoll.measure.launch_settings import LaunchSettings
from atoll.wire import topology
from atoll_agent.boot.main import read_settings
from atoll_agent.config import PREFIX, AgentConfig
from integration.attestor.enclaves import Yard, yard
from support.evidence import MANIFEST, chain, guest
from support.kernel.configfs import ConfigFs, Driver
from support.kernel.machine import Machine
from support.nats import wait_for


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path) as made:
        yield made


def given(place: Yard, path: Path) -> tuple[AgentConfig, bytes]:
    """The agent's settings after its first process read them from a file, and the file."""
    raw = canonical.dumps(
        {
            "ATOLL_AGENT_NATS_URL": place.server.url,
            "ATOLL_AGENT_NATS_SENTINEL": place.folder.sentinel.read_text().strip(),
            "ATOLL_AGENT_HOST_ID": "h1",
            "ATOLL_AGENT_ENCLAVE_ID": "e1",
            "ATOLL_AGENT_JOB_ID": "j1",
            "ATOLL_AGENT_ATTEMPT": "1",
            "ATOLL_AGENT_MANIFEST_DIGEST": MANIFEST.hex(),
            "ATOLL_AGENT_TEE": "sev-snp",
            "ATOLL_AGENT_ASSIGN_TIMEOUT_S": "0.2",
        }
    )
    path.write_bytes(raw)
    return settings.read(AgentConfig, PREFIX, read_settings(path)), raw


def machine(host_data: bytes) -> Machine:
    """A guest that was launched with this HOST_DATA."""

    def report(data: bytes, vmpl: int) -> tuple[bytes, bytes]:
        return (
            guest(host_data=host_data).attest(data, vmpl=vmpl),
            chain().table().to_bytes(),
        )

    return Machine(files=ConfigFs(driver=Driver("sev_guest", report, floor=0)))


async def test_evidence_of_a_launch_for_these_settings_is_appraised(
    place: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, raw = given(place, tmp_path / "raw")
    it = machine(LaunchSettings.of(raw).host_data)
    monkeypatch.setattr(agent, "Linux", lambda: it)
    evidence = KeyValue(place.operator, topology.EVIDENCE)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_until_refused(config, stop))

        async def published() -> bool:
            return await evidence.get("e1") is not None

        await wait_for(published, "its evidence")
        # Nobody has an assignment for it here, so it ends by itself.
        assert await running == "assignment.timeout"


async def test_a_launch_for_other_settings_shows_no_evidence_to_anybody(
    place: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, raw = given(place, tmp_path / "raw")
    it = machine(LaunchSettings.of(raw + b" ").host_data)
    monkeypatch.setattr(agent, "Linux", lambda: it)
    assert await _until_refused(config, asyncio.Event()) == "evidence.settings"
    assert await KeyValue(place.operator, topology.EVIDENCE).get("e1") is None
    assert "not admitted: evidence.settings" in caplog.text


async def _until_refused(config: AgentConfig, stop: asyncio.Event) -> str:
    """Run the agent; the code with which it ends."""
    try:
        await agent.run(config, stop)
    except Exception as error:  # noqa: BLE001 - as its process would say it
        found: BaseException = error
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        return getattr(found, "code", type(found).__name__)
    return "ended"
