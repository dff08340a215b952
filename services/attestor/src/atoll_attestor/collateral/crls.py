"""Which revocation list counts for AMD's chains. Pure.

A list is believed for its issuer's signature, not for where it came from, so anybody may hand
one in. A list that has expired is kept and used as well: then the appraisal refuses with
`snp.crl`, instead of quietly doing without. Only a newer one takes its place.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.errors import EvidenceError, RejectedEvidenceError
from atoll.evidence.chain import read_certificate, verify_crl
from atoll.evidence.products import Product
from atoll.evidence.trust import TrustStore
from atoll.evidence.x509 import Certificate, RevocationList, ders
from atoll.wire.messages import CrlRecord

_ROOT: Final = "ARK-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCrl:
    """A list whose signature holds under a trusted root."""

    product: Product
    crl: bytes
    this_update: datetime
    next_update: datetime

    @property
    def order(self) -> tuple[datetime, bytes]:
        """Later ones take the place of earlier ones; equal times are told apart somehow."""
        return self.this_update, hashlib.sha256(self.crl).digest()


def verified(record: CrlRecord, trust: TrustStore) -> KnownCrl:
    """A list with its issuer's certificate, which must be one of the trusted roots.

    Does not check that it is current.

    Raises:
        EvidenceError: malformed, of another issuer, or not signed by it;
            `evidence.untrusted_root`.
    """
    certificates = ders(record.ark)
    ark = Certificate.from_bytes(certificates[0])
    product = _product(ark.subject_cn)
    root = product and trust.find(product, hashlib.sha256(ark.spki).digest())
    if len(certificates) != 1 or product is None or root is None:
        raise RejectedEvidenceError(
            f"{ark.subject_cn!r} with this key is not a trusted root",
            code="evidence.untrusted_root",
        )
    claimed = RevocationList.from_bytes(record.crl)
    # At its own time, because whether it is current is for the appraisal to say.
    crl = verify_crl(record.crl, record.ark, now=claimed.this_update)
    return KnownCrl(
        product=product,
        crl=record.crl,
        this_update=crl.this_update,
        next_update=crl.next_update,
    )


def for_chain(known: Mapping[Product, KnownCrl], certs: Sequence[bytes]) -> tuple[bytes, ...]:
    """The list of the root that evidence brought along, or none."""
    for raw in certs:
        try:
            names = [read_certificate(der).subject_cn for der in ders(raw)]
        except EvidenceError:
            continue  # the appraisal says what is wrong with it
        for name in names:
            found = known.get(product) if (product := _product(name)) else None
            if found is not None:
                return (found.crl,)
    return ()


def roots_in(raw: bytes) -> dict[Product, bytes]:
    """The certificates named like roots, in DER; they may be anybody's.

    Raises:
        EvidenceError: not certificates in PEM or DER.
    """
    named = ((_product(Certificate.from_bytes(der).subject_cn), der) for der in ders(raw))
    return {product: der for product, der in named if product is not None}


def _product(name: str) -> Product | None:
    if not name.startswith(_ROOT):
        return None
    return next((item for item in Product if item.value == name.removeprefix(_ROOT)), None)
