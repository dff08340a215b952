"""What this host has: processors, memory and what its operator says of it."""

import os

from atoll.errors import ConfigError, InputError
from atoll.wire.names import require_name, require_token
from atoll.wire.placement import MAX_LABELS

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
    """`name=value` each, both tokens.

    Raises:
        ConfigError: `config.invalid`.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            # Both: the registry keeps labels by name, and a token may begin with a dash.
            require_name(require_token(name, "label"), "label")
            require_token(value, f"label {name}")
        except InputError as error:
            raise ConfigError(f"label {item!r}: {error.message}", code="config.invalid") from error
        if not equals or name in found:
            raise ConfigError(f"label {item!r}: want name=value, once", code="config.invalid")
        found[name] = value
    if len(found) > MAX_LABELS:
        raise ConfigError(f"{len(found)} labels, at most {MAX_LABELS}", code="config.invalid")
    return found
