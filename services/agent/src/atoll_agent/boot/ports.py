"""Finds the serial port of the channel by its name, and names it where programs look.

On other systems udev makes the link.
"""

import re
import time
from pathlib import Path
from typing import Final

from atoll.channel.ports import SYSFS, find_port
from atoll.errors import ConfigError

CHANNEL: Final = "ATOLL_AGENT_CHANNEL"
SERIAL: Final = "serial:"
WAIT_S: Final = 10.0
_PAUSE_S: Final = 0.01
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def wanted_port(channel: str) -> str | None:
    """The name of the port in the setting of the channel; None: it is no serial one.

    Raises:
        ConfigError: `agent.settings`: that is no name of a port.
    """
    if not channel.startswith(SERIAL):
        return None
    name = channel.removeprefix(SERIAL)
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"{CHANNEL} names no serial port", code="agent.settings")
    return name


def link_port(name: str, *, sysfs: Path = SYSFS, dev: Path = Path("/dev")) -> None:
    """Make /dev/virtio-ports/NAME. A port that was just found may take a moment to have a name.

    Raises:
        ConfigError: `agent.channel`: no port has this name.
    """
    end = time.monotonic() + WAIT_S
    while (device := find_port(name, sysfs)) is None:
        if time.monotonic() > end:
            raise ConfigError(f"no serial port is called {name}", code="agent.channel")
        time.sleep(_PAUSE_S)
    folder = dev / "virtio-ports"
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(f"../{device}")
