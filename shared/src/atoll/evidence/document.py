"""What an enclave publishes about itself: evidence, and the keys that it is about.

The document itself is not signed. It does not have to be: `report_data` in the
hardware's report commits to both keys, the manifest and the nonce, so a changed
document no longer fits its report. `enclave_id`, and which certificates come along,
are not committed to: they help to find things and prove nothing.
"""

import hashlib
from enum import Enum
from typing import Annotated, Final

from atoll.errors import MalformedEvidenceError, MessageError
from atoll.framing import transcript
from atoll.wire import schema
from atoll.wire.messages import MAX_EVIDENCE
from atoll.wire.schema import Range, Size, Token, message

MAX_DOCUMENT: Final = MAX_EVIDENCE
SIGNING_KEY_SIZE: Final = 32
HPKE_KEY_SIZE: Final = 1216
"""X-Wing: an ML-KEM-768 key of 1184 bytes and an X25519 key of 32."""
NONCE_SIZE: Final = 32
DIGEST_SIZE: Final = 32


class Tee(Enum):
    """Kinds of trusted execution environment that evidence can be of."""

    SNP = "sev-snp"
    TDX = "tdx"
    KEYSTONE = "keystone"


@message
class EvidenceDocument:
    """One enclave's evidence with what it binds.

    `certs` are DER or PEM: SEV-SNP's in any order; for TDX the PCK chain, leaf first, if the
    quote brings none; none for Keystone. What Intel signs about a platform is not here: it is
    not the enclave's word, and one copy does for many quotes. `manifest_digest` is empty for
    an enclave that was started for no job yet.
    """

    version: Annotated[int, Range(1, 1)] = 1
    tee: Tee
    enclave_id: Token
    report: Annotated[bytes, Size(1, 16 << 10)]
    certs: Annotated[tuple[Annotated[bytes, Size(1, 32 << 10)], ...], Size(0, 8)]
    signing_key: Annotated[bytes, Size(SIGNING_KEY_SIZE, SIGNING_KEY_SIZE)]
    hpke_key: Annotated[bytes, Size(HPKE_KEY_SIZE, HPKE_KEY_SIZE)]
    manifest_digest: Annotated[bytes, Size(0, DIGEST_SIZE)]
    nonce: Annotated[bytes, Size(NONCE_SIZE, NONCE_SIZE)]


def encode(document: EvidenceDocument) -> bytes:
    """The bytes to publish, and the bytes that `digest` is taken of."""
    return schema.encode(document)


def parse(raw: bytes) -> EvidenceDocument:
    """Read a document; proves nothing about it.

    Raises:
        MalformedEvidenceError: not a legal document.
    """
    try:
        document = schema.decode(EvidenceDocument, raw, limit=MAX_DOCUMENT)
    except MessageError as error:
        raise MalformedEvidenceError("evidence document", 0, error.message) from error
    if len(document.manifest_digest) not in (0, DIGEST_SIZE):
        size = len(document.manifest_digest)
        raise MalformedEvidenceError(
            "evidence document", 0, f"manifest_digest is {size} bytes, want 0 or {DIGEST_SIZE}"
        )
    if document.tee is Tee.KEYSTONE and document.certs:
        raise MalformedEvidenceError("evidence document", 0, "Keystone has no certificates")
    return document


def digest(raw: bytes) -> bytes:
    """SHA-256 of the encoded document: what releases, results and receipts refer to."""
    return hashlib.sha256(raw).digest()


def report_data(signing_key: bytes, hpke_key: bytes, manifest_digest: bytes, nonce: bytes) -> bytes:
    """The 64 bytes that the processor is asked to sign (architecture, section 4, step 3)."""
    return hashlib.sha512(
        transcript("atoll evidence v1", signing_key, hpke_key, manifest_digest, nonce)
    ).digest()


def expected_report_data(document: EvidenceDocument) -> bytes:
    """`report_data` over what the document claims."""
    return report_data(
        document.signing_key, document.hpke_key, document.manifest_digest, document.nonce
    )
