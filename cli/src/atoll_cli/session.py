"""What every command works with: where home is, how to speak, what is known so far."""

import getpass
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atoll.client.files import read_private
from atoll.client.keystore import KeyStore
from atoll.client.protected import MAX_PASSPHRASE
from atoll.errors import AtollError, InputError
from atoll_cli import text

BANNER: Final = "SIMULATED TEE: nothing here protects against the host"
HOST_TPM: Final = "VTPM OF THE HOST: nothing here protects against the host"
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
    """For `up`, which passes some of it on, and for where caches are; holds no settings."""
    passphrase_file: Path | None = None
    """Holds the passphrase of protected keys, for when nobody can be asked."""
    color_out: bool = False
    color_err: bool = False
    debug: bool = False
    as_json: bool = False
    documents: bool = True
    """False for a part of a larger command, which has one document for all."""
    known: dict[str, Any] = field(default_factory=dict)
    """Goes into the JSON document when the command fails after all."""
    _written: bool = False

    def keys(self) -> KeyStore:
        """The identity keys; loading a protected one finds out its passphrase."""
        return KeyStore(self.home, ask=lambda name: self.passphrase(f"the key {name}"))

    def passphrase(self, what: str, *, again: bool = False) -> bytes:
        """From the file if there is one, else from the terminal; with `again`, typed twice.

        Raises:
            InputError: `key.passphrase`: neither a file nor a terminal, an empty one, or two
                that differ; `file.*`.
        """
        if self.passphrase_file is not None:
            return passphrase_in(self.passphrase_file)
        return typed_passphrase(
            what,
            again=again,
            hint="ATOLL_PASSPHRASE_FILE or --passphrase-file names a file with it",
        )

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

    def banner(self, *, answer: bool = False, host_tpm: bool = False) -> None:
        """Say SIMULATED, or whose the TPM is, where it cannot be missed."""
        said = HOST_TPM if host_tpm else BANNER
        rule = "*" * (len(said) + 6)
        for line in (rule, f"** {said} **", rule):
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


def typed_passphrase(what: str, *, again: bool = False, hint: str) -> bytes:
    """What a person types, unseen, on the terminal.

    Raises:
        InputError: `key.passphrase`: no terminal (then with the hint), nothing, or two that differ.
    """
    if not sys.stdin.isatty():
        raise InputError(
            f"{what} needs a passphrase, and there is no terminal to ask for it",
            code="key.passphrase",
            hint=hint,
        )
    try:
        typed = getpass.getpass(f"passphrase of {what}: ")
        if again and getpass.getpass("the same again: ") != typed:
            raise InputError("the two passphrases differ", code="key.passphrase")
    except EOFError:
        raise InputError("no passphrase was typed", code="key.passphrase") from None
    return typed.encode("utf-8", "surrogateescape")


def passphrase_in(path: Path) -> bytes:
    """The first line of the file, which must be its only one.

    Raises:
        InputError: `key.passphrase`, `file.*`; NotFoundError: `file.not_found`.
    """
    # A line end of two bytes may follow.
    line = read_private(path, limit=MAX_PASSPHRASE + 2).removesuffix(b"\n").removesuffix(b"\r")
    if not line or b"\n" in line:
        raise InputError(f"{path} is not one line with a passphrase", code="key.passphrase")
    return line


def error_document(error: AtollError) -> dict[str, Any]:
    """An error as it stands inside a larger document."""
    return {"code": error.code, "message": error.message, "hint": error.hint}
