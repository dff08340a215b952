"""AMD's certificates and reports, of any product line, under keys of our own."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from atoll.evidence.snp import ReportBody
from vectors.reproducible import ec_key, ecdsa, pss, rsa_key

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
YEAR = timedelta(days=365)
MONTH = timedelta(days=30)
OID = "1.3.6.1.4.1.3704.1."
CHIP = bytes(range(1, 65))
VCEK, VLEK = 0, 1
CPUID = {"Milan": (0x19, 0x01), "Genoa": (0x19, 0x11), "Turin": (0x1A, 0x02)}
SVN = {"fmc": 1, "bootloader": 4, "tee": 2, "snp": 24, "microcode": 219}
ORDER = int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16)
SCHEME = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)


def spki_sha256(key: str) -> str:
    """How a root is pinned."""
    public = rsa_key(key).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def tcb(product: str, **changes: int) -> bytes:
    """A TCB_VERSION in the product's layout."""
    svn = SVN | changes
    if product == "Turin":
        head = (svn["fmc"], svn["bootloader"], svn["tee"], svn["snp"], 0, 0, 0)
        return bytes((*head, svn["microcode"]))
    return bytes((svn["bootloader"], svn["tee"], 0, 0, 0, 0, svn["snp"], svn["microcode"]))


def name(common: str) -> x509.Name:
    """A distinguished name as AMD's are."""
    parts = (
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.LOCALITY_NAME, "Santa Clara"),
        (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
        (NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
        (NameOID.COMMON_NAME, common),
    )
    return x509.Name([x509.NameAttribute(*part) for part in parts])


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A chain of one product line; cases replace what shall be wrong."""

    product: str = "Milan"
    signer: int = VCEK
    root: str = "ark"
    chip: bytes = CHIP
    ca: bool = True
    until: datetime = NOW + YEAR
    authority_until: datetime = NOW + 20 * YEAR
    critical: str = ""
    hwid: bool | None = None
    csp: bool | None = None
    override: tuple[tuple[str, bytes], ...] = ()
    """Values of AMD's extensions, by the end of their OID."""
    issuer: str = ""
    """The VEK's issuer, instead of the one that its kind wants."""

    @property
    def intermediate(self) -> str:
        return f"SEV-{'VLEK-' if self.signer == VLEK else ''}{self.product}"

    def certificates(self) -> list[bytes]:
        """VEK, intermediate, root."""
        return [self.vek(), self.authority(), self.ark()]

    def ark(self) -> bytes:
        """The root."""
        own = f"ARK-{self.product}"
        return self._ca(own, self.root, serial=0x10000, path_length=None)

    def authority(self, common: str = "") -> bytes:
        """ASK or ASVK."""
        return self._ca(common or self.intermediate, "ask", serial=0x10001, path_length=0)

    def _ca(self, common: str, key: str, *, serial: int, path_length: int | None) -> bytes:
        root = path_length is None
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": root}
        is_ca = self.ca or root
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(name(f"ARK-{self.product}"))
            .serial_number(serial)
            .not_valid_before(NOW - 2 * YEAR)
            .not_valid_after(NOW + 20 * YEAR if root else self.authority_until)
            .public_key(rsa_key(key).public_key())
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(
                x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None),
                critical=True,
            )
        )
        made = builder.sign(rsa_key(self.root), SHA384(), rsa_padding=SCHEME)
        return made.public_bytes(Encoding.DER)

    def vek(self) -> bytes:
        """VCEK or VLEK, with serial number 0 as AMD's have."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(name("SEV-VLEK" if self.signer == VLEK else "SEV-VCEK"))
            .issuer_name(name(self.issuer or self.intermediate))
            .serial_number(1)
            .not_valid_before(NOW - YEAR)
            .not_valid_after(self.until)
            .public_key(vek_key().public_key())
        )
        for oid, value in self._extensions().items():
            item = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID + oid), value)
            builder = builder.add_extension(item, critical=False)
        if self.critical:
            item = x509.UnrecognizedExtension(x509.ObjectIdentifier(self.critical), b"\5\0")
            builder = builder.add_extension(item, critical=True)
        key = rsa_key("ask")
        made = builder.sign(key, SHA384(), rsa_padding=SCHEME)
        signed = made.tbs_certificate_bytes
        # The library would not make one with the serial number 0.
        zero = signed.replace(b"\2\1\1", b"\2\1\0", 1)
        der = made.public_bytes(Encoding.DER).replace(signed, zero)
        return der[: -key.key_size // 8] + pss(key, zero)

    def _extensions(self) -> dict[str, bytes]:
        svn, turin = SVN, self.product == "Turin"
        line = self.product.encode()
        values = {"1": integer(int(turin)), "2": bytes((0x16, len(line))) + line}
        named = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8"}
        values |= {oid: integer(svn[part]) for part, oid in named.items()}
        values |= {"3.9": integer(svn["fmc"])} if turin else {"3.4": integer(0)}
        values |= {f"3.{number}": integer(0) for number in (5, 6, 7)}
        if self.signer == VCEK if self.hwid is None else self.hwid:
            values["4"] = self.chip[:8] if turin else self.chip
        if self.signer == VLEK if self.csp is None else self.csp:
            text = b"CN=cc.example.invalid"
            values["5"] = bytes((0x16, len(text))) + text
        return values | dict(self.override)

    def crl(
        self, *serials: int, key: str = "", until: datetime = NOW + MONTH, issuer: str = ""
    ) -> bytes:
        """The root's revocation list."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name(issuer or f"ARK-{self.product}"))
            .last_update(NOW - 2 * MONTH)
            .next_update(until)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - MONTH).build())
        made = builder.sign(rsa_key(key or self.root), SHA384(), rsa_padding=SCHEME)
        return made.public_bytes(Encoding.DER)

    def report(self, **changes: Any) -> bytes:
        """A report that this chain vouches for."""
        return sign(replace(self.body(), **changes).to_bytes())

    def body(self) -> ReportBody:
        """What `report` says if nothing is changed."""
        family, model = CPUID[self.product]
        current = tcb(self.product)
        chip = self.chip[:8].ljust(64, b"\0") if self.product == "Turin" else self.chip
        return ReportBody(
            version=3,
            guest_svn=2,
            policy=0x30000,
            platform_info=0x25,
            signing_key=self.signer,
            report_data=bytes(range(64)),
            measurement=b"\x5a" * 48,
            report_id=b"\x1d" * 32,
            current_tcb=current,
            reported_tcb=current,
            committed_tcb=current,
            launch_tcb=current,
            cpuid_fam_id=family,
            cpuid_mod_id=model,
            chip_id=bytes(64) if self.signer == VLEK else chip,
            current_version=(1, 55, 21),
            committed_version=(1, 55, 21),
        )


def vek_key() -> ec.EllipticCurvePrivateKey:
    """The key that signs reports."""
    return ec_key("vek", ec.SECP384R1)


def sign(body: bytes, order: Any = "little", *, other_s: bool = False) -> bytes:
    """The report with its signature, in this byte order; `other_s` takes n - s, as good as s."""
    r, s = ecdsa(vek_key(), body, SHA384())
    s = ORDER - s if other_s else s
    parts = (one.to_bytes(48, order).ljust(72, b"\0") for one in (r, s))
    return (body + b"".join(parts)).ljust(0x4A0, b"\0")


def integer(value: int) -> bytes:
    """DER INTEGER of one byte's range."""
    content = value.to_bytes(1 + (value >= 0x80), "big")
    return bytes((2, len(content))) + content


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
