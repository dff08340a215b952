"""One run: a few gateways, hosts and owners, faults for a while, then peace and the last checks."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from atoll.wire import schema, subjects, topology
from atoll.wire.messages import Tee
from simulation.client import ClientProcess
from simulation.faults import Faults
from simulation.gateway import GatewayProcess
from simulation.manager import ManagerProcess
from simulation.oracle import Oracle, ViolationError
from simulation.scheduler import Process, Scheduler
from simulation.server import Server, StreamModel

FAULTS_MS: Final = 60_000
REST_MS: Final = 400_000
"""How long after the last fault everything may take to come to rest."""

SHORT_MS: Final = 20_000
LONG_MS: Final = 3_600_000
"""A deadline that no run should come to."""

SHORT_WINDOW_S: Final = 20.0
"""Longer than a publisher repeats itself, as every window must be."""

MAX_STEPS: Final = 200_000


class FoundError(AssertionError):
    """A run in which something that must hold did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    seed: int
    steps: int
    virtual_ms: int
    counts: dict[str, int] = field(default_factory=dict)


def run(seed: int) -> Run:
    """One run, the same for the same seed.

    Raises:
        FoundError: with the seed and the last steps.
    """
    scheduler = Scheduler(seed)
    with _remembered_decoding():
        try:
            return _run(scheduler, seed)
        except Exception as error:
            raise FoundError(
                f"seed {seed}: {type(error).__name__}: {error}\n{scheduler.notes()}\n"
                f"again: PYTHONPATH=tests python -m simulation --seed {seed}"
            ) from error


def _run(scheduler: Scheduler, seed: int) -> Run:
    rng = scheduler.rng
    server = _server(scheduler)
    oracle = Oracle(scheduler, server)
    faults = Faults(scheduler, server, FAULTS_MS)
    gateways = tuple(
        GatewayProcess(
            scheduler, f"g{number}", server, faults.weather, rng.choice((0, 0, -4000, 3000))
        )
        for number in range(rng.randint(1, 3))
    )
    managers = tuple(
        ManagerProcess(
            scheduler, f"m{number}", server, faults.weather, oracle=oracle, habits=faults.habits
        )
        for number in range(rng.randint(1, 3))
    )
    clients = tuple(
        ClientProcess(
            scheduler,
            f"c{number}",
            server,
            faults.weather,
            gateways=gateways,
            oracle=oracle,
            deadline_ms=rng.choice((LONG_MS, LONG_MS, LONG_MS, SHORT_MS)),
            cancels=rng.random() < 0.15,
        )
        for number in range(rng.randint(1, 5))
    )
    for process in (*gateways, *managers):
        process.up()
    for client in clients:
        scheduler.after(rng.randrange(20_000), client.up)
    faults.begin((*gateways, *managers, *clients))
    everybody = (*gateways, *managers, *clients)
    try:
        _until_rest(scheduler, faults, clients, server, oracle)
    finally:
        for one in everybody:
            one.crash()
        for enclave in oracle.enclaves():
            enclave.crash()
    oracle.at_rest(FAULTS_MS)
    return Run(seed=seed, steps=scheduler.steps, virtual_ms=scheduler.now, counts=oracle.counts)


def _until_rest(
    scheduler: Scheduler,
    faults: Faults,
    clients: tuple[ClientProcess, ...],
    server: Server,
    oracle: Oracle,
) -> None:
    while scheduler.step():
        faults.after_step()
        if scheduler.now > FAULTS_MS and scheduler.steps % 64 == 0:
            if _at_rest(faults.processes, clients, server, oracle):
                return
            if scheduler.now > FAULTS_MS + REST_MS or scheduler.steps > MAX_STEPS:
                raise ViolationError("no rest: " + "; ".join(oracle.unfinished()[:8]))


def _at_rest(
    everybody: tuple[Process, ...],
    clients: tuple[ClientProcess, ...],
    server: Server,
    oracle: Oracle,
) -> bool:
    up = server.alive and all(one.alive and not one.cut_off for one in everybody)
    return up and all(client.done for client in clients) and not oracle.unfinished()


def _server(scheduler: Scheduler) -> Server:
    def stream(
        name: str, prefix: str, window_s: float, *, only_newest: bool = False
    ) -> StreamModel:
        return StreamModel(
            name=name, prefix=prefix, window_ms=round(window_s * 1000), only_newest=only_newest
        )

    def bucket(name: str) -> StreamModel:
        return stream(f"KV_{name}", f"$KV.{name}.", 120.0, only_newest=True)

    # Outages longer than a duplicate window would make runs long; a short window does the same.
    window_s = scheduler.rng.choice((topology.SPAWN.duplicate_window_s, SHORT_WINDOW_S))

    def log(name: str, wildcard: str) -> StreamModel:
        return stream(name, wildcard.partition("*")[0].partition(">")[0], window_s)

    server = Server(
        scheduler,
        (
            log("SPAWN", subjects.SPAWN.wildcard),
            log("REPORTS", subjects.REPORT.wildcard),
            log("EVENTS", subjects.HISTORY.wildcard),
            log("ENCLAVE", subjects.ASSIGN.wildcard),
            bucket("jobs"),
            bucket("evidence"),
            bucket("outcomes"),
        ),
    )
    server.add_queue("SPAWN", topology.spawn_consumer(Tee.SIMULATED))
    server.add_queue("REPORTS", topology.LEDGER_CONSUMER)
    return server


@contextmanager
def _remembered_decoding() -> Iterator[None]:
    """Decoding is a function of its bytes: the same bytes are decoded once."""
    real = schema.decode

    @functools.lru_cache(maxsize=4096)
    def decode(cls: Any, raw: bytes, limit: int) -> Any:
        return real(cls, raw, limit=limit)

    def remembered(cls: Any, raw: bytes, *, limit: int = 1 << 20) -> Any:
        return decode(cls, raw, limit)

    schema.decode = remembered
    try:
        yield
    finally:
        schema.decode = real
