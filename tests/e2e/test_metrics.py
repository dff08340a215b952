"""A running stack exports what `docs/metrics.md` says, while it runs a real job."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from atoll.telemetry.metrics import table
from e2e.guests import sleeping
from support.command import Stack
from support.metrics import Page
from support.stack import wait_until


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Measured(Stack):
    """Of which every service exports metrics."""

    ports: dict[str, int]

    def page(self, service: str) -> Page:
        return Page.at(f"http://127.0.0.1:{self.ports[service]}/metrics")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    stack = Measured(tmp_path_factory.mktemp("measured"))
    stack.ports = dict(zip(table.SERVICES, free_ports(len(table.SERVICES)), strict=True))
    stack.env = {
        f"ATOLL_{name.upper()}_METRICS_ADDRESS": f"127.0.0.1:{port}"
        for name, port in stack.ports.items()
    }
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def job(measured: Measured) -> str:
    """One that completed."""
    module = measured.root / "sleep.wasm"
    module.write_bytes(sleeping(1))
    said = measured.atoll("run", module, "--out", measured.root / "out", "--json")
    assert said.status == 0, said
    return str(said.document()["job_id"])


@pytest.mark.parametrize("service", table.SERVICES)
def test_every_documented_metric_is_exported(measured: Measured, service: str) -> None:
    page = measured.page(service)
    document = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]+) \|", document.read_text(), re.MULTILINE)
    documented = {name: kind for name, kind, of in rows if of == "all" or service in of.split(", ")}

    assert documented
    shown = {name.removesuffix("_total"): each.type for name, each in page.families.items()}
    assert {name: shown.get(name.removesuffix("_total")) for name in documented} == documented
    assert set(table.STANDARD) <= {
        sample.name for family in page.families.values() for sample in family.samples
    }


def test_a_job_is_counted_from_its_submission_to_its_end(measured: Measured, job: str) -> None:
    assert job
    gateway, attestor, manager = map(measured.page, table.SERVICES)

    assert gateway.value(table.SUBMISSIONS, outcome="accepted", code="ok") == 1
    for state in ("submitted", "scheduled", "attesting", "awaiting_assets", "running", "completed"):
        assert gateway.value(table.JOB_CHANGES, state=state) == 1, state
    assert gateway.value(table.JOBS_ENDED, state="completed", code="ok") == 1
    assert gateway.value(table.BUS_CONNECTED, connection="services") == 1
    assert attestor.value(table.BUS_CONNECTED, connection="door") == 1
    assert attestor.value(table.APPRAISALS, tee="sev-snp", verdict="pass", code="ok") == 1
    assert attestor.value(table.ADMISSIONS, outcome="admitted", code="ok") == 1
    assert attestor.value(table.POLICY) == 1
    assert attestor.value("atoll_request_duration_seconds_count", endpoint="admit") == 1
    assert manager.value(table.STARTS, code="ok") == 1
    assert manager.value("atoll_enclave_evidence_duration_seconds_count") == 1
    assert manager.value(table.SLOTS) == measured.slots
    wait_until(
        lambda: measured.page("manager").value(table.ENDS, cause="clean") == 1,
        "the enclave's end is counted",
    )


def test_the_bus_is_surveyed(measured: Measured, job: str) -> None:
    assert job
    wait_until(
        lambda: measured.page("gateway").value(table.HOSTS, state="active") == 1,
        "the gateway has looked and seen the host",
        within_s=40.0,
    )
    page = measured.page("gateway")

    assert page.value(table.DEAD_LETTERS) == 0
    assert page.value(table.QUEUE_PENDING, queue="SPAWN") == 0
    assert page.value(table.STREAM_LIMIT, stream="EVENTS") == 1 << 30


def test_no_page_names_a_job_a_tenant_an_enclave_or_a_host(measured: Measured, job: str) -> None:
    hidden = re.compile(rf"{re.escape(job)}|\"main\"|\"local\"|\b[ej][0-9a-f]{{24}}\b")

    for service in table.SERVICES:
        assert hidden.search(measured.page(service).text) is None, service
