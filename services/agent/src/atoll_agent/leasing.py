"""An enclave that was started before there was a job for it.

It has loaded all its code and waits. Its keeper then tells it once, in a line of JSON on a pipe,
what other enclaves find in their environment: who they are, for which job, attempt and manifest.
From there on it is like any other: its keys are made and its evidence is asked for afterwards, and
bind the manifest as ever. It is told once, because it reads once; it serves that job and ends.

What comes is as little believed as the environment (`atoll_agent.config`).
"""

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from atoll.errors import ConfigError, UnreachableError
from atoll_agent.config import PREFIX

SETTING: Final = f"{PREFIX}LEASE_FD"
"""The descriptor to read from. An enclave without it has its job in its environment."""

TOLD: Final = frozenset({"ENCLAVE_ID", "JOB_ID", "ATTEMPT", "MANIFEST_DIGEST", "TRACEPARENT"})
MAX_LINE: Final = 4096
"""A pipe takes as much at once (POSIX, `PIPE_BUF` of Linux)."""


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The settings, when there is a job: at once, or when we are told.

    Raises:
        ConfigError: `config.invalid`: not a descriptor, or not what is told here.
        UnreachableError: `enclave.unused`: whoever was to tell us is gone.
    """
    own = dict(env)
    descriptor = own.pop(SETTING, None)
    if descriptor is None:
        return own
    raw = _line(descriptor)
    if not raw:
        raise UnreachableError("no job came", code="enclave.unused")
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError("what the keeper told is no JSON", code="config.invalid") from error
    return own | settings(told)


def settings(told: Any) -> dict[str, str]:
    """What was told, as settings.

    Raises:
        ConfigError: `config.invalid`.
    """
    if not isinstance(told, dict) or told.keys() != TOLD:
        raise ConfigError(f"the keeper must tell {', '.join(sorted(TOLD))}", code="config.invalid")
    if not all(isinstance(value, str) for value in told.values()):
        raise ConfigError("what the keeper tells must be text", code="config.invalid")
    return {f"{PREFIX}{name}": value for name, value in told.items()}


def _line(descriptor: str) -> bytes:
    try:
        with os.fdopen(int(descriptor), "rb") as pipe:
            return pipe.readline(MAX_LINE)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{SETTING} is no descriptor", code="config.invalid") from error
