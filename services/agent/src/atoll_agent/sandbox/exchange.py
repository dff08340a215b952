"""What runner and worker say to each other: one message each way.

The runner's `Job` is trusted by the worker, which is our own code until the guest
starts. The worker's `Answer` is not trusted by the runner: by then the guest has run
in that process.
"""

import re
from typing import Annotated, Final

from atoll.errors import InputError
from atoll.wire.schema import Range, Size, message
from atoll_agent.sandbox.limits import MAX_ARGUMENT, MAX_ARGUMENTS, MAX_ARGUMENTS_TOTAL, Limits
from atoll_agent.sandbox.outcome import Kind

MAX_ANSWER: Final = 8 << 10
MAX_EXIT_CODE: Final = 125
"""The largest that wasmtime's `proc_exit` takes; a larger one traps."""
MAX_DETAIL: Final = 1024

_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_Path = Annotated[str, Size(1, 4096)]
_Argument = Annotated[str, Size(0, MAX_ARGUMENT)]


@message
class Variable:
    """One environment variable of the guest."""

    name: str
    value: _Argument


@message
class Job:
    """What the worker is to do. Paths are the host's."""

    module: _Path
    data: _Path
    results: _Path
    stdout: _Path
    stderr: _Path
    args: Annotated[tuple[_Argument, ...], Size(0, MAX_ARGUMENTS)]
    env: Annotated[tuple[Variable, ...], Size(0, MAX_ARGUMENTS)]
    limits: Limits
    parent: Annotated[int, Range(1, 1 << 32)]
    """Process id of the agent; a worker whose parent is another is an orphan and ends."""
    artifact: Annotated[int, Range(0, 1 << 30)] = 0
    """Descriptor of the memory file for the compiled module; 0: none."""
    known: bool = False
    """The memory file holds the compiled module; else the worker fills and seals it."""


@message
class Answer:
    """How the guest ended, as the worker saw it."""

    kind: Kind
    exit_code: Annotated[int, Range(0, 255)] | None
    memory_bytes: Annotated[int, Range(0, 1 << 40)] | None
    detail: Annotated[str, Size(0, MAX_DETAIL)]


def require_arguments(args: tuple[str, ...], env: dict[str, str]) -> None:
    """Refuse what cannot reach a guest unchanged.

    Raises:
        InputError: `workload.arguments`: too many, too long, a NUL (argv ends there), a lone
            surrogate, or an environment name that is not letters, digits and underscores.
    """
    if len(args) > MAX_ARGUMENTS or len(env) > MAX_ARGUMENTS:
        raise _refusal(f"more than {MAX_ARGUMENTS} arguments or environment variables")
    total = sum(map(len, (*args, *env, *env.values())))
    if total > MAX_ARGUMENTS_TOTAL:
        raise _refusal(f"{total} characters of arguments, want at most {MAX_ARGUMENTS_TOTAL}")
    for index, value in enumerate(args):
        _require_text(value, f"argument {index + 1}")
    for index, (name, value) in enumerate(env.items()):
        # The name itself came sealed, so the message counts instead of quoting.
        if not _ENV_NAME.fullmatch(name):
            raise _refusal(f"environment variable {index + 1} has an illegal name")
        _require_text(value, f"environment variable {index + 1}")


def _require_text(value: str, what: str) -> None:
    if len(value) > MAX_ARGUMENT:
        raise _refusal(f"{what} has {len(value)} characters, want at most {MAX_ARGUMENT}")
    if "\0" in value:
        raise _refusal(f"{what} contains NUL")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refusal(f"{what} is not Unicode text") from error


def _refusal(why: str) -> InputError:
    return InputError(why, code="workload.arguments")
