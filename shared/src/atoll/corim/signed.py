"""Who says that these are the reference values: CoRIM in COSE_Sign1 (section 4.2).

The protected header says application/rim+cbor, the key id and, under 8, the corim-meta-map:
the signer's name and until when the signature counts. The payload is the tagged CoRIM itself;
detached payloads and hash envelopes are refused, and so are CWT claims in place of the meta map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import cbor, cose
from atoll.corim.codec import MAX_CORIM, from_cbor, read_validity, to_cbor, validity_map
from atoll.corim.values import Corim, Validity, invalid, require_text
from atoll.errors import InputError

MEDIA_TYPE: Final = "application/rim+cbor"
MAX_SIGNED: Final = MAX_CORIM + 4096

_META: Final = 8
_TIME: Final = 1
_URI: Final = 32
_HEADERS: Final = frozenset({cose.ALG, cose.CONTENT_TYPE, cose.KID, _META})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCorim:
    """Reference values with a signature that holds."""

    corim: Corim
    signer: str
    """What the signer calls itself; `kid` is whose key it was."""
    kid: bytes


def sign_corim(
    corim: Corim,
    key: Ed25519PrivateKey,
    *,
    kid: bytes,
    signer: str,
    validity: Validity | None = None,
) -> bytes:
    """Sign under EdDSA. Raises: InputError: the signer's name cannot be."""
    require_text(signer, "signer")
    meta: dict[int, Any] = {0: {0: signer}}
    if validity is not None:
        meta[1] = validity_map(validity)
    protected = {cose.CONTENT_TYPE: MEDIA_TYPE, _META: cbor.dumps(meta)}
    return cose.sign1(to_cbor(corim), key, kid=kid, protected=protected)


def verify_corim(raw: bytes, keys: Mapping[bytes, cose.PublicKey], *, now: datetime) -> SignedCorim:
    """Check who signed, and that it counts now.

    1. The signature is by a key that is known here, over a message that says it is a CoRIM.
    2. The signature's validity, if it has one, covers `now`.
    3. The payload is a CoRIM that this build understands in full.
    4. The CoRIM's validity, if it has one, covers `now`.

    Does not check: whether that signer may speak about these environments.

    Raises:
        InputError: `cose.*`, `cbor.malformed`, `corim.invalid`, `corim.unsupported`,
            `corim.expired`.
    """
    # 1
    signed = cose.verify1(raw, keys, limit=MAX_SIGNED)
    header = signed.protected
    if header.keys() != _HEADERS or header[cose.CONTENT_TYPE] != MEDIA_TYPE:
        raise invalid(f"has a header that is not of {MEDIA_TYPE} with a corim-meta-map")
    # 2
    signer, validity = _meta(header[_META])
    _require(validity, now, "signature")
    # 3
    corim = from_cbor(signed.payload)
    # 4
    _require(corim.validity, now, "content")
    return SignedCorim(corim=corim, signer=signer, kid=signed.kid)


def _meta(raw: Any) -> tuple[str, Validity | None]:
    if not isinstance(raw, bytes):
        raise invalid("has a corim-meta-map that is not in bytes")
    meta = cbor.loads(raw, limit=MAX_CORIM, tags=(_TIME, _URI))
    if not isinstance(meta, dict) or not {0} <= meta.keys() <= {0, 1}:
        raise invalid("has a corim-meta-map without signer, or with unknown members")
    signer = meta[0]
    if not isinstance(signer, dict) or not {0} <= signer.keys() <= {0, 1}:
        raise invalid("has a signer without name, or with unknown members")
    if not isinstance(signer[0], str):
        raise invalid("has a signer whose name is not text")
    require_text(signer[0], "signer")
    return signer[0], read_validity(meta[1]) if 1 in meta else None


def _require(validity: Validity | None, now: datetime, what: str) -> None:
    if validity is not None and not validity.covers(now):
        raise InputError(
            f"CoRIM: the {what} counts from {validity.not_before} to {validity.not_after}, "
            f"and it is {now}",
            code="corim.expired",
        )
