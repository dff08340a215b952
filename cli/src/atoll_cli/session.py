"""What every command works with: where home is, how to speak, what is known so far."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atoll.errors import AtollError
from atoll_cli import text

BANNER: Final = "SIMULATED TEE: nothing here protects against the host"
_RED: Final = "1;31"
_ALERT: Final = "1;30;43"


@dataclass(slots=True, kw_only=True)
class Session:
    """One call of the command.

    Without `--json`, `say` goes to standard error and `print` to standard output. With it,
    standard output gets one JSON document by `document` and nothing else.
    """

    home: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For `up`, which passes some of it on; nothing else reads settings from it."""
    color_out: bool = False
    color_err: bool = False
    debug: bool = False
    as_json: bool = False
    documents: bool = True
    """False for a part of a larger command, which has one document for all."""
    known: dict[str, Any] = field(default_factory=dict)
    """Goes into the JSON document when the command fails after all."""
    _written: bool = False

    def say(self, line: str = "", *, style: str = "") -> None:
        """Talk: one line that the caller has made printable."""
        painted = text.painted(line, style, color=self.color_err and bool(style))
        sys.stdout.flush()
        sys.stderr.write(painted + "\n")
        sys.stderr.flush()

    def print(self, line: str = "", *, style: str = "") -> None:
        """The answer for a person; nothing with `--json`."""
        if not self.as_json:
            painted = text.painted(line, style, color=self.color_out and bool(style))
            sys.stdout.write(painted + "\n")
            sys.stdout.flush()

    def document(self, value: Any) -> None:
        """The answer with `--json`; nothing without."""
        if self.as_json and self.documents and not self._written:
            self._written = True
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")
            sys.stdout.flush()

    def line(self, value: Any) -> None:
        """One of many JSON documents, each on its line: `events --follow` only."""
        self._written = True
        sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")
        sys.stdout.flush()

    def banner(self, *, answer: bool = False) -> None:
        """Say SIMULATED where it cannot be missed."""
        rule = "*" * (len(BANNER) + 6)
        for line in (rule, f"** {BANNER} **", rule):
            (self.print if answer else self.say)(line, style=_ALERT)

    def failed(self, message: str, *, code: str, hint: str | None, error_id: str | None) -> None:
        """Say what went wrong, once, in the form that was asked for."""
        shown = text.printable(message)
        self.say(
            f"{text.painted('error:', _RED, color=self.color_err)} {shown} [{text.printable(code)}]"
        )
        if hint:
            self.say(f"hint: {text.printable(hint)}")
        error: dict[str, Any] = {"code": code, "message": message, "hint": hint}
        if error_id:
            self.say(f"the service logged it as {text.printable(error_id)}")
            error["error_id"] = error_id
        self.document({**self.known, "error": error})


def error_document(error: AtollError) -> dict[str, Any]:
    """An error as it stands inside a larger document."""
    return {"code": error.code, "message": error.message, "hint": error.hint}
