"""`atoll image build|lock|show`; `reference` adds `atoll image reference`."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.files import read_private
from atoll.measure.guest import (
    CMDLINE_FILE,
    DESCRIPTION_FILE,
    DOCKER_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    MAX_DESCRIPTION,
    parse_description,
)
from atoll_cli.image.build import Places, build, default_cache, lock
from atoll_cli.image.refusal import refuse
from atoll_cli.lazy import LazyGroup
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session

_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_PACKAGE: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_lock_option: Final = click.option(
    "--lock",
    "locks",
    metavar="DIR",
    type=_FOLDER,
    default=Path("infra/image"),
    show_default=True,
    help="Folder with packages.in, packages.lock and wheels.lock.",
)
_cache_option: Final = click.option(
    "--cache", metavar="DIR", type=_FOLDER, help="Packages by their SHA-256. [~/.cache/atoll]"
)
_mirror_option: Final = click.option(
    "--mirror", metavar="URI", help="An archive of Debian; default: what apt of this machine has."
)


@click.group(cls=LazyGroup, lazy={"reference": "atoll_cli.commands.reference:reference"})
def image() -> None:
    """The guest's image: kernel, root in RAM and command line, the same bytes on any machine."""


@image.command(name="build")
@click.option("--out", "-o", metavar="DIR", type=_FOLDER, required=True, help="Where it goes.")
@click.option(
    "--agent",
    metavar="DIR",
    type=_PACKAGE,
    help="Folder of the package atoll_agent. [as installed here]",
)
@click.option(
    "--library",
    metavar="DIR",
    type=_PACKAGE,
    help="Folder of the package atoll. [as installed here]",
)
@_lock_option
@_cache_option
@_mirror_option
@json_option
@pass_session
def build_command(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    out: Path,
    agent: Path | None,
    library: Path | None,
    locks: Path,
    cache: Path | None,
    mirror: str | None,
) -> None:
    """Build the image that the lock says.

    Prints one line of JSON: its digest, those of its parts, bytes and seconds. Packages that the
    cache lacks are fetched from where this machine gets its own.
    """
    began = time.monotonic()
    places = Places(
        locks=locks,
        cache=cache or default_cache(session.env),
        mirror=mirror,
        roots=_roots(agent, library),
    )
    found = build(places, out, session.say).description
    line = {
        "digest": found.digest,
        "kernel": found.kernel,
        "initrd": found.initrd,
        "cmdline": found.cmdline,
        "bytes": found.bytes,
        "seconds": round(time.monotonic() - began, 1),
    }
    if session.as_json:
        session.document(line)
    else:
        session.print(json.dumps(line))


@image.command(name="lock")
@_lock_option
@_cache_option
@_mirror_option
@json_option
@pass_session
def lock_command(session: Session, locks: Path, cache: Path | None, mirror: str | None) -> None:
    """Lock the versions of today. What is built from them is another image."""
    places = Places(locks=locks, cache=cache or default_cache(session.env), mirror=mirror)
    debs, wheels = lock(places, session.say)
    for deb in debs:
        session.print(f"{deb.name} {deb.version}")
    for wheel in wheels:
        session.print(f"{wheel.name} {wheel.version}")
    session.document(
        {"debs": [asdict(item) for item in debs], "wheels": [asdict(item) for item in wheels]}
    )


@image.command()
@click.argument("folder", metavar="DIR", type=_PACKAGE)
@json_option
@pass_session
def show(session: Session, folder: Path) -> None:
    """Show the image in DIR, after hashing its files: what differs is refused."""
    found = parse_description(read_private(folder / DESCRIPTION_FILE, limit=MAX_DESCRIPTION))
    for name, want in (
        (KERNEL_FILE, found.kernel),
        (INITRD_FILE, found.initrd),
        (CMDLINE_FILE, found.cmdline),
        (DOCKER_FILE, found.docker),
    ):
        _require_file(folder / name, want)
    shown: dict[str, Any] = asdict(found)
    for name, value in shown.items():
        session.print(f"{name:10} {value}")
    session.document(shown)


def _require_file(path: Path, want: str) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise refuse("file", f"{path}: {error.strerror}") from error
    if digest != want:
        raise refuse("file", f"{path} is {digest}, and image.json says {want}")


def _roots(agent: Path | None, library: Path | None) -> dict[str, Path] | None:
    if agent is None and library is None:
        return None
    if agent is None or library is None:
        raise click.UsageError("--agent and --library belong together")
    return {"atoll": library, "atoll_agent": agent}
