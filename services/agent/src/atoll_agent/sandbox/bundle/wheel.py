"""What the name of a wheel says, and whether this interpreter can load it. Pure.

PyPA binary distribution format, "File name convention", and PEP 425, 600: dots in a tag part
alternatives, and every combination of them is one the wheel is for.
"""

import re
from dataclasses import dataclass
from typing import Final

from atoll_agent.sandbox.bundle.lock import normal_name
from atoll_agent.sandbox.bundle.refusal import refuse, shown

_PART: Final = r"[A-Za-z0-9_.]{1,200}"
_NAME: Final = re.compile(
    rf"(?P<name>{_PART})-(?P<version>[A-Za-z0-9_.+!]{{1,100}})(?:-[0-9]{_PART})?"
    rf"-(?P<python>{_PART})-(?P<abi>{_PART})-(?P<platform>{_PART})\.whl"
)
_GLIBC: Final = re.compile(r"manylinux_2_([0-9]{1,4})_(.+)")
_OLD_GLIBC: Final = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
"""The second number of the C library's version that these names stand for (PEP 600)."""
_PURE: Final = re.compile(r"py3([0-9]{0,3})")
_CPYTHON: Final = re.compile(r"cp3([0-9]{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """What wheels are for: CPython 3.`minor` on Linux."""

    minor: int
    machine: str
    """As the kernel names it."""
    glibc: int | None
    """The second number of the C library's version, 2.x; None: it is not the GNU one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a file name that matter."""

    name: str
    version: str
    python: tuple[str, ...]
    abi: tuple[str, ...]
    platform: tuple[str, ...]

    def fits(self, here: Interpreter) -> bool:
        """Whether one of its tags is one that `here` loads."""
        return any(_platform_fits(tag, here) for tag in self.platform) and any(
            _abi_fits(python, abi, here.minor) for python in self.python for abi in self.abi
        )


def parse_wheel_name(name: str) -> WheelName:
    """The parts of a wheel's name.

    Raises:
        InputError: `bundle.wheel`.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise refuse("wheel", f"{shown(name)} is not how a wheel is called")
    return WheelName(
        name=normal_name(found["name"]),
        version=found["version"],
        python=tuple(found["python"].split(".")),
        abi=tuple(found["abi"].split(".")),
        platform=tuple(found["platform"].split(".")),
    )


def same_version(wheel: str, locked: str) -> bool:
    """Whether a name's version is the lock's; names write _ for - in local versions."""
    return wheel.replace("_", "-") == locked.replace("_", "-")


def _abi_fits(python: str, abi: str, minor: int) -> bool:
    cpython = _CPYTHON.fullmatch(python)
    if cpython is None:
        pure = _PURE.fullmatch(python)
        return pure is not None and abi == "none" and int(pure[1] or 0) <= minor
    wanted = int(cpython[1])
    if abi == "abi3":
        return wanted <= minor
    return wanted == minor and abi in {"none", python}


def _platform_fits(tag: str, here: Interpreter) -> bool:
    if tag in {"any", f"linux_{here.machine}"}:
        return True
    if here.glibc is None:
        return False
    if modern := _GLIBC.fullmatch(tag):
        return modern[2] == here.machine and int(modern[1]) <= here.glibc
    name, _, machine = tag.partition("_")
    return machine == here.machine and name in _OLD_GLIBC and _OLD_GLIBC[name] <= here.glibc
