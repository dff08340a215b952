"""Options and argument types that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.errors import InputError
from atoll.wire.names import require_name, require_token
from atoll_cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_KEY: Final = "me"

pass_session = click.make_pass_decorator(Session)


def json_option(command: F) -> F:
    """`--json`: standard output is one JSON document."""

    def found(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
        if value:
            context.find_object(Session).as_json = True  # type: ignore[union-attr]

    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=found,
        help="Print one JSON document on standard output.",
    )(command)


class TokenType(click.ParamType[str]):
    """An id of a job or enclave."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return require_token(str(value), self.name)
        except InputError as error:
            self.fail(error.message, param, ctx)


class NameType(click.ParamType[str]):
    """A name of a key or dataset."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return require_name(str(value), self.name)
        except InputError as error:
            self.fail(error.message, param, ctx)


class DurationType(click.ParamType[int]):
    """A time in seconds, written as `90s`, `30m`, `12h` or `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _DURATION.fullmatch(str(value))
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 0 < seconds <= _MAX_DURATION_S:
            self.fail(f"{str(value)[:40]!r}: want 90s, 30m, 12h or 7d, up to 3650d", param, ctx)
        return seconds


_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_DURATION_S: Final = 3650 * 86_400

DURATION: Final = DurationType()
JOB: Final = TokenType("job")
KEY_NAME: Final = NameType("key name")
FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


def passphrase_file_option(command: F) -> F:
    """`--passphrase-file`: where the passphrase of a protected key is, instead of a question."""

    def found(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            context.find_object(Session).passphrase_file = value  # type: ignore[union-attr]

    return click.option(
        "--passphrase-file",
        metavar="FILE",
        type=FILE,
        expose_value=False,
        callback=found,
        help="Read the key's passphrase from FILE (default: ATOLL_PASSPHRASE_FILE, or ask).",
    )(command)


def key_option(command: F) -> F:
    """`--key`, and how to open it."""
    option = click.option(
        "--key",
        "key_name",
        metavar="NAME",
        type=KEY_NAME,
        default=DEFAULT_KEY,
        show_default=True,
        help="Whose keys to use.",
    )
    return option(passphrase_file_option(command))


until_option = click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Counts until then (UTC).",
)

root_option = click.option(
    "--root",
    metavar="PEM",
    type=FILE,
    help="Trust this root of a simulated TEE, beside AMD's (default: the profile's).",
)
policy_option = click.option(
    "--policy",
    metavar="FILE",
    type=FILE,
    help="What an enclave must be, as JSON (default: the profile's).",
)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
secrets_option = click.option(
    "--secrets",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the keys of your assets are (default: ATOLL_HOME/asset-secrets).",
)


def fresh_directory(
    context: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    """Callback: refuse at once a directory into which nothing would be written in the end."""
    try:
        if value is not None and value.is_dir() and any(value.iterdir()):
            raise click.BadParameter(
                f"{value} is there and not empty", ctx=context, param=parameter
            )
    except OSError as error:
        raise click.BadParameter(
            f"{value}: {error.strerror}", ctx=context, param=parameter
        ) from error
    return value
