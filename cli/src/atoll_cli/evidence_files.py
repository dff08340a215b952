"""Files that go with evidence, as people have them, in the forms that judges take.

Nothing here believes anything: what cannot be read is passed on as it is, so that the
check it belongs to fails and says why.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from atoll import canonical
from atoll.client.files import read_private
from atoll.errors import EvidenceError, InputError
from atoll.evidence.x509 import INTEL, RevocationList, crl_der

MAX_EVIDENCE: Final = 64 << 20
"""A firmware image is the largest kind of evidence; parsers have closer limits."""
MAX_SIDE_FILE: Final = 4 << 20

_MAX_IN_FILE: Final = 32
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = b"\x30"
_LONG: Final = 0x80
_INTEL_ROOT: Final = "Intel SGX Root CA"
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")

COLLATERAL_ROLES: Final[Mapping[str, str]] = {
    "tcb_info": "tcb_info",
    "tcb_info_sig": "tcb_info_sig",
    "tcb_info_signature": "tcb_info_sig",
    "tcb_chain": "tcb_chain",
    "tcb_info_issuer_chain": "tcb_chain",
    "qe_identity": "qe_identity",
    "qe_identity_sig": "qe_identity_sig",
    "qe_identity_signature": "qe_identity_sig",
    "qe_chain": "qe_chain",
    "qe_identity_issuer_chain": "qe_chain",
    "root_crl": "root_crl",
    "root_ca_crl": "root_crl",
    "pck_crl": "pck_crl",
    "pck_chain": "pck_chain",
    "pck_certificate_chain": "pck_chain",
}
"""Keys of a collateral file: the roles of judges, and the names of Intel's C structure."""

_SIGNED_AS_TEXT: Final = ("tcb_info", "qe_identity")
_KEPT_AS_HEX: Final = ("tcb_info_sig", "qe_identity_sig")
_SKIPPED: Final = ("version", "tee_type", "pck_crl_issuer_chain")


def certificates(paths: Iterable[Path]) -> tuple[bytes, ...]:
    """The certificates in PEM or DER files, several in one, with any text around PEM.

    Raises:
        AtollError: a file cannot be read.
    """
    found: list[bytes] = []
    for path in paths:
        raw = read_private(path, limit=MAX_SIDE_FILE)
        blocks = _PEM.findall(raw)
        found += [block.replace(b"\r\n", b"\n") for block in blocks] or _ders(raw)
    return tuple(found)


def _ders(raw: bytes) -> list[bytes]:
    """DER values one after another; whatever is none stays one piece."""
    found: list[bytes] = []
    while raw.startswith(_SEQUENCE) and len(raw) > 1 and len(found) < _MAX_IN_FILE:
        count = raw[1] - _LONG
        size = raw[1] if count < 0 else int.from_bytes(raw[2 : 2 + count], "big")
        end = 2 + max(count, 0) + size
        found.append(raw[:end])
        raw = raw[end:]
    return [*found, raw] if raw else found


def revocation_lists(paths: Iterable[Path]) -> tuple[bytes, ...]:
    """CRLs in PEM or DER files.

    Raises:
        AtollError: a file cannot be read.
    """
    found = []
    for path in paths:
        raw = read_private(path, limit=MAX_SIDE_FILE)
        try:
            found.append(crl_der(raw))
        except EvidenceError:
            found.append(raw)
    return tuple(found)


def intel_crl_role(raw: bytes) -> str:
    """Which of the two lists of a DCAP verification this is, by its issuer."""
    try:
        root = RevocationList.from_bytes(raw, scheme=INTEL).issuer_cn == _INTEL_ROOT
    except EvidenceError:
        return "pck_crl"
    return "root_crl" if root else "pck_crl"


def collateral(path: Path) -> dict[str, bytes]:
    """The parts of a DCAP collateral file by role.

    The file is a JSON object with the keys of `COLLATERAL_ROLES`. Values are text; CRLs
    and chains may be hexadecimal of the bytes, signatures are.

    Raises:
        InputError: `collateral.invalid`.
    """
    value = json_object(path, limit=MAX_SIDE_FILE, code="collateral.invalid")
    parts: dict[str, bytes] = {}
    for key, content in value.items():
        if key in _SKIPPED or content is None:
            continue
        role = COLLATERAL_ROLES.get(key)
        if role is None or role in parts or not isinstance(content, str):
            raise InputError(
                f"{path}: {key[:40]!r} is unknown, there twice, or no text",
                code="collateral.invalid",
            )
        binary = role not in _SIGNED_AS_TEXT and role not in _KEPT_AS_HEX
        if binary and _HEX.fullmatch(content):
            parts[role] = bytes.fromhex(content)
        else:
            parts[role] = content.encode("utf-8", "surrogatepass")
    return parts


def json_object(path: Path, *, limit: int, code: str) -> dict[str, Any]:
    """A JSON object in a file, in which no key stands twice.

    Raises:
        InputError: `code`: it is not one.
        AtollError: the file cannot be read.
    """
    raw = read_private(path, limit=limit)
    try:
        value = json.loads(raw, object_pairs_hook=canonical.unique)
    except (ValueError, RecursionError, InputError) as error:
        raise InputError(f"{path} is not JSON: {error}", code=code) from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object", code=code)
    return value


def device_key(raw: bytes) -> bytes:
    """A Keystone device key, 32 bytes or their 64 hex digits; else what there is."""
    text = raw.strip().decode("ascii", "replace")
    return bytes.fromhex(text) if _HEX.fullmatch(text) else raw
