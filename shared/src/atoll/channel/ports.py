"""Which device is the virtio-serial port of a name.

Linux, drivers/char/virtio_console.c: /sys/class/virtio-ports/vportNpM/name is what the host called
the port; the device is /dev/vportNpM. Links by name are udev's, which a small guest has not.
"""

import re
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys/class/virtio-ports")
_PORT: Final = re.compile(r"vport[0-9]{1,4}p[0-9]{1,4}")


def find_port(name: str, sysfs: Path = SYSFS) -> str | None:
    """The device's name below /dev; None: no port has this name."""
    for port in sorted(sysfs.glob("*/name")):
        device = port.parent.name
        try:
            said = port.read_text(encoding="utf-8", errors="replace").rstrip("\n")
        except OSError:
            continue
        if said == name and _PORT.fullmatch(device):
            return device
    return None
