"""The agent's settings as a guest gets them: JSON in the firmware's configuration. Pure.

Sources: QEMU, docs/specs/fw_cfg.rst (`-fw_cfg name=opt/...`); Linux,
Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg.

The host writes them, and none is believed further than it can do no harm (`atoll_agent.config`).
So they are read strictly: an object whose members are the agent's own settings and text, no
member twice, nothing else. One setting is not the host's: what the digests of all this are.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

from atoll import canonical
from atoll.errors import ConfigError, InputError
from atoll_agent.config import PREFIX, AgentConfig

NAME: Final = "opt/atoll/settings"
PATH: Final = f"/sys/firmware/qemu_fw_cfg/by_name/{NAME}/raw"
MAX_SETTINGS: Final = 64 << 10
LAUNCH_SETTINGS: Final = f"{PREFIX}LAUNCH_SETTINGS"
"""What the first process adds."""
KNOWN: Final = frozenset(
    PREFIX + field.name.upper() for field in dataclasses.fields(AgentConfig)
) - {LAUNCH_SETTINGS}


def parse_settings(raw: bytes, *, known: frozenset[str] = KNOWN) -> Mapping[str, str]:
    """The settings by their names.

    Args:
        raw: what the host wrote.
        known: which names there may be.

    Raises:
        ConfigError: `agent.settings`: over `MAX_SETTINGS`, no JSON object, a name that is not
            known or there twice, a value that is no text, or has a NUL.
    """
    if len(raw) > MAX_SETTINGS:
        raise _refused(f"over {MAX_SETTINGS} bytes")
    try:
        value = canonical.parse(raw)
    except InputError as error:
        raise _refused("not JSON as it must be") from error
    if not isinstance(value, dict):
        raise _refused("no JSON object")
    for name, text in value.items():
        if name not in known:
            raise _refused(f"no setting is called {ascii(name)[:60]}")
        if not isinstance(text, str) or "\0" in text:
            raise _refused(f"{name} is no text")
    return value


def _refused(why: str) -> ConfigError:
    return ConfigError(f"the settings in {NAME} are refused: {why}", code="agent.settings")
