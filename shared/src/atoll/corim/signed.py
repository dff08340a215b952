"""Who says that these are the reference values: CoRIM in COSE_Sign1 (section 4.2).

| protected header | value                                                              |
| 1 alg, 4 kid     | see `cose`; a message may name no key                              |
| 3 content type   | application/rim+cbor                                               |
| 8 corim-meta     | { 0: { 0: signer's name, ? 1: URI }, ? 1: signature validity }      |
| 15 CWT claims    | { 1: issuer, ? 2: subject, ? 4: expires, ? 5: not before } (RFC 9597) |

There is one of 8 and 15 or both, which then say the same. Written is 8, which the draft calls
legacy and which older readers know. The payload is the tagged CoRIM itself; detached payloads
and hash envelopes are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import cbor, cose
from atoll.corim.codec import MAX_CORIM, from_cbor, read_validity, to_cbor, validity_map
from atoll.corim.values import Corim, Validity, invalid, require_text
from atoll.errors import InputError

MEDIA_TYPE: Final = "application/rim+cbor"
MAX_SIGNED: Final = MAX_CORIM + 4096

_META: Final = 8
_CWT: Final = 15
_TIME: Final = 1
_URI: Final = 32
_NEEDED: Final = frozenset({cose.ALG, cose.CONTENT_TYPE})
_HEADERS: Final = _NEEDED | {cose.KID, _META, _CWT}
_ISS, _SUB, _EXP, _NBF = 1, 2, 4, 5
_EVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SIGN1: Final = b"\xd2"
"""The one octet of tag 18, with which every signed CoRIM begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCorim:
    """Reference values under a signature that nobody has checked."""

    corim: Corim
    signer: str
    kid: bytes
    validity: Validity | None
    """Of the signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCorim:
    """Reference values with a signature that holds."""

    corim: Corim
    signer: str
    """What the signer calls itself; `kid` is whose key it was."""
    kid: bytes
    validity: Validity | None = None
    """Of the signature."""


def is_signed(raw: bytes) -> bool:
    """Whether these bytes, if any CoRIM, are a signed one."""
    return raw.startswith(_SIGN1)


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


def read_signed(raw: bytes) -> ClaimedCorim:
    """Read a signed CoRIM to show it. Proves nothing: not who signed, nor that it counts now.

    Raises:
        InputError: `cose.malformed`, `cbor.malformed`, `corim.invalid`, `corim.unsupported`.
    """
    message = cose.read1(raw, limit=MAX_SIGNED)
    signer, validity = _header(message.protected)
    corim = from_cbor(message.payload)
    return ClaimedCorim(corim=corim, signer=signer, kid=message.kid, validity=validity)


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
    signer, validity = _header(signed.protected)
    # 2
    _require(validity, now, "signature")
    # 3
    corim = from_cbor(signed.payload)
    # 4
    require_valid(corim, now)
    return SignedCorim(corim=corim, signer=signer, kid=signed.kid, validity=validity)


def require_valid(corim: Corim, now: datetime) -> None:
    """Return if what is in it counts now. Raises: InputError: `corim.expired`."""
    _require(corim.validity, now, "content")


def _header(header: Mapping[Any, Any]) -> tuple[str, Validity | None]:
    """Who signed and from when until when, by both ways to say so."""
    if not _NEEDED <= header.keys() <= _HEADERS or header[cose.CONTENT_TYPE] != MEDIA_TYPE:
        raise invalid(f"has a header that is not of {MEDIA_TYPE} with signer and validity alone")
    said = [read(header[key]) for key, read in ((_META, _meta), (_CWT, _cwt)) if key in header]
    if not said or said[0] != said[-1]:
        raise invalid("has a header that names no signer, or two, or two validities")
    return said[0]


def _cwt(claims: Any) -> tuple[str, Validity | None]:
    if not isinstance(claims, dict) or not {_ISS} <= claims.keys() <= {_ISS, _SUB, _EXP, _NBF}:
        raise invalid("has CWT claims without issuer, or with unknown members")
    if not isinstance(claims[_ISS], str) or not isinstance(claims.get(_SUB, ""), str):
        raise invalid("has an issuer or subject that is not text")
    require_text(claims[_ISS], "signer")
    if not claims.keys() & {_EXP, _NBF}:
        return claims[_ISS], None
    begin = _moment(claims[_NBF]) if _NBF in claims else None
    end = _moment(claims[_EXP]) if _EXP in claims else _EVER
    return claims[_ISS], Validity(not_before=begin, not_after=end)


def _moment(value: Any) -> datetime:
    try:
        if type(value) is int:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise invalid(f"has the time {str(value)[:40]}") from error
    raise invalid(f"has a time that is {type(value).__name__}, want whole seconds")


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
