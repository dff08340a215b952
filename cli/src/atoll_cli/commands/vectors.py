"""`atoll vectors run DIR`: judge published cases and compare with what they expect."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.evidence.judge import UNSUPPORTED, Row, judge_vector
from atoll_cli.evidence_files import MAX_EVIDENCE, json_object
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.text import printable, table

MANIFEST: Final = "manifest.json"
MAX_MANIFEST: Final = 64 << 20

_VERDICTS: Final = ("valid", "invalid", "parse-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What became of a case, and what its manifest expects."""

    row: Row
    expected: str
    agrees: bool


@click.group()
def vectors() -> None:
    """Published test vectors of attestation."""


@vectors.command()
@click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@json_option
@pass_session
@click.pass_context
def run(context: click.Context, session: Session, folder: Path) -> None:
    """Judge every case of DIR/manifest.json from its inputs alone.

    Prints id, expected and actual verdict and the reason of each case, and totals by kind.
    Exit status 0 only if all verdicts agree; a kind that is not known does not. Where the
    manifest calls a case a matter of taste (lenient_ok, strict_ok), both verdicts agree.
    """
    compared = [_compare(case, folder) for case in _cases(folder)]
    for line in table(
        (
            "ok" if item.agrees else "DIFFERS",
            item.row.id,
            item.expected,
            item.row.got,
            item.row.reason,
        )
        for item in compared
    ):
        session.print(line)
    _totals(session, compared)
    session.document(
        [
            {
                "id": item.row.id,
                "kind": item.row.kind,
                "expected": item.expected,
                "got": item.row.got,
                "reason": item.row.reason,
                "agrees": item.agrees,
                "tcb_status": item.row.tcb_status or None,
            }
            for item in compared
        ]
    )
    if not compared or not all(item.agrees for item in compared):
        context.exit(1)


def _cases(folder: Path) -> list[Mapping[str, Any]]:
    path = folder / MANIFEST
    if not path.is_file():
        raise click.BadParameter(f"{path} is not there", param_hint="DIR")
    try:
        cases = json_object(path, limit=MAX_MANIFEST, code="vectors.manifest").get("vectors")
    except InputError as error:
        raise click.BadParameter(error.message, param_hint="DIR") from error
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise click.BadParameter(f"{path} has no list of vectors", param_hint="DIR")
    return cases


def _compare(case: Mapping[str, Any], folder: Path) -> Compared:
    try:
        row = judge_vector(case, lambda path: _read(folder, path))
    except InputError as error:
        row = Row(
            id=printable(str(case.get("id"))[:80]),
            kind=printable(str(case.get("kind"))[:80]),
            got=UNSUPPORTED,
            reason=error.code,
            tcb_status="",
        )
    wanted = case.get("expected")
    expected = str(wanted.get("verdict")) if isinstance(wanted, dict) else ""
    return Compared(row=row, expected=expected, agrees=_agrees(case, expected, row.got))


def _agrees(case: Mapping[str, Any], expected: str, got: str) -> bool:
    if got == expected:
        return got in _VERDICTS
    lenient = case.get("lenient_ok") is True and (expected, got) == ("invalid", "valid")
    strict = case.get("strict_ok") is True and (expected, got) == ("valid", "invalid")
    return lenient or strict


def _read(folder: Path, name: str) -> bytes:
    """A file of the vectors, and no other one that a manifest may name."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{name[:80]!r} is no path", code="vectors.path") from error
    if not path.is_relative_to(root):
        raise InputError(f"{name[:80]!r} is outside the vectors", code="vectors.path")
    return read_private(path, limit=MAX_EVIDENCE)


def _totals(session: Session, compared: list[Compared]) -> None:
    total = Counter(item.row.kind for item in compared)
    agreed = Counter(item.row.kind for item in compared if item.agrees)
    rows = [(kind, f"{agreed[kind]} of {count} agree") for kind, count in sorted(total.items())]
    rows.append(("total", f"{agreed.total()} of {total.total()} agree"))
    for line in table(rows, indent=""):
        session.print(line)
