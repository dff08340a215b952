"""`atoll dead list|show|redrive|drop`: messages that nobody could process."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.bus import Bus
from atoll.errors import AtollError
from atoll.wire import endpoints, schema, topology
from atoll.wire.endpoints import Endpoint
from atoll.wire.letters import (
    MAX_LISTED,
    LetterContents,
    LetterRequest,
    LettersRequest,
    LetterView,
    Redriven,
    RedriveRequest,
)
from atoll_cli.asking import require_yes
from atoll_cli.operating import ask, deployment_option, operating
from atoll_cli.options import json_option, pass_session, yes_option
from atoll_cli.session import Session, error_document
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import lines, moment, printable, size, table

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_S: Final = 15.0
MAX_LETTER: Final = (1 << 53) - 1

_HINTS: Final = {
    "dead.not_found": "`atoll dead list` shows those that there are",
    "dead.reason_holds": "`--force` sends it back all the same; `atoll dead drop` erases it",
    "dead.incomplete": "`atoll dead show` shows what was kept; `atoll dead drop` erases it",
    "bus.no_responders": "is a gateway running? `atoll status` says",
}
_ID: Final = click.IntRange(1, MAX_LETTER)
_STREAM: Final = click.Choice([queue.name for queue in topology.QUEUES])

stream_option = click.option("--stream", type=_STREAM, help="Only of this queue.")
all_option = click.option("--all", "everything", is_flag=True, help="Every letter of --stream.")


@click.group()
def dead() -> None:
    """Dead letters: messages of the work queues that nobody could process.

    Needs the operator's login, which is in the stack's data directory.
    """


@dead.command(name="list")
@stream_option
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@deployment_option
@json_option
@pass_session
def list_(session: Session, stream: str | None, limit: int, data_dir: Path | None) -> None:
    """List dead letters, the oldest first."""

    async def work() -> tuple[list[LetterView], bool]:
        found: list[LetterView] = []
        async with operating(session, data_dir) as bus:
            async for letter in _letters(session, bus, stream):
                if len(found) == limit:
                    return found, True
                found.append(letter)
        return found, False

    found, more = run_stoppable(work())
    rows = [
        (str(each.id), each.stream, moment(each.buried_ms), each.reason, each.text[:60])
        for each in found
    ]
    for line in table(rows, indent=""):
        session.print(line)
    if not found:
        session.say("no dead letters")
    if more:
        session.say(f"only the first {limit} are shown; --limit shows more")
    session.document({"letters": [_document(each) for each in found], "more": more})


@dead.command()
@click.argument("letter", metavar="ID", type=_ID)
@deployment_option
@json_option
@pass_session
def show(session: Session, letter: int, data_dir: Path | None) -> None:
    """Show the dead letter ID: what it is, why it is dead, and its payload."""

    async def work() -> LetterContents:
        async with operating(session, data_dir) as bus:
            return await _ask(bus, endpoints.LETTERS_SHOW, LetterRequest(id=letter))

    found = run_stoppable(work())
    view = found.letter
    rows = [
        ("letter", str(view.id)),
        ("queue", f"{view.stream}, message {view.sequence}"),
        ("subject", view.subject),
        ("reason", f"{view.reason}: {view.text}" if view.text else view.reason),
        ("deliveries", str(view.deliveries) if view.deliveries else "unknown"),
        ("stored", moment(view.stored_ms)),
        ("buried", moment(view.buried_ms)),
        ("message id", view.message_id or "none"),
        *((f"header {header.name}", header.value) for header in found.headers),
        ("payload", f"{size(view.size)}{'' if view.state == 'whole' else f' ({view.state})'}"),
    ]
    for line in table(rows, indent=""):
        session.print(line)
    for line in _payload(found.payload):
        session.print(f"  {line}")
    session.document(
        {
            **_document(view),
            "headers": {header.name: header.value for header in found.headers},
            "payload": schema.to_plain(found, json=True)["payload"],
        }
    )


@dead.command()
@click.argument("letter", metavar="[ID]", type=_ID, required=False)
@all_option
@stream_option
@click.option("--force", is_flag=True, help="Also what would fail again for all that is known.")
@yes_option
@deployment_option
@json_option
@pass_session
def redrive(  # noqa: PLR0917 - one parameter for each option
    session: Session,
    letter: int | None,
    everything: bool,  # noqa: FBT001
    stream: str | None,
    force: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    data_dir: Path | None,
) -> int:
    """Put the message of the dead letter ID into its queue again, once.

    Refused when it would fail again for the reason it is dead for: it is no message of its
    queue, or its job has ended.
    """

    async def one(bus: Bus, number: int) -> dict[str, Any]:
        request = RedriveRequest(id=number, force=force)
        done: Redriven = await _ask(bus, endpoints.LETTERS_REDRIVE, request)
        stream, sequence = done.letter.stream, done.sequence
        session.print(f"letter {number} went back to {stream} as message {sequence}")
        return {"id": number, "stream": stream, "sequence": sequence}

    numbers = _chosen(session, letter, stream, data_dir, everything=everything)
    if everything:
        require_yes(session, f"Put {len(numbers)} messages into {stream} again?", yes=yes)
    return run_stoppable(_each(session, numbers, data_dir, one, "redriven"))


@dead.command()
@click.argument("letter", metavar="[ID]", type=_ID, required=False)
@all_option
@stream_option
@yes_option
@deployment_option
@json_option
@pass_session
def drop(  # noqa: PLR0917 - one parameter for each option
    session: Session,
    letter: int | None,
    everything: bool,  # noqa: FBT001
    stream: str | None,
    yes: bool,  # noqa: FBT001
    data_dir: Path | None,
) -> int:
    """Erase the dead letter ID for good."""

    async def one(bus: Bus, number: int) -> dict[str, Any]:
        view = await _ask(bus, endpoints.LETTERS_DROP, LetterRequest(id=number))
        session.print(f"letter {number} of {view.stream} is gone")
        return {"id": number, "stream": view.stream}

    numbers = _chosen(session, letter, stream, data_dir, everything=everything)
    if numbers:
        what = f"{len(numbers)} dead letters of {stream}" if everything else f"letter {letter}"
        require_yes(session, f"Erase {what} for good?", yes=yes)
    return run_stoppable(_each(session, numbers, data_dir, one, "dropped"))


def _chosen(
    session: Session,
    letter: int | None,
    stream: str | None,
    data_dir: Path | None,
    *,
    everything: bool,
) -> list[int]:
    """The letters that a command is about."""
    if everything == (letter is not None):
        raise click.UsageError("want either the ID of a letter or --all --stream NAME")
    if letter is not None:
        if stream is not None:
            raise click.UsageError("--stream goes with --all")
        return [letter]
    if stream is None:
        raise click.UsageError("--all wants --stream, so that nobody takes more than meant")

    async def work() -> list[int]:
        async with operating(session, data_dir) as bus:
            return [each.id async for each in _letters(session, bus, stream)]

    return run_stoppable(work())


async def _each(
    session: Session,
    numbers: list[int],
    data_dir: Path | None,
    one: Callable[[Bus, int], Awaitable[dict[str, Any]]],
    name: str,
) -> int:
    """Do it to each letter; what is refused does not keep the others from it."""
    done: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    session.known = {name: done}
    async with operating(session, data_dir) as bus:
        for number in numbers:
            try:
                done.append(await one(bus, number))
            except AtollError as error:
                if len(numbers) == 1:
                    raise
                session.say(f"letter {number}: {printable(error.message)} [{error.code}]")
                refused.append({"id": number, "error": error_document(error)})
    if not numbers:
        session.say("no dead letters")
    session.document({name: done, "refused": refused})
    return 1 if refused else 0


async def _letters(
    session: Session, bus: Bus, stream: str | None
) -> AsyncGenerator[LetterView, None]:
    after = 0
    while True:
        request = LettersRequest(stream=stream, after=after, limit=MAX_LISTED)
        page = await _ask(bus, endpoints.LETTERS_LIST, request)
        for number in page.malformed:
            session.say(f"message {number} among the dead letters is none")
        for letter in page.letters:
            yield letter
        if not page.more:
            return
        after = max([*(letter.id for letter in page.letters), *page.malformed])


async def _ask(bus: Bus, endpoint: Endpoint[RequestT, ReplyT], request: RequestT) -> ReplyT:
    try:
        return await ask(bus, endpoint, request, timeout_s=TIMEOUT_S)
    except AtollError as error:
        error.hint = error.hint or _HINTS.get(error.code)
        raise


def _document(letter: LetterView) -> dict[str, Any]:
    plain: dict[str, Any] = schema.to_plain(letter, json=True)
    return plain


def _payload(raw: bytes) -> list[str]:
    """For a person: as text if it is text, else the beginning in hex."""
    text = lines(raw) if raw else []
    if text is not None:
        return text
    rows = [raw[at : at + 32] for at in range(0, min(len(raw), 512), 32)]
    return [row.hex(" ", 4) for row in rows] + (["..."] if len(raw) > 512 else [])  # noqa: PLR2004
