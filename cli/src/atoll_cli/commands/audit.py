"""`atoll audit list|verify`: who did what."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import click

from atoll.audit import Action, AuditRecord, ChainVerifier, Verdict
from atoll.bus import StreamMessage, read_stream
from atoll.errors import InputError, RefusedError
from atoll.wire import schema, subjects, topology
from atoll.wire.cloudevents import time_text
from atoll_cli.commands.token import TENANT
from atoll_cli.operating import deployment_option, operating
from atoll_cli.options import DURATION, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table


@click.group()
def audit() -> None:
    """Who did what. The records are the operator's to read."""


@audit.command(name="list")
@click.option("--since", metavar="TIME", type=DURATION, help="Only the last 90s, 30m, 12h, 7d, ...")
@click.option("--tenant", metavar="TENANT", type=TENANT, help="Only in this tenant.")
@click.option(
    "--action", type=click.Choice([action.value for action in Action]), help="Only these acts."
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@deployment_option
@json_option
@pass_session
def list_(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    since: int | None,
    tenant: str | None,
    action: str | None,
    limit: int,
    data_dir: Path | None,
) -> None:
    """List the newest records, the oldest of them first."""
    oldest_ms = 0 if since is None else int((time.time() - since) * 1000)

    async def work() -> list[tuple[int, AuditRecord]]:
        found: list[tuple[int, AuditRecord]] = []
        async with _records(session, data_dir) as messages:
            async for message in messages:
                record = _record(message)
                if (
                    record is not None
                    and record.time_ms >= oldest_ms
                    and tenant in (None, record.tenant)
                    and action in (None, record.action.value)
                ):
                    found.append((message.seq, record))
                    del found[:-limit]
        return found

    records = run_stoppable(work())
    for line in table([_row(record) for _, record in records], indent=""):
        session.print(line)
    if not records:
        session.say("no records")
    session.document({"records": [_document(place, record) for place, record in records]})


@audit.command()
@deployment_option
@json_option
@pass_session
def verify(session: Session, data_dir: Path | None) -> None:
    """Check the chain of every writer: no gap, no edit, nothing between.

    docs/audit.md says what that proves. The head is worth keeping elsewhere.
    """

    async def work() -> Verdict:
        verifier = ChainVerifier()
        async with _records(session, data_dir) as messages:
            async for message in messages:
                tenant, action = _subject(message)
                verifier.add(message.seq, message.payload, tenant=tenant, action=action)
        return verifier.verdict()

    verdict = run_stoppable(work())
    document = _verdict_document(verdict)
    rows = [(item.code, str(item.place), item.writer, item.message) for item in verdict.findings]
    for line in table(rows, indent=""):
        session.print(line)
    session.print(f"{verdict.records} records of {verdict.writers} writers")
    session.print(f"head {verdict.head or '-'}")
    if verdict.unrecorded:
        session.say(f"{verdict.unrecorded} acts are not on record: the stream did not take them")
    if verdict.findings:
        session.known.update(document)
        first = verdict.findings[0]
        raise RefusedError(
            f"the audit is not whole: {len(verdict.findings)} findings, the first at {first.place}",
            code=first.code,
        )
    session.print("every chain is whole")
    session.document(document)


def _verdict_document(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": not verdict.findings,
        "records": verdict.records,
        "writers": verdict.writers,
        "unanchored": verdict.unanchored,
        "unrecorded": verdict.unrecorded,
        "first": verdict.first_place,
        "last": verdict.last_place,
        "head": verdict.head,
        "findings": [
            {
                "code": found.code,
                "place": found.place,
                "writer": found.writer,
                "message": found.message,
            }
            for found in verdict.findings
        ],
    }


@asynccontextmanager
async def _records(
    session: Session, data_dir: Path | None
) -> AsyncIterator[AsyncGenerator[StreamMessage, None]]:
    async with operating(session, data_dir) as bus:
        messages = read_stream(bus, topology.AUDIT.name, subjects.AUDIT.wildcard)
        async with aclosing(messages):
            yield messages


def _record(message: StreamMessage) -> AuditRecord | None:
    try:
        return schema.decode(AuditRecord, message.payload)
    except InputError:
        return None  # `verify` says so


def _subject(message: StreamMessage) -> tuple[str, str]:
    try:
        tenant, action = subjects.AUDIT.read(message.subject)
    except InputError:
        return "", ""
    return tenant, action


def _row(record: AuditRecord) -> tuple[str, ...]:
    outcome = record.outcome.value
    return (
        time_text(record.time_ms),
        record.tenant,
        f"{record.actor_kind.value}:{record.actor}",
        record.action.value,
        record.object or "-",
        outcome if record.code is None else f"{outcome} ({record.code})",
        record.source,
    )


def _document(place: int, record: AuditRecord) -> dict[str, Any]:
    plain: dict[str, Any] = schema.to_plain(record, json=True)
    return {"place": place, "time": time_text(record.time_ms), **plain}
