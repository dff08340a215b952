"""The `atoll` command: reads the environment, runs one command, turns errors into exit statuses.

    0    done
    1    refused or failed; also a job whose guest exits with something else than 0
    2    usage: an option, name or file argument that cannot be meant
    3    unreachable: no stack is known, or nobody answers
    130  interrupted (143: terminated); a job that `run` submitted was cancelled first

Settings: ATOLL_HOME (default ~/.atoll) holds keys, the keys of assets and the profile,
ATOLL_PASSPHRASE_FILE names a file with the passphrase of protected keys, NO_COLOR turns colour
off, ATOLL_DEBUG=1 adds logs and the traceback of an internal error.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from atoll.errors import AtollError, UnreachableError
from atoll.version import VERSION
from atoll_cli.lazy import LazyGroup
from atoll_cli.session import Session
from atoll_cli.stopping import StoppedError

EXIT_OK = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_SIGNAL = 128

_UNREACHABLE_CODES = frozenset({"profile.missing"})
_COMMANDS: Final = (
    "admission",
    "asset",
    "asyncapi",
    "attest",
    "audit",
    "checksum",
    "computation",
    "dead",
    "demo",
    "doctor",
    "events",
    "hosts",
    "image",
    "init",
    "jobs",
    "keys",
    "measure",
    "policy",
    "provision",
    "receipt",
    "release",
    "result",
    "rotate",
    "run",
    "status",
    "submit",
    "tenant",
    "token",
    "trace",
    "up",
    "upgrade",
    "vectors",
    "version",
    "webhook",
)
"""Each is an attribute of a module of its name."""


@click.group(
    cls=LazyGroup,
    lazy={name: f"atoll_cli.commands.{name}:{name}" for name in _COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, prog_name="atoll", message="%(prog)s %(version)s")
def cli() -> None:
    """Run code on data that neither the cloud nor the other parties can read.

    Exit status: 0 done, 1 refused or failed, 2 usage, 3 unreachable.
    """


def main() -> None:
    """The entry point of the `atoll` script."""
    sys.exit(execute(sys.argv[1:], os.environ))


def execute(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run one command line and return its exit status; no exception escapes."""
    session = session_of(env)
    # A wrong option may be found before `--json` is.
    session.as_json = "--json" in arguments
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if session.debug else logging.CRITICAL
    )
    try:
        return _invoke(list(arguments), session)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing more may be flushed there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing may escape
        if session.debug:
            traceback.print_exc()
        session.failed(
            f"internal error ({type(error).__name__})",
            code="internal",
            hint="this is a bug; ATOLL_DEBUG=1 shows where it happened",
            error_id=None,
        )
        return EXIT_REFUSED


def session_of(env: Mapping[str, str]) -> Session:
    """What the environment says."""
    home = env.get("ATOLL_HOME") or "~/.atoll"
    passphrase_file = env.get("ATOLL_PASSPHRASE_FILE")
    plain = bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb"
    return Session(
        home=Path(home).expanduser(),
        env=env,
        passphrase_file=Path(passphrase_file).expanduser() if passphrase_file else None,
        color_out=not plain and sys.stdout.isatty(),
        color_err=not plain and sys.stderr.isatty(),
        debug=env.get("ATOLL_DEBUG") == "1",
    )


def _invoke(arguments: list[str], session: Session) -> int:
    try:
        status: Any = cli.main(
            args=arguments, prog_name="atoll", obj=session, standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as error:
        session.say(error.format_message())
        return EXIT_USAGE
    except click.ClickException as error:
        session.failed(error.format_message(), code="usage", hint=_usage(error), error_id=None)
        return EXIT_USAGE
    except StoppedError as stopped:
        session.failed("stopped by a signal", code="interrupted", hint=None, error_id=None)
        return EXIT_SIGNAL + stopped.signal_number
    except (KeyboardInterrupt, click.Abort):
        session.failed("interrupted", code="interrupted", hint=None, error_id=None)
        return EXIT_SIGNAL + 2
    except AtollError as error:
        session.failed(error.message, code=error.code, hint=error.hint, error_id=error.error_id)
        return exit_status(error)
    return status if isinstance(status, int) else EXIT_OK


def exit_status(error: AtollError) -> int:
    """1 or 3."""
    unreachable = isinstance(error, UnreachableError) or error.code in _UNREACHABLE_CODES
    return EXIT_UNREACHABLE if unreachable else EXIT_REFUSED


def _usage(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path} --help` says what is accepted" if context else None


if __name__ == "__main__":
    main()
