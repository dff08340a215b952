"""The operator's own login, from the data directory of a stack on this machine."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click

from atoll.bus import Bus, BusConfig, connect
from atoll.client.files import read_private
from atoll.client.profile import ProfileFile
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll_cli.session import Session

LOGIN: Final = "operator"
MAX_SECRETS: Final = 1 << 20
CONNECT_S: Final = 5.0

data_dir_option = click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The stack's data directory (default: `stack` in ATOLL_HOME).",
)


@asynccontextmanager
async def operating(session: Session, data_dir: Path | None) -> AsyncIterator[Bus]:
    """Connect to the stack of the profile as its operator.

    Raises:
        NotFoundError: `profile.missing`, `operator.no_login`.
        AtollError: nobody answers there, or the login is of another stack.
    """
    profile = ProfileFile(session.home).load()
    config = BusConfig(
        url=profile.nats_url,
        name="atoll operator",
        user=LOGIN,
        password=_password(data_dir or session.home / "stack"),
        inbox_prefix=f"_INBOX_{LOGIN}",
        connect_timeout_s=CONNECT_S,
    )
    async with connect(config) as bus:
        yield bus


def _password(data_dir: Path) -> str:
    path = data_dir / "secrets.json"
    try:
        password = json.loads(read_private(path, limit=MAX_SECRETS))["passwords"][LOGIN]
    except NotFoundError as error:
        raise NotFoundError(
            f"{path} does not exist: the operator's login is not here",
            code="operator.no_login",
            hint="run this where the stack runs; --data-dir names its data directory",
        ) from error
    except InputError as error:
        raise ConfigError(error.message, code="data_dir.damaged") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged", code="data_dir.damaged") from error
    if not isinstance(password, str):
        raise ConfigError(f"{path} is damaged", code="data_dir.damaged")
    return password
