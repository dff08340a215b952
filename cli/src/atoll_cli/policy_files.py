"""Policy documents, records and reference values as files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from atoll import canonical
from atoll.client.files import read_private
from atoll.client.plan import read_party
from atoll.cose import PublicKey
from atoll.errors import InputError
from atoll.policy import records, signed
from atoll.policy.document import PolicyDocument
from atoll.policy.records import AppraisalRecord
from atoll.policy.signed import MAX_SIGNED, SignedPolicy
from atoll.sealing.public_key import parse_public_key

RECORD_SUFFIX: Final = ".appraisal"
MAX_RECORDS: Final = 100_000
_MAX_KEY: Final = 16 << 10


def read_policy(path: Path) -> tuple[PolicyDocument, SignedPolicy | None]:
    """A document, with its unchecked signatures if it has any. Spaces and lines are legal.

    Raises:
        InputError: `policy.invalid`, `name.invalid`, `json.*`, `file.*`.
    """
    value = _json(path)
    if isinstance(value, dict) and value.get("format") == signed.FORMAT:
        policy = SignedPolicy.from_bytes(canonical.dumps(value))
        return policy.document, policy
    return PolicyDocument.from_plain(value), None


def read_signed(path: Path) -> bytes:
    """The canonical bytes of a signed document, which a person may have written with spaces.

    Raises:
        InputError: `policy.invalid`, `json.*`, `file.*`.
    """
    return canonical.dumps(_json(path))


def pretty(document: PolicyDocument) -> bytes:
    """The document for a person to edit."""
    return (json.dumps(document.to_plain(), indent=2, ensure_ascii=False) + "\n").encode()


def read_records(directory: Path) -> list[AppraisalRecord]:
    """All records in a directory, in the order of their names.

    Raises:
        InputError: `file.*`, `records.too_many`; MessageError: a file that is no record.
    """
    paths = sorted(directory.glob(f"*{RECORD_SUFFIX}"))
    if len(paths) > MAX_RECORDS:
        raise InputError(f"{directory} has {len(paths)} records", code="records.too_many")
    return [records.from_bytes(read_private(path, limit=records.MAX_RECORD)) for path in paths]


def read_keys(paths: Mapping[str, Path]) -> dict[bytes, PublicKey]:
    """Public keys in PEM, by key id.

    Raises:
        InputError: `key.invalid`, `file.*`.
    """
    return {kid.encode(): _public_key(path) for kid, path in paths.items()}


def read_public_key(path: Path) -> PublicKey:
    """A public key in PEM, or the signing key of a party: its public file, or what `atoll keys
    show --json` prints.

    Raises:
        InputError: `key.invalid`, `party.invalid`, `file.*`.
    """
    raw = read_private(path, limit=_MAX_KEY)
    if raw.startswith(b"{"):
        return _supported(path, parse_public_key(read_party(raw, str(path)).signing_key))
    return _public_key(path)


def _public_key(path: Path) -> PublicKey:
    try:
        key = load_pem_public_key(read_private(path, limit=_MAX_KEY))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no public key in PEM", code="key.invalid") from error
    return _supported(path, key)


def _supported(path: Path, key: object) -> PublicKey:
    if not isinstance(key, Ed25519PublicKey | EllipticCurvePublicKey):
        raise InputError(f"{path} is neither an Ed25519 nor an EC key", code="key.invalid")
    return key


def _json(path: Path) -> Any:
    try:
        return canonical.parse(read_private(path, limit=2 * MAX_SIGNED))
    except InputError as error:
        message = f"{path}: {error.message}"[:300]
        raise InputError(message, code="policy.invalid") from error
