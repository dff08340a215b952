"""Evidence in files, and the command that judges them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import evidence
from unit.cli.console import Console, Said

AT = "2026-06-01T12:00:00Z"
REPORT_DATA = b"\x42" * 64


@dataclass(frozen=True, kw_only=True)
class Files:
    """A folder, and what is written into it."""

    folder: Path

    def write(self, name: str, raw: bytes) -> Path:
        """A file of these bytes."""
        path = self.folder / name
        path.write_bytes(raw)
        return path

    def report(self, **changes: Any) -> Path:
        """A good report; `changes` to its body are signed again."""
        report = evidence.guest().attest(REPORT_DATA)
        return self.write("report", evidence.resign(report, **changes) if changes else report)

    def certs(self) -> Path:
        """Its chain, as a person may have pasted it."""
        pem = evidence.chain().to_pem().partition(b"-----BEGIN PRIVATE KEY")[0]
        return self.write("chain.pem", b"# vcek, ask, ark\r\n" + pem)

    def root(self) -> Path:
        """The root of that chain."""
        return self.write("root.pem", evidence.chain().ark_pem)

    def policy(self, value: Any) -> Path:
        """JSON as a person writes it."""
        return self.write("policy.json", json.dumps(value, indent=2).encode())


def verify(
    console: Console, files: Files, *more: str | Path, action: str = "verify", **changes: Any
) -> Said:
    """`attest verify`, or another action, on a report, with all that makes a good one pass."""
    fixed = ("--kind", "snp", "--certs", files.certs(), "--root", files.root(), "--at", AT)
    return console("attest", action, files.report(**changes), *fixed, *more)
