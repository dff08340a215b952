"""A development certificate chain in AMD's format: ARK-Simulated, SEV-Simulated, VCEK.

Differences from AMD's: the names, and the VCEK's serial number, which is 1 where
AMD's is 0. The CA keys are not kept: what is saved can sign reports of this one
simulated chip and cannot make further certificates.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from atoll.errors import EvidenceError, InputError
from atoll.evidence import certs
from atoll.evidence.cert_table import ARK, ASK, VCEK, CertificateTable
from atoll.evidence.certs import VekExtensions
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.x509 import Certificate, ders

DEFAULT_TCB: Final = TcbVersion(bootloader=1, tee=1, snp=1, microcode=1)

_CA_LIFETIME: Final = timedelta(days=25 * 365)
_VCEK_LIFETIME: Final = timedelta(days=7 * 365)
_BACKDATED: Final = timedelta(days=1)
"""So that a host whose clock is a little behind does not refuse a fresh chain."""
_RSA_BITS: Final = 4096
_KEY_MARK: Final = b"-----BEGIN PRIVATE KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentKeys:
    """The three private keys that a chain is made with."""

    ark: rsa.RSAPrivateKey = field(repr=False)
    ask: rsa.RSAPrivateKey = field(repr=False)
    vcek: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Fresh keys; takes seconds, because AMD's format wants RSA-4096 twice."""
        return cls(
            ark=rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS),
            ask=rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS),
            vcek=ec.generate_private_key(ec.SECP384R1()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentChain:
    """Certificates in DER, and the one key that signs reports."""

    ark: bytes = field(repr=False)
    ask: bytes = field(repr=False)
    vcek: bytes = field(repr=False)
    vcek_key: ec.EllipticCurvePrivateKey = field(repr=False)
    chip_id: bytes
    tcb: TcbVersion

    @classmethod
    def generate(
        cls,
        *,
        now: datetime,
        keys: DevelopmentKeys,
        chip_id: bytes,
        tcb: TcbVersion = DEFAULT_TCB,
    ) -> Self:
        """Make a chain for one simulated chip.

        Args:
            now: start of validity, less a day; truncated to seconds.
            keys: see `DevelopmentKeys.generate`.
            chip_id: 64 random bytes.
            tcb: the versions that the VCEK is for; `fmc` must be 0.
        """
        if len(chip_id) != Product.SIMULATED.hwid_size or tcb.fmc:
            raise ValueError("want a chip id of 64 bytes and no FMC version")
        start = now.replace(microsecond=0) - _BACKDATED
        ark_name, ask_name = _name("ARK-Simulated"), _name("SEV-Simulated")
        ark = _ca(ark_name, ark_name, keys.ark, keys.ark, start, serial=0x10000, path_length=None)
        ask = _ca(ask_name, ark_name, keys.ask, keys.ark, start, serial=0x10001, path_length=0)
        vcek = _vcek(ask_name, keys, start, chip_id, tcb)
        return cls(ark=ark, ask=ask, vcek=vcek, vcek_key=keys.vcek, chip_id=chip_id, tcb=tcb)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Load what `to_pem` saved.

        Does not check signatures or dates: that is for those who verify reports.

        Raises:
            InputError: `simulated.chain`: not such a file, or the key is not the VCEK's.
        """
        certificates, mark, key_pem = pem.partition(_KEY_MARK)
        try:
            parsed = [Certificate.from_bytes(der) for der in ders(certificates)]
            by_name = {one.subject_cn: one for one in parsed}
            ark, ask, vcek = (
                by_name[name] for name in ("ARK-Simulated", "SEV-Simulated", "SEV-VCEK")
            )
            extensions = VekExtensions.of(vek := vcek)
            key = load_pem_private_key(mark + key_pem, password=None)
            public = load_der_public_key(vek.spki)
        except (EvidenceError, KeyError, ValueError, TypeError) as error:
            raise _invalid("cannot be read") from error
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey)
            or key.public_key() != public
            or extensions.hwid is None
        ):
            raise _invalid("has a key that is not the VCEK's")
        return cls(
            ark=ark.der,
            ask=ask.der,
            vcek=vcek.der,
            vcek_key=key,
            chip_id=extensions.hwid,
            tcb=extensions.tcb,
        )

    def to_pem(self) -> bytes:
        """VCEK, ASK, ARK and the VCEK's private key, unencrypted: write it with mode 0600."""
        key = self.vcek_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join(map(_pem, self.certificates)) + key

    @property
    def ark_pem(self) -> bytes:
        """The root, for configuration that trusts it (`TrustStore.with_development_root`)."""
        return _pem(self.ark)

    @property
    def certificates(self) -> tuple[bytes, bytes, bytes]:
        """What goes with a report."""
        return (self.vcek, self.ask, self.ark)

    def table(self) -> CertificateTable:
        """The same as the certificate table of an extended report."""
        return CertificateTable(entries=((VCEK, self.vcek), (ASK, self.ask), (ARK, self.ark)))


def _invalid(reason: str) -> InputError:
    return InputError(f"development chain {reason}", code="simulated.chain")


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Atoll development"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SIMULATED, no hardware"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, start: datetime, lifetime: timedelta, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
    )


def _ca(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer_key: rsa.RSAPrivateKey,
    start: datetime,
    *,
    serial: int,
    path_length: int | None,
) -> bytes:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=subject == issuer,
        encipher_only=False,
        decipher_only=False,
    )
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    builder = (
        _builder(subject, issuer, start, _CA_LIFETIME, serial)
        .public_key(key.public_key())
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
    )
    return _sign(builder, issuer_key)


def _vcek(
    issuer: x509.Name,
    keys: DevelopmentKeys,
    start: datetime,
    chip_id: bytes,
    tcb: TcbVersion,
) -> bytes:
    name = Product.SIMULATED.value.encode("ascii")
    values = {
        certs.OID_STRUCT_VERSION: _integer(0),
        certs.OID_PRODUCT: bytes((0x16, len(name))) + name,
        certs.OID_BOOTLOADER: _integer(tcb.bootloader),
        certs.OID_TEE: _integer(tcb.tee),
        certs.OID_SNP: _integer(tcb.snp),
        certs.OID_MICROCODE: _integer(tcb.microcode),
        **{oid: _integer(0) for oid in certs.OID_RESERVED},
        certs.OID_HWID: chip_id,
    }
    builder = _builder(_name("SEV-VCEK"), issuer, start, _VCEK_LIFETIME, serial=1)
    builder = builder.public_key(keys.vcek.public_key())
    for oid, value in values.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return _sign(builder, keys.ask)


def _integer(value: int) -> bytes:
    """DER INTEGER of one byte's range, with the zero that values from 0x80 need."""
    content = value.to_bytes(1 + (value >= 0x80), "big")  # noqa: PLR2004
    return bytes((0x02, len(content))) + content


def _sign(builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey) -> bytes:
    scheme = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
    return builder.sign(key, SHA384(), rsa_padding=scheme).public_bytes(Encoding.DER)
