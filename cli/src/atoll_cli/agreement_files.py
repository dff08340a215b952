"""Manifests, consents and files that a plan names, read from disk."""

from collections.abc import Sequence
from pathlib import Path

from atoll.client.agreement import (
    MAX_CONSENT,
    MAX_MANIFEST_FILE,
    ConsentFile,
    ManifestFile,
)
from atoll.client.asset_store import AssetStore
from atoll.client.files import read_private
from atoll.client.plan import MAX_CARD, MAX_PUBLIC, ReadFile
from atoll.client.secret_files import DIRECTORY, SecretFiles, SecretsFor, first_of
from atoll_cli.session import Session


def read_manifest(path: Path) -> ManifestFile:
    """Raises: ManifestError `manifest.*`; InputError, NotFoundError `file.*`."""
    return ManifestFile.from_bytes(read_private(path, limit=MAX_MANIFEST_FILE))


def read_consents(paths: Sequence[Path]) -> list[ConsentFile]:
    """Raises: InputError `consent.invalid`; InputError, NotFoundError `file.*`."""
    return [
        ConsentFile.from_bytes(read_private(path, limit=MAX_CONSENT), str(path)) for path in paths
    ]


def beside(plan: Path) -> ReadFile:
    """Reads files whose paths are relative to the folder of the plan."""

    def read(place: str) -> bytes:
        return read_private(plan.parent / place, limit=max(MAX_CARD, MAX_PUBLIC))

    return read


def secret_files(session: Session, directory: Path | None) -> SecretFiles:
    """Where the keys of one's assets are."""
    return SecretFiles(directory or session.home / DIRECTORY)


def secrets_for(session: Session, directory: Path | None) -> SecretsFor:
    """Finds the keys of one's assets, wherever they are kept."""
    return first_of(
        secret_files(session, directory).secrets_for, AssetStore(session.home).secrets_for
    )
