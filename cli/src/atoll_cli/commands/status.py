"""`atoll status`: what of the stack is there, and what it is doing."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from atoll.errors import AtollError, UnreachableError
from atoll.wire.hosts import HostRecord
from atoll.wire.messages import JobState, JobView, Tee
from atoll_cli import discovery
from atoll_cli.discovery import ServiceInfo
from atoll_cli.options import json_option, pass_session
from atoll_cli.remote import Remote, connected
from atoll_cli.session import Session, error_document
from atoll_cli.show import plain_of
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table

MAX_JOBS = 1000
_PROTECTING = frozenset({Tee.SEV_SNP, Tee.TDX})
"""Kinds that keep anything from their host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a stack says of itself."""

    bus: str
    server: str
    tee: Tee
    services: tuple[ServiceInfo, ...] | None
    hosts: tuple[HostRecord, ...] | None
    """These two are None for tenants that do not see them."""
    jobs: tuple[JobView, ...] | None
    jobs_error: AtollError | None = None
    dead: int | None = None
    """Dead letters; None: nobody says."""

    @property
    def simulated(self) -> bool:
        """Whether any enclave here would be simulated, or have a TPM of its host."""
        return bool(self._kinds - _PROTECTING)

    @property
    def host_tpm(self) -> bool:
        """Whether it is only that."""
        return self.simulated and Tee.SIMULATED not in self._kinds

    @property
    def _kinds(self) -> frozenset[Tee]:
        return frozenset({self.tee, *(tee for host in self.hosts or () for tee in host.tees)})

    @property
    def missing(self) -> tuple[str, ...]:
        """Services without which no job can end well."""
        if self.services is None:
            return () if self.jobs_error is None else ("gateway",)
        there = {
            name
            for name in discovery.EXPECTED
            for info in self.services
            if discovery.is_service(info, name)
        }
        absent = sorted(discovery.EXPECTED - there)
        return (*absent, *(() if self.hosts else ("host",)))


@click.command()
@json_option
@pass_session
def status(session: Session) -> None:
    """Show services, hosts and jobs of the stack. Exit status 3 if a part is missing."""

    async def work() -> Status:
        async with connected(session) as remote:
            return await ask(remote)

    found = run_stoppable(work())
    show(session, found)
    if found.missing:
        session.known.update(document(found))
        raise UnreachableError(
            f"not there: {', '.join(found.missing)}",
            code="status.incomplete",
            hint="`atoll up` starts all of them; its data directory has the logs",
        )
    session.document(document(found))


async def ask(remote: Remote) -> Status:
    """Ask everybody."""
    services, hosts = None, None
    if remote.client.is_house:
        services = await discovery.services(remote.client.bus)
        hosts = await remote.client.hosts()
    jobs, jobs_error = None, None
    if services is None or any(discovery.is_service(info, "gateway") for info in services):
        try:
            jobs = (await remote.client.list(limit=MAX_JOBS)).jobs
        except AtollError as error:
            jobs_error = error
    dead = None
    with contextlib.suppress(AtollError):
        dead = await remote.client.dead_letters()
    return Status(
        bus=remote.profile.nats_url,
        server=remote.client.bus.server_version,
        tee=remote.profile.tee,
        services=services,
        hosts=hosts,
        jobs=jobs,
        jobs_error=jobs_error,
        dead=dead,
    )


def show(session: Session, found: Status) -> None:
    """For a person."""
    if found.simulated:
        session.banner(answer=True, host_tpm=found.host_tpm)
    session.print(f"bus       {found.bus} (nats-server {found.server})")
    session.print(f"TEE       {found.tee.value}")
    if found.services is not None:
        session.print("services")
    for line in table((info.name, info.version, info.id) for info in found.services or ()):
        session.print(line)
    if found.hosts is not None:
        session.print("hosts")
    rows = (
        (
            host.host_id,
            f"{host.busy} of {host.slots} slots busy",
            ", ".join(tee.value for tee in host.tees),
            host.state.value,
            host.version,
        )
        for host in found.hosts or ()
    )
    for line in table(rows):
        session.print(line)
    session.print("jobs")
    for line in table((state, str(count)) for state, count in _counts(found).items()):
        session.print(line)
    if found.dead:
        session.print(f"dead      {found.dead} letters; `atoll dead list` shows them")


def document(found: Status) -> dict[str, Any]:
    """For `--json`."""
    return {
        "bus": {"url": found.bus, "server": found.server},
        "tee": found.tee.value,
        "simulated": found.simulated,
        "services": _plain(found.services),
        "hosts": _plain(found.hosts),
        "jobs": None if found.jobs is None else _counts(found),
        "jobs_error": error_document(found.jobs_error) if found.jobs_error else None,
        "dead_letters": found.dead,
        "missing": list(found.missing),
    }


def _plain(items: Iterable[object] | None) -> list[Any] | None:
    return None if items is None else [plain_of(item) for item in items]


def _counts(found: Status) -> dict[str, int]:
    """The newest thousand jobs by state, in the order of a job's life."""
    counted = Counter(job.state for job in found.jobs or ())
    return {state.value: counted[state] for state in JobState if counted[state]}
