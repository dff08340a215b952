"""What a survey looks at: files, and what programs say of their version."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

MAX_TEXT: Final = 64 << 10
TIMEOUT_S: Final = 10.0


class Machine(Protocol):
    """Never raises: what cannot be read is not there."""

    def exists(self, path: str) -> bool: ...
    def text(self, path: str) -> str: ...
    def first_line(self, command: Sequence[str]) -> str: ...


class ThisMachine:
    """The machine that we run on."""

    def exists(self, path: str) -> bool:
        try:
            return Path(path).exists()
        except OSError:
            return False

    def text(self, path: str) -> str:
        """The beginning of a file, or nothing."""
        try:
            with Path(path).open("rb") as file:
                return file.read(MAX_TEXT).decode("utf-8", "replace")
        except OSError:
            return ""

    def first_line(self, command: Sequence[str]) -> str:
        """Of what a program prints, or nothing."""
        program = shutil.which(command[0])
        if program is None:
            return ""
        try:
            done = subprocess.run(  # noqa: S603 - the survey's own commands
                [program, *command[1:]],
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
