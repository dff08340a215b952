"""What becomes of enclaves is counted once, by how it came."""

from typing import Any

import pytest

from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.prometheus import PrometheusMeter
from atoll.wire.messages import EvidenceRecord, ReportKind, reason_of
from atoll_manager import lease as leases
from atoll_manager import lease_terms as terms
from atoll_manager.lease import Lease, Timing
from atoll_manager.observing import AttemptObserver, cause
from support.metrics import Page

EVIDENCE = EvidenceRecord(enclave_id="e1", job_id="j1", attempt=1, evidence=b"x", ear="x")


class Watched:
    def __init__(self) -> None:
        self.meter = PrometheusMeter("manager")
        self.now_s = 100.0
        self.observer = AttemptObserver(self.meter, lambda: self.now_s)
        self.lease: Lease = leases.begin(
            job_id="j1",
            enclave_id="e1",
            spawn_seq=1,
            delivered=1,
            is_last=False,
            timing=Timing(boot_timeout_s=60.0, stop_grace_s=3.0),
            adopted=None,
        )[0]

    def order(self, command: terms.Command) -> None:
        self.observer.ordered(self.lease, command)

    def hear(self, event: terms.Event) -> None:
        self.observer.heard(self.lease, event)

    def value(self, metric: Any, **labels: str) -> float | None:
        return Page.of(self.meter).value(metric, **labels)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_start_is_timed_to_its_evidence(watched: Watched) -> None:
    watched.order(terms.AskLedger())
    watched.hear(terms.Done())
    watched.order(terms.StartEnclave())
    watched.now_s += 0.25
    watched.hear(terms.Done())
    watched.now_s += 1.5
    watched.hear(terms.EvidenceSeen(EVIDENCE))
    watched.hear(terms.EvidenceSeen(EVIDENCE))  # only the first is its boot

    assert watched.value(table.STARTS, code="ok") == 1
    assert watched.value("atoll_enclave_evidence_duration_seconds_count") == 1
    assert watched.value("atoll_enclave_evidence_duration_seconds_sum") == 1.75


def test_a_start_that_failed_has_its_code_and_no_time(watched: Watched) -> None:
    watched.order(terms.StartEnclave())
    watched.hear(terms.Failed(reason_of("enclave.start", "no")))
    watched.hear(terms.EvidenceSeen(EVIDENCE))

    assert watched.value(table.STARTS, code="enclave.start") == 1
    assert watched.value("atoll_enclave_evidence_duration_seconds_count") == 0


def test_what_is_over_is_forgotten(watched: Watched) -> None:
    watched.order(terms.StartEnclave())
    watched.hear(terms.Done())
    watched.observer.over(watched.lease)
    watched.hear(terms.EvidenceSeen(EVIDENCE))

    assert watched.value("atoll_enclave_evidence_duration_seconds_count") == 0


def test_reports_and_ends_are_counted_by_reason(watched: Watched) -> None:
    watched.order(terms.Tell(ReportKind.LOST, reason_of("enclave.exited", "gone")))
    watched.order(terms.Tell(ReportKind.ADMITTED, evidence=EVIDENCE))
    for status in (0, 3, -9, -9):
        watched.hear(terms.Exited(status))

    assert watched.value(table.TOLD, report="lost", code="enclave.exited") == 1
    assert watched.value(table.TOLD, report="admitted", code="ok") == 1
    assert [watched.value(table.ENDS, cause=each) for each in ("clean", "failed", "killed")] == [
        1,
        1,
        2,
    ]


@pytest.mark.parametrize(("status", "said"), [(0, "clean"), (1, "failed"), (-15, "killed")])
def test_an_end_is_told_by_its_status(status: int, said: str) -> None:
    assert cause(status) == said
