"""The kernel's modules, in the order that the image says."""

import errno
from collections.abc import Callable
from typing import Final

from atoll.errors import ConfigError

ORDER: Final = "/usr/lib/atoll/modules"
MAX_MODULES: Final = 256
_FOLDER: Final = "/usr/lib/modules/"
_ABSENT: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.EEXIST})
"""The hardware that a driver is for is not there; or it is built in after all."""


def parse_order(text: str) -> tuple[str, ...]:
    """The paths of modules, one in each line.

    Raises:
        ConfigError: `agent.modules`: too many, or one that is no module of this image.
    """
    paths = tuple(text.split("\n"))
    if paths[-1] != "" or len(paths) > MAX_MODULES + 1:
        raise ConfigError("the list of modules is cut off or too long", code="agent.modules")
    for path in paths[:-1]:
        if not path.startswith(_FOLDER) or "/../" in path or not path.endswith(".ko"):
            raise ConfigError("the list of modules has a line that is none", code="agent.modules")
    return paths[:-1]


def load(paths: tuple[str, ...], load_one: Callable[[str], None]) -> tuple[str, ...]:
    """Load them all; returns those whose hardware is not there.

    Raises:
        OSError: the kernel refuses one for another reason.
    """
    absent = []
    for path in paths:
        try:
            load_one(path)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            absent.append(path)
    return tuple(absent)
