"""`atoll checksum`: the digests of files, directories and manifests."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from atoll.client.tree import file_pieces, tree_pieces
from atoll_cli.agreement_files import read_manifest
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.text import printable


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--manifest", metavar="FILE", type=FILE, help="The digest that its parties sign.")
@click.option("--sha3", is_flag=True, help="Print SHA3-256 as well.")
@json_option
@pass_session
def checksum(
    session: Session, paths: tuple[Path, ...], *, manifest: Path | None, sha3: bool
) -> None:
    """Print the SHA-256 of files and directories.

    A directory stands for its deterministic archive, which is the same for the same files:
    owners, times, permissions and empty directories do not count. A directory with links or
    devices is refused. A manifest is put into canonical form first, and must be legal.
    """
    if not paths and manifest is None:
        raise click.UsageError("name a PATH or --manifest FILE", ctx=click.get_current_context())
    found = [_of_path(path, sha3=sha3) for path in paths]
    if manifest is not None:
        found.append(_row(manifest, "manifest", (read_manifest(manifest).raw,), sha3=sha3))
    for row in found:
        shown = printable(row["path"])
        if sha3:
            session.print(f"sha256:{row['sha256']}  {shown}")
            session.print(f"sha3-256:{row['sha3_256']}  {shown}")
        else:
            session.print(f"{row['sha256']}  {shown}")
    session.document({"checksums": found})


def _of_path(path: Path, *, sha3: bool) -> dict[str, Any]:
    if path.is_dir():
        return _row(path, "directory", tree_pieces(path), sha3=sha3)
    return _row(path, "file", file_pieces(path), sha3=sha3)


def _row(path: Path, kind: str, pieces: Iterable[bytes], *, sha3: bool) -> dict[str, Any]:
    """`size` is that of what was hashed: for a directory, of its archive."""
    sha256, sha3_256 = hashlib.sha256(), hashlib.sha3_256()
    size = 0
    for piece in pieces:
        size += len(piece)
        sha256.update(piece)
        if sha3:
            sha3_256.update(piece)
    row = {"path": str(path), "kind": kind, "size": size, "sha256": sha256.hexdigest()}
    return {**row, "sha3_256": sha3_256.hexdigest()} if sha3 else row
