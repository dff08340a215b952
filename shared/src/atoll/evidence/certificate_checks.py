"""What the chains of every vendor are checked for alike: purpose, depth and dates (RFC 5280)."""

from collections.abc import Container
from datetime import datetime
from typing import Final, NoReturn

from atoll.errors import RejectedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader
from atoll.evidence.x509 import Certificate

BASIC_CONSTRAINTS: Final = _der.oid("2.5.29.19")
KEY_USAGE: Final = _der.oid("2.5.29.15")
DIGITAL_SIGNATURE: Final = 0x80
KEY_CERT_SIGN: Final = 0x04
CRL_SIGN: Final = 0x02


def is_ca(value: bytes, path_length: int) -> bool:
    """Whether basicConstraints allow to issue certificates, `path_length` more below.

    Raises:
        MalformedEvidenceError: not basicConstraints.
    """
    outer = DerReader(value, structure="basicConstraints")
    fields = outer.nested(_der.SEQUENCE)
    outer.finish()
    flag = fields.next_is(_der.BOOLEAN) and fields.boolean()
    limit = path_length if fields.empty else fields.uint()
    fields.finish()
    return flag and limit >= path_length


def key_usage(certificate: Certificate) -> int:
    """The first byte of keyUsage; 0 without that extension."""
    extension = certificate.extension(KEY_USAGE)
    if extension is None:
        return 0
    reader = DerReader(extension.value, structure="keyUsage")
    content = reader.content(_der.BIT_STRING)
    reader.finish()
    # The first byte counts unused bits; bits 5 and 6 are in the byte after it.
    return content[1] if len(content) > 1 else 0


def check_issuer(certificate: Certificate, *, path_length: int) -> None:
    """Return if it may issue certificates, with `path_length` more below.

    Raises:
        RejectedEvidenceError: `evidence.chain_ca` or `evidence.key_usage`.
        MalformedEvidenceError: an extension is not what its name says.
    """
    name = certificate.subject_cn
    constraints = certificate.extension(BASIC_CONSTRAINTS)
    if constraints is None or not is_ca(constraints.value, path_length):
        reject("chain_ca", f"{name} may not issue certificates (basicConstraints)")
    if not key_usage(certificate) & KEY_CERT_SIGN:
        reject("key_usage", f"{name} may not sign certificates (keyUsage)")


def check_critical(certificate: Certificate, understood: Container[bytes]) -> None:
    """Return if no critical extension is another one than these, by object identifier.

    Raises:
        RejectedEvidenceError: `evidence.critical_extension`.
    """
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in understood:
            name = certificate.subject_cn
            reject("critical_extension", f"{name} has a critical extension that is not known")


def check_dates(certificate: Certificate, now: datetime) -> None:
    """Raises: RejectedEvidenceError `evidence.not_yet_valid` or `evidence.expired`."""
    if now < certificate.not_before:
        reject("not_yet_valid", f"{certificate.subject_cn} is valid from {certificate.not_before}")
    if now > certificate.not_after:
        reject("expired", f"{certificate.subject_cn} expired at {certificate.not_after}")


def reject(check: str, message: str) -> NoReturn:
    """Refuse, by the name of the check."""
    raise RejectedEvidenceError(message, code=f"evidence.{check}")
