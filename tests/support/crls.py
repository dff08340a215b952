"""Revocation lists of the simulated processor's root."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from atoll.evidence.x509 import ders
from atoll.wire.messages import CrlRecord
from support.evidence import NOW, chain, keys

DAY = timedelta(days=1)


def crl(
    *serials: int, start: datetime = NOW - DAY, end: datetime = NOW + DAY, signer: str = "ark"
) -> bytes:
    """A list by the ARK (or signed with another of the chain's keys) in DER."""
    ark = x509.load_der_x509_certificate(ders(chain().ark_pem)[0])
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ark.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        builder = builder.add_revoked_certificate(revoked.build())
    scheme = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
    made = builder.sign(getattr(keys(), signer), SHA384(), rsa_padding=scheme)
    return made.public_bytes(Encoding.DER)


def record(raw: bytes) -> CrlRecord:
    """With the ARK."""
    return CrlRecord(crl=raw, ark=ders(chain().ark_pem)[0], fetched_ms=0)
