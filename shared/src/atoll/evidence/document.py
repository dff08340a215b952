"""What an enclave publishes about itself: evidence, and the keys that it is about.

A conceptual message wrapper (`cmw`, RFC 9999) in CBOR: a collection `urn:atoll:evidence:v1` of

| label    | media type                                   | role        | value                    |
| binding  | application/vnd.atoll.enclave-binding+cbor   | evidence    | map of the fields below  |
| evidence | application/vnd.atoll.{sev-snp-report,       | evidence    | what the hardware signed |
|          | tdx-quote,keystone-report} or                |             |                          |
|          | application/vnd.atoll.vtpm-report+cbor       |             |                          |
| cert0... | application/pkix-cert (DER) or               | endorsement | certificate              |
|          | application/pem-certificate-chain            |             |                          |

`binding` has exactly `enclave_id` (text), `signing_key`, `hpke_key`, `manifest_digest` and
`nonce` (bytes). The encoding is deterministic (RFC 8949, section 4.2.1) and no other is read,
so there is one document for one content.

The document itself is not signed. It does not have to be: `report_data` in the
hardware's report commits to both keys, the manifest and the nonce, so a changed
document no longer fits its report. `enclave_id`, and which certificates come along,
are not committed to: they help to find things and prove nothing.
"""

import hashlib
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Annotated, Final

from atoll.errors import MalformedEvidenceError, MessageError
from atoll.evidence import _cbor, cmw
from atoll.evidence.vtpm import report as vtpm_report
from atoll.framing import transcript
from atoll.wire import schema
from atoll.wire.messages import MAX_EVIDENCE
from atoll.wire.schema import Size, Token, message

MAX_DOCUMENT: Final = MAX_EVIDENCE
MAX_REPORT: Final = 16 << 10
"""Of every kind but a virtual TPM's, which brings its boot log."""
MAX_VTPM_REPORT: Final = vtpm_report.MAX_REPORT
MAX_CERT: Final = 32 << 10
MAX_CERTS: Final = 8
SIGNING_KEY_SIZE: Final = 32
HPKE_KEY_SIZE: Final = 1216
"""X-Wing: an ML-KEM-768 key of 1184 bytes and an X25519 key of 32."""
NONCE_SIZE: Final = 32
DIGEST_SIZE: Final = 32
MEMO: Final = 8
"""Documents that are remembered: one is read and named several times while it is judged."""

COLLECTION: Final = "urn:atoll:evidence:v1"
BINDING: Final = "binding"
EVIDENCE: Final = "evidence"
BINDING_TYPE: Final = "application/vnd.atoll.enclave-binding+cbor"
CERT_TYPE: Final = "application/pkix-cert"
PEM_TYPE: Final = "application/pem-certificate-chain"

_STRUCTURE: Final = "evidence document"
_PEM: Final = b"-----BEGIN "


class Tee(Enum):
    """Kinds of trusted execution environment that evidence can be of."""

    SNP = "sev-snp"
    TDX = "tdx"
    KEYSTONE = "keystone"
    VTPM = "vtpm"


REPORT_TYPES: Final[Mapping[Tee, str]] = {
    Tee.SNP: "application/vnd.atoll.sev-snp-report",
    Tee.TDX: "application/vnd.atoll.tdx-quote",
    Tee.KEYSTONE: "application/vnd.atoll.keystone-report",
    Tee.VTPM: "application/vnd.atoll.vtpm-report+cbor",
}
"""Our own: no vendor has registered a media type for these."""
_TEES: Final = {name: tee for tee, name in REPORT_TYPES.items()}


@message
class EvidenceDocument:
    """One enclave's evidence with what it binds.

    `certs` are DER or PEM: SEV-SNP's in any order; for TDX the PCK chain, leaf first, if the
    quote brings none; none for Keystone; of a virtual TPM the attestation key's and then its
    authority's. What Intel signs about a platform is not here: it is
    not the enclave's word, and one copy does for many quotes. `manifest_digest` is empty for
    an enclave that was started for no job yet.
    """

    tee: Tee
    enclave_id: Token
    report: Annotated[bytes, Size(1, MAX_VTPM_REPORT)]
    certs: Annotated[tuple[Annotated[bytes, Size(1, MAX_CERT)], ...], Size(0, MAX_CERTS)]
    signing_key: Annotated[bytes, Size(SIGNING_KEY_SIZE, SIGNING_KEY_SIZE)]
    hpke_key: Annotated[bytes, Size(HPKE_KEY_SIZE, HPKE_KEY_SIZE)]
    manifest_digest: Annotated[bytes, Size(0, DIGEST_SIZE)]
    nonce: Annotated[bytes, Size(NONCE_SIZE, NONCE_SIZE)]


def encode(document: EvidenceDocument) -> bytes:
    """The bytes to publish, and the bytes that `digest` is taken of."""
    binding = {
        "enclave_id": document.enclave_id,
        "signing_key": document.signing_key,
        "hpke_key": document.hpke_key,
        "manifest_digest": document.manifest_digest,
        "nonce": document.nonce,
    }
    members = [
        (BINDING, _evidence(BINDING_TYPE, _cbor.dumps(binding))),
        (EVIDENCE, _evidence(REPORT_TYPES[document.tee], document.report)),
        *((f"cert{number}", _endorsement(raw)) for number, raw in enumerate(document.certs)),
    ]
    return cmw.to_cbor(cmw.Collection(members=tuple(members), kind=COLLECTION))


def parse(raw: bytes) -> EvidenceDocument:
    """Read a document; proves nothing about it.

    Raises:
        MalformedEvidenceError: not a legal document, or not in its one encoding.
    """
    return _parsed(raw)


@lru_cache(maxsize=MEMO)
def _parsed(raw: bytes) -> EvidenceDocument:
    if len(raw) > MAX_DOCUMENT:
        raise _malformed(f"is {len(raw)} bytes, at most {MAX_DOCUMENT}")
    records = _records(raw)
    if BINDING not in records or EVIDENCE not in records:
        raise _malformed(f"lacks {BINDING!r} or {EVIDENCE!r}")
    binding, report = records.pop(BINDING), records.pop(EVIDENCE)
    tee = _TEES.get(str(report.type))
    if tee is None:
        raise _malformed(f"has evidence of the type {str(report.type)[:80]!r}")
    document = _document(tee, report.value, binding.value, tuple(records.values()))
    # Types, roles, labels and order follow from the content; so there is nothing left to vary.
    if encode(document) != raw:
        raise _malformed("is not in the one encoding of its content")
    return document


def digest(raw: bytes) -> bytes:
    """SHA-256 of the encoded document: what releases, results and receipts refer to."""
    return _digest(raw)


@lru_cache(maxsize=MEMO)
def _digest(raw: bytes) -> bytes:
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


def _records(raw: bytes) -> dict[str, cmw.Record]:
    found = cmw.from_cbor(raw)
    if not isinstance(found, cmw.Collection) or found.kind != COLLECTION:
        raise _malformed(f"is not a collection of the type {COLLECTION}")
    records: dict[str, cmw.Record] = {}
    for label, member in found.members:
        if not isinstance(label, str) or not isinstance(member, cmw.Record):
            raise _malformed("has a member that is no record with a name")
        records[label] = member
    return records


def _document(
    tee: Tee, report: bytes, binding: bytes, certs: tuple[cmw.Record, ...]
) -> EvidenceDocument:
    fields = _cbor.loads(binding, structure="enclave binding")
    if not isinstance(fields, dict) or fields.keys() & {"tee", "report", "certs"}:
        raise _malformed("has a binding that is no map of its fields")
    plain = {
        **fields,
        "tee": tee.value,
        "report": report,
        "certs": [record.value for record in certs],
    }
    try:
        document = schema.from_plain(EvidenceDocument, plain)
    except MessageError as error:
        raise _malformed(error.message) from error
    if len(document.manifest_digest) not in {0, DIGEST_SIZE}:
        size = len(document.manifest_digest)
        raise _malformed(f"manifest_digest is {size} bytes, want 0 or {DIGEST_SIZE}")
    if tee is not Tee.VTPM and len(report) > MAX_REPORT:
        raise _malformed(f"report is {len(report)} bytes, at most {MAX_REPORT} of {tee.value}")
    if tee is Tee.KEYSTONE and document.certs:
        raise _malformed("Keystone has no certificates")
    return document


def _evidence(media_type: str, value: bytes) -> cmw.Record:
    return cmw.Record(type=media_type, value=value, ind=cmw.CmType.EVIDENCE)


def _endorsement(raw: bytes) -> cmw.Record:
    media_type = PEM_TYPE if raw.startswith(_PEM) else CERT_TYPE
    return cmw.Record(type=media_type, value=raw, ind=cmw.CmType.ENDORSEMENTS)


def _malformed(why: str) -> MalformedEvidenceError:
    return MalformedEvidenceError(_STRUCTURE, 0, why)
