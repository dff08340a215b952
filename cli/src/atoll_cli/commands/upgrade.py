"""`atoll upgrade status|finish`: the protocol level in force, and who speaks which."""

from pathlib import Path
from typing import Any

import click

from atoll.bus import in_force
from atoll.wire import level
from atoll.wire.upgrade import LevelRecord
from atoll_cli.operating import deployment_option, operating
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.show import plain_of
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import printable, table
from atoll_cli.upgrading import Living, followed, living, raise_level


@click.group()
def upgrade() -> None:
    """Move to another release with both on the bus: services first, then the protocol level.

    Needs the operator's login, which is in the stack's data directory.
    """


@upgrade.command()
@deployment_option
@json_option
@pass_session
def status(session: Session, data_dir: Path | None) -> None:
    """Show the level in force, and which levels every living service speaks."""

    async def work() -> tuple[LevelRecord, tuple[Living, ...]]:
        async with operating(session, data_dir) as bus:
            return await in_force(bus), await living(bus)

    record, found = run_stoppable(work())
    possible = min((level.NEWEST, *(each.newest for each in found)))
    session.print(f"in force   level {record.level}")
    if record.raising:
        session.print(f"raising    level {record.raising}; run `atoll upgrade finish` again")
    session.print(f"possible   level {max(possible, record.level)}")
    for line in table(_row(each) for each in found):
        session.print(line)
    session.document(
        {
            "level": record.level,
            "raising": record.raising or None,
            "possible": max(possible, record.level),
            "newest": level.NEWEST,
            "services": [plain_of(each) for each in found],
        }
    )


@upgrade.command()
@click.option(
    "--level",
    "target",
    type=click.IntRange(level.OLDEST, level.NEWEST),
    default=level.NEWEST,
    show_default=True,
    help="The level to put in force.",
)
@deployment_option
@json_option
@pass_session
def finish(session: Session, target: int, data_dir: Path | None) -> None:
    """Put a protocol level in force, for good; refused while a living service does not speak it.

    Releases that do not speak it cannot come back afterwards, and clients of such releases are
    refused. Harmless to repeat. Returns when every service writes it.
    """

    async def work() -> tuple[bool, int]:
        async with operating(session, data_dir) as bus:
            changed = await raise_level(bus, target)
            now = (await in_force(bus)).level
            await followed(bus, now)
            return changed, now

    changed, now = run_stoppable(work())
    session.print(f"protocol level {now} is in force" + ("" if changed else " already"))
    session.document({"level": now, "changed": changed})


def _row(each: Living) -> tuple[Any, ...]:
    speaks = f"speaks {each.oldest} to {each.newest}, writes {each.written}"
    return (
        each.kind,
        printable(each.name),
        printable(each.machine),
        printable(each.release),
        speaks if each.announced else "says nothing: level 1",
    )
