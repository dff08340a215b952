"""configfs-tsm as drivers/virt/coco/tsm.c has it: one provider, entries, two generations.

A write to a binary attribute counts when the file is closed, and then its error is lost
(fs/configfs/file.c); so an inblob that the kernel refuses shows in the generation only.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from atoll_agent.evidence.tsm import ROOT
from support.kernel.machine import fault

INBLOB_MAX: Final = 64

Report = tuple[bytes, bytes]


@dataclass
class Driver:
    """Who has registered: `report` makes outblob and auxblob of inblob and privlevel."""

    name: str
    report: Callable[[bytes, int], Report]
    floor: int | None = None
    """None: the driver has no privilege levels, as TDX."""
    auxblob: bool = True
    inblob_size: int = INBLOB_MAX
    """The drivers of SEV-SNP and TDX take this size only."""


@dataclass
class Entry:
    """`struct tsm_report_state`."""

    write_generation: int = 0
    read_generation: int = 0
    inblob: bytes = b""
    privlevel: int = 0
    made: Report | None = None

    def advance(self) -> None:
        self.write_generation += 1


@dataclass
class ConfigFs:
    """`/sys/kernel/config/tsm/report`."""

    driver: Driver | None = None
    faults: dict[str, list[OSError]] = field(default_factory=dict)
    """What the next operations fail with, by `mkdir`, `rmdir`, `read NAME` or `write NAME`."""
    disturb: Callable[[str, Entry], None] | None = None
    """Called before each operation on an attribute: what somebody else does to the entry."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """What attributes say instead of the truth: an outblob, a text."""
    entries: dict[str, Entry] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """Operations in their order."""

    def fail(self, operation: str, *numbers: int) -> "ConfigFs":
        """Let the next of these operations fail; gives itself back."""
        self.faults.setdefault(operation, []).extend(fault(number) for number in numbers)
        return self

    def exists(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return (
            path == ROOT
            or path in self.entries
            or (folder in self.entries and name in self._attributes())
        )

    def mkdir(self, path: str) -> None:
        self._turn("mkdir")
        if path in self.entries:
            raise fault(errno.EEXIST)
        if self.driver is None:
            raise fault(errno.ENXIO)
        self.entries[path] = Entry()

    def rmdir(self, path: str) -> None:
        self._turn("rmdir")
        if path not in self.entries:
            raise fault(errno.ENOENT)
        del self.entries[path]

    def read(self, path: str) -> bytes:
        entry, name = self._attribute(path, "read")
        driver = self._driver()
        if name in self.answers:
            return self.answers[name]
        texts = {
            "provider": driver.name,
            "generation": str(entry.write_generation),
            "privlevel_floor": str(driver.floor),
        }
        if name in texts:
            return f"{texts[name]}\n".encode()
        if name not in {"outblob", "auxblob"}:
            raise fault(errno.EACCES)
        return self._report(entry)[name == "auxblob"]

    def write(self, path: str, data: bytes) -> None:
        entry, name = self._attribute(path, "write")
        if name == "privlevel":
            level, floor = int(data), self._driver().floor
            if floor is None or not floor <= level <= 3:
                raise fault(errno.EINVAL)
            entry.advance()
            entry.privlevel = level
        elif name == "inblob":
            if len(data) > INBLOB_MAX:
                raise fault(errno.EFBIG)
            if self.faults.get("close inblob"):
                self.faults["close inblob"].pop(0)
                return
            entry.advance()
            entry.inblob = data
        else:
            raise fault(errno.EACCES)

    def _report(self, entry: Entry) -> Report:
        if not entry.inblob:
            raise fault(errno.EINVAL)
        if entry.made is None or entry.read_generation != entry.write_generation:
            driver = self._driver()
            if len(entry.inblob) != driver.inblob_size:
                raise fault(errno.EINVAL)
            entry.made = driver.report(entry.inblob, entry.privlevel)
            entry.read_generation = entry.write_generation
        return entry.made

    def _attribute(self, path: str, operation: str) -> tuple[Entry, str]:
        folder, _, name = path.rpartition("/")
        if folder not in self.entries or name not in self._attributes():
            raise fault(errno.ENOENT)
        if self.disturb is not None:
            self.disturb(f"{operation} {name}", self.entries[folder])
        self._turn(f"{operation} {name}")
        return self.entries[folder], name

    def _attributes(self) -> Iterable[str]:
        names = {"provider", "generation", "inblob", "outblob"}
        if self.driver is not None and self.driver.floor is not None:
            names |= {"privlevel", "privlevel_floor"}
        if self.driver is not None and self.driver.auxblob:
            names.add("auxblob")
        return names

    def _driver(self) -> Driver:
        if self.driver is None:
            raise fault(errno.ENOTTY)
        return self.driver

    def _turn(self, operation: str) -> None:
        self.log.append(operation)
        if waiting := self.faults.get(operation):
            raise waiting.pop(0)
