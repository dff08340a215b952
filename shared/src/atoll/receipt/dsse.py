"""DSSE v1: a payload, its type, and one Ed25519 signature over both.

Source: secure-systems-lab/dsse, protocol.md and envelope.md, version 1.0.0. The signature is over
PAE("DSSEv1", type, payload), never over the JSON around it. Stricter than the specification:
exactly one signature, standard base64 with padding in its one form, no other field, and the
`keyid` is the hex SHA-256 of the public key and must be that of the key used to verify.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Self

from atoll.errors import ReceiptError, SealError
from atoll.sealing.signature import SIGNATURE_SIZE, SigningKey, verify_bytes

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_PAYLOAD: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A parsed envelope; `payload` is a claim until `verify` returned it."""

    payload: bytes
    keyid: str
    signature: bytes

    def to_plain(self) -> dict[str, Any]:
        """The JSON form, as plain values."""
        return {
            "payload": b64(self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": self.keyid, "sig": b64(self.signature)}],
        }

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Parse the JSON form.

        Raises:
            ReceiptError: `receipt.malformed`; `receipt.unsupported`, another payload type.
        """
        _require_keys(value, {"payload", "payloadType", "signatures"}, "envelope")
        if value["payloadType"] != PAYLOAD_TYPE:
            raise ReceiptError(
                f"envelope holds {str(value['payloadType'])[:80]!r}, want {PAYLOAD_TYPE!r}",
                code="receipt.unsupported",
            )
        signatures = value["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise malformed("envelope must have exactly one signature")
        _require_keys(signatures[0], {"keyid", "sig"}, "signature")
        keyid = signatures[0]["keyid"]
        if not isinstance(keyid, str):
            raise malformed("keyid is not a text")
        signature = from_b64(signatures[0]["sig"], "sig", SIGNATURE_SIZE)
        if len(signature) != SIGNATURE_SIZE:
            raise malformed(f"sig is {len(signature)} bytes, want {SIGNATURE_SIZE}")
        return cls(
            payload=from_b64(value["payload"], "payload", MAX_PAYLOAD),
            keyid=keyid,
            signature=signature,
        )


def keyid_of(public: bytes) -> str:
    """How an envelope names the key that signed it."""
    return hashlib.sha256(public).hexdigest()


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: lengths in decimal ASCII, single spaces."""
    type_ = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(type_), type_, len(payload), payload)


def sign(payload: bytes, key: SigningKey) -> Envelope:
    """Sign an in-toto statement."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload is at most {MAX_PAYLOAD} bytes")
    return Envelope(
        payload=payload,
        keyid=keyid_of(key.public_bytes),
        signature=key.sign_bytes(pae(PAYLOAD_TYPE, payload)),
    )


def verify(envelope: Envelope, public: bytes) -> bytes:
    """The payload, if `public` signed it.

    Raises:
        ReceiptError: `receipt.signature`.
    """
    if envelope.keyid != keyid_of(public):
        raise ReceiptError(
            f"envelope names key {envelope.keyid[:80]!r}, want {keyid_of(public)!r}",
            code="receipt.signature",
        )
    try:
        verify_bytes(public, envelope.signature, pae(PAYLOAD_TYPE, envelope.payload))
    except SealError as error:
        raise ReceiptError(f"envelope: {error.message}", code="receipt.signature") from error
    return envelope.payload


def b64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def from_b64(text: Any, what: str, limit: int) -> bytes:
    """The inverse of `b64`, for at most `limit` bytes.

    Raises:
        ReceiptError: `receipt.malformed`.
    """
    if not isinstance(text, str) or len(text) > 4 * (-(-limit // 3)):
        raise malformed(f"{what} is not base64 of at most {limit} bytes")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"{what} is not base64") from error
    # Stray bits in the last character would make several texts of one value.
    if len(raw) > limit or b64(raw) != text:
        raise malformed(f"{what} is not base64 in its one form")
    return raw


def malformed(why: str) -> ReceiptError:
    """The error for what is not a receipt file of this form."""
    return ReceiptError(f"receipt: {why}", code="receipt.malformed")


def _require_keys(value: Any, want: set[str], what: str) -> None:
    if not isinstance(value, dict) or value.keys() != want:
        raise malformed(f"{what} must have exactly {', '.join(sorted(want))}")
