"""Says on a terminal how far a long transfer is, at most once a second."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from atoll_cli.session import Session
from atoll_cli.stopping import checkpoint
from atoll_cli.text import size

EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class Meter:
    """Lines on standard error, and none where nobody watches: with `--json`, or in a pipe."""

    session: Session
    what: str
    total: int | None = None
    """Bytes that there will be, if that is known."""
    clock: Callable[[], float] = time.monotonic
    _watched: bool = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._last = self.clock()

    def reached(self, done: int) -> None:
        """So many bytes are done."""
        if self.session.as_json or not self._watched or self.clock() - self._last < EVERY_S:
            return
        self._last = self.clock()
        of = f" of {size(self.total)}, {done * 100 // self.total} %" if self.total else ""
        self.session.say(f"    {self.what} {size(done)}{of}")

    def reached_stoppable(self, done: int, _before: int) -> None:
        """The same inside of `run_stoppable`, which a signal ends here."""
        checkpoint()
        self.reached(done)
