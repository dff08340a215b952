"""What this host has: processors, memory and what its operator says of it."""

import os

from atoll.errors import ConfigError, InputError
from atoll.wire.names import require_token
from atoll.wire.placement import read_labels

MAX_TENANTS = 64


def machine_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_memory() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def tenants(items: tuple[str, ...]) -> tuple[str, ...]:
    """Whom a host is dedicated to.

    Raises:
        ConfigError: `config.invalid`.
    """
    for item in items:
        try:
            require_token(item, "tenant")
        except InputError as error:
            raise ConfigError(error.message, code="config.invalid") from error
    if len(set(items)) != len(items) or len(items) > MAX_TENANTS:
        raise ConfigError(
            f"{len(items)} tenants: want at most {MAX_TENANTS}, each once", code="config.invalid"
        )
    return items


def labels(items: tuple[str, ...]) -> dict[str, str]:
    """What to say of a host, `name=value` each.

    Raises:
        ConfigError: `config.invalid`.
    """
    try:
        return read_labels(items)
    except InputError as error:
        raise ConfigError(error.message, code="config.invalid") from error
