"""Options and argument types that several commands share."""

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
