"""What becomes of the enclaves of attempts, as metrics."""

import time
from collections.abc import Callable
from functools import partial

from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter, Metric
from atoll.wire.hosts import HostRecord, HostState
from atoll_manager import lease_terms as terms
from atoll_manager.lease import Lease


class AttemptObserver:
    """Sees the commands and events of every lease of a host.

    Args:
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self, meter: Meter = UNMETERED, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter = meter
        self._monotonic = monotonic
        self._starting: dict[str, float] = {}
        """Enclaves whose start is under way, by when it was ordered."""
        self._silent: dict[str, float] = {}
        """Those that started and showed no evidence yet."""

    def ordered(self, lease: Lease, command: terms.Command) -> None:
        """A command is about to be carried out."""
        if isinstance(command, terms.StartEnclave):
            self._starting[lease.enclave_id] = self._monotonic()
        elif isinstance(command, terms.Tell):
            code = OK if command.reason is None else command.reason.code
            self._meter.count(table.TOLD, report=command.kind.value, code=code)

    def heard(self, lease: Lease, event: terms.Event) -> None:
        """An event came."""
        enclave = lease.enclave_id
        if isinstance(event, terms.Done | terms.Failed) and enclave in self._starting:
            ordered = self._starting.pop(enclave)
            if isinstance(event, terms.Failed):
                self._meter.count(table.STARTS, code=event.reason.code)
            else:
                self._meter.count(table.STARTS, code=OK)
                self._silent[enclave] = ordered
        elif isinstance(event, terms.EvidenceSeen) and enclave in self._silent:
            took_s = self._monotonic() - self._silent.pop(enclave)
            self._meter.observe(table.EVIDENCE_TIME, took_s)
        elif isinstance(event, terms.Exited):
            self._meter.count(table.ENDS, cause=cause(event.status))

    def over(self, lease: Lease) -> None:
        """Nothing more comes of it."""
        self._starting.pop(lease.enclave_id, None)
        self._silent.pop(lease.enclave_id, None)


def cause(status: int) -> str:
    """How an enclave ended, by its exit status (negative: the signal)."""
    if status == 0:
        return "clean"
    return "killed" if status < 0 else "failed"


def followed(meter: Meter, describe: Callable[[], HostRecord]) -> Callable[[], HostRecord]:
    """`describe`, followed as metrics: what a host has and what of it is claimed, as it also
    tells the bus."""
    rows: tuple[tuple[Metric, Callable[[HostRecord], float]], ...] = (
        (table.SLOTS, lambda host: host.slots),
        (table.SLOTS_BUSY, lambda host: host.busy),
        (table.WARM, lambda host: host.warm),
        (table.MEMORY, lambda host: host.memory_bytes),
        (table.MEMORY_CLAIMED, lambda host: host.taken_bytes),
        (table.CPUS, lambda host: host.cpus),
        (table.CPUS_CLAIMED, lambda host: host.taken_cpus),
        (table.DRAINING, lambda host: host.state is not HostState.ACTIVE),
    )
    for metric, value in rows:
        meter.follow(metric, partial(_read, value, describe))
    return describe


def _read(value: Callable[[HostRecord], float], describe: Callable[[], HostRecord]) -> float:
    return float(value(describe()))
