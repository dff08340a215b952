"""`atoll attest collateral import FILE...`."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import click

from atoll.client.files import read_private, write_private
from atoll.errors import AtollError, InputError, NotFoundError, RefusedError
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import Certificate
from atoll_attestor.collateral.cache import record_of
from atoll_attestor.collateral.crls import verified
from atoll_attestor.collateral.documents import read
from atoll_attestor.collateral.importing import SUFFIXES
from atoll_attestor.collateral.pairing import Candidate, Sorted, sort, to_pem
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session

DIRECTORY: Final = "collateral"
"""As `atoll_cli.stack.material` names it in a data directory."""
MAX_FILE: Final = 1 << 20
MAX_FILES: Final = 512
_SUFFIX: Final = {"crl": ".crl", "chain": ".pem", "vcek": ".der"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A document that is believed, under the name that it gets."""

    key: str
    order: tuple[datetime, bytes]
    files: dict[str, bytes]
    next_update: str


@click.group()
def collateral() -> None:
    """What vendors sign about their processors: certificates, revocation lists, TCB info."""


@collateral.command(name="import")
@click.argument(
    "paths",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The stack's data directory (default: `stack` in ATOLL_HOME).",
)
@json_option
@pass_session
def import_(session: Session, paths: tuple[Path, ...], data_dir: Path | None) -> None:
    """Give a stack's attestor collateral without a network.

    A FILE is a document as its vendor serves it, or certificates, PEM or DER; of a directory all
    such files are taken. Each document is verified under the pinned roots, for which the
    certificates of its signer must be among the files. If one is refused nothing is imported.
    What has expired is taken: evidence then fails for that reason. A running attestor takes new
    files within seconds. The commands that appraise evidence here read them as well, and also
    those in `collateral` of ATOLL_HOME, where --data-dir ATOLL_HOME puts them.
    """
    home = data_dir or session.home / "stack"
    found = _believed(sort(_files(paths)), _trust(home))
    rows = []
    for one in found:
        newer = _is_newer(home / DIRECTORY, one, _trust(home))
        if newer:
            for name, raw in one.files.items():
                write_private(home / DIRECTORY / name, raw)
        state = "imported" if newer else "not newer than what is there"
        session.print(f"{one.key}: {state}, to be replaced by {one.next_update}")
        rows.append({"key": one.key, "imported": newer, "next_update": one.next_update})
    session.document({"directory": str(home / DIRECTORY), "documents": rows})


def _files(paths: tuple[Path, ...]) -> dict[str, bytes]:
    listed = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        listed += [one for one in inside if one == path or one.suffix in SUFFIXES]
    if len(listed) > MAX_FILES:
        raise InputError(f"{len(listed)} files, at most {MAX_FILES}", code="input.too_large")
    return {str(path): read_private(path, limit=MAX_FILE) for path in listed}


def _trust(home: Path) -> TrustStore:
    try:
        ark = read_private(home / "simulated" / "ark.pem", limit=MAX_FILE)
    except NotFoundError:
        return PRODUCTION
    return PRODUCTION.with_development_root(ark)


def _believed(found: Sorted, trust: TrustStore) -> list[Import]:
    refused = dict(found.useless)
    taken: dict[str, Import] = {}
    ways = [
        (name, [partial(_document, one, trust) for one in candidates])
        for name, candidates in zip(found.names, found.candidates, strict=True)
    ]
    ways += [
        (name, [partial(_amd_list, raw, ark, trust) for ark in found.roots])
        for name, raw in found.amd_lists
    ]
    for name, some in ways:
        why = "the certificates of its signer are not among the files"
        for way in some:
            try:
                one = way()
            except AtollError as error:
                why = error.message
                continue
            if one.key not in taken or taken[one.key].order < one.order:
                taken[one.key] = one
            break
        else:
            refused[name] = why
    if refused or not taken:
        reasons = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise RefusedError(
            f"nothing is imported: {reasons or 'there is no document among the files'}"[:2000],
            code="collateral.refused",
        )
    return list(taken.values())


def _document(way: Candidate, trust: TrustStore) -> Import:
    found = read(way.body, way.chain, trust)
    suffix = ".json" if way.body.lstrip()[:1] == b"{" else _SUFFIX[found.key.split(".")[1]]
    chain = {f"{found.key}.chain.pem": found.chain} if found.chain else {}
    return Import(
        key=found.key,
        order=found.order,
        files={**chain, found.key + suffix: found.body},
        next_update=found.next_update.isoformat(),
    )


def _amd_list(raw: bytes, ark: bytes, trust: TrustStore) -> Import:
    found = verified(record_of(raw, ark), trust)
    key = f"crl.{found.product.value}"
    return Import(
        key=key,
        order=found.order,
        files={f"{key}.ark.pem": to_pem(Certificate.from_bytes(ark)), f"{key}.crl": raw},
        next_update=found.next_update.isoformat(),
    )


def _is_newer(directory: Path, one: Import, trust: TrustStore) -> bool:
    """Whether the directory has nothing under this name that is as new."""
    there = {}
    for name in one.files:
        try:
            there[name] = read_private(directory / name, limit=MAX_FILE)
        except NotFoundError:
            return True
    try:
        before = {item.key: item.order for item in _believed(sort(there), trust)}
    except RefusedError:
        return True
    return one.key not in before or before[one.key] < one.order
