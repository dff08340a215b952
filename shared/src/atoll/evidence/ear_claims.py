"""How claims of an attestation result are read and written, whatever it is about."""

import base64
from datetime import UTC, datetime

from atoll.errors import RejectedEvidenceError


def text(value: object) -> str:
    """Raises: TypeError."""
    if not isinstance(value, str):
        raise TypeError("want text")
    return value


def time(value: object) -> datetime:
    """From seconds since 1970 (RFC 7519, NumericDate).

    Raises:
        TypeError, OverflowError, OSError, ValueError: no whole number, or no time.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("want seconds as an integer")
    return datetime.fromtimestamp(value, UTC)


def b64(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(encoded: str) -> bytes:
    """Raises: ValueError."""
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)


def rejected(check: str, message: str) -> RejectedEvidenceError:
    """The error `ear.<check>`, to raise."""
    return RejectedEvidenceError(f"attestation result {message}", code=f"ear.{check}")
