"""A vendor of our own that signs SGX and TDX quotes, good and bad.

`vendor()` has the same names as Intel's hierarchy under other keys. Everything can be
changed before it is signed, which only a test can do. Long, because certificates,
collateral and quotes of one vendor refer to each other.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from atoll.evidence import _der
from atoll.evidence._fixed import FixedWriter
from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.dcap.intel_chain import IntelRoot, IntelRoots
from atoll.evidence.dcap.pck import SGX_EXTENSION
from atoll.evidence.dcap.quote import INTEL_QE_VENDOR
from atoll.evidence.dcap.signed_json import SignedJson

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
YEAR = timedelta(days=365)
MONTH = timedelta(days=30)
FMSPC = "00a0b0c0d0e0"
PCE_ID = "0000"
PPID = bytes(range(16))
QE_MR_SIGNER = bytes(range(32))
TEE_TCB_SVN = bytes([5, 1, 6]) + bytes(13)
COMPONENTS = bytes([3, 3, 2, 2, 4, 1, 0, 5]) + bytes(8)
PCE_SVN = 11
ADVISORY = "OWN-SA-1"

Key = ec.EllipticCurvePrivateKey


@cache
def key(name: str) -> Key:
    """A key for this name, the same in the whole test run."""
    del name
    return ec.generate_private_key(ec.SECP256R1())


def sign(signer: Key, message: bytes) -> bytes:
    """r || s, big-endian, as quotes and collateral have it."""
    r, s = decode_dss_signature(signer.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(signer: Key) -> bytes:
    """x || y of the public key."""
    raw = signer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return raw[1:]


def tlv(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def integer(value: int) -> bytes:
    """A DER INTEGER, with a leading 00 where the sign bit would be set."""
    return tlv(_der.INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def pair(oid: str, value: bytes) -> bytes:
    """SEQUENCE { OID, value }."""
    return tlv(_der.SEQUENCE, tlv(_der.OID, _der.oid(oid)) + value)


def pck_extension(
    *,
    components: bytes = COMPONENTS,
    pce_svn: int = PCE_SVN,
    fmspc: str = FMSPC,
    pce_id: str = PCE_ID,
    drop: tuple[str, ...] = (),
    extra: bytes = b"",
) -> bytes:
    """Intel's extension; `drop` leaves out the parts with these OID suffixes."""
    tcb = [(f".2.{n}", integer(svn)) for n, svn in enumerate(components, 1)]
    tcb += [(".2.17", integer(pce_svn)), (".2.18", tlv(_der.OCTET_STRING, components))]
    top = [
        (".1", tlv(_der.OCTET_STRING, PPID)),
        (".2", tlv(_der.SEQUENCE, _pairs(tcb, drop))),
        (".3", tlv(_der.OCTET_STRING, bytes.fromhex(pce_id))),
        (".4", tlv(_der.OCTET_STRING, bytes.fromhex(fmspc))),
        (".5", tlv(0x0A, b"\x01")),
        (".6", tlv(_der.OCTET_STRING, bytes(16))),
    ]
    return tlv(_der.SEQUENCE, _pairs(top, drop) + extra)


def _pairs(items: list[tuple[str, bytes]], drop: tuple[str, ...]) -> bytes:
    kept = (pair(SGX_EXTENSION + oid, value) for oid, value in items if oid not in drop)
    return b"".join(kept)


def name(common: str) -> x509.Name:
    """A distinguished name as Intel's are."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate shall say; `issue` signs it."""

    subject: str
    issuer: str
    subject_key: str
    serial: int
    path_length: int | None = None
    ca: bool = False
    not_before: datetime = NOW - YEAR
    not_after: datetime = NOW + YEAR
    sgx_extension: bytes | None = None
    key_usage: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    critical: str | None = None
    public_key: Any = None

    def issue(self, signer: Key) -> bytes:
        """The DER certificate, signed by `signer`."""
        public = self.public_key or key(self.subject_key).public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject))
            .issuer_name(name(self.issuer))
            .serial_number(self.serial)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
            .public_key(public)
        )
        for extension, critical in self._extensions(public):
            if extension.oid.dotted_string not in self.drop:
                builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)

    def _extensions(self, public: Any) -> list[tuple[x509.ExtensionType, bool]]:
        usage = self.key_usage
        if usage is None:
            usage = ("key_cert_sign", "crl_sign") if self.ca else ("digital_signature",)
        flags = {one: one in usage for one in _USAGES}
        point_ = x509.DistributionPoint(
            [x509.UniformResourceIdentifier("https://example.invalid/crl")], None, None, None
        )
        result: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=self.ca, path_length=self.path_length), True),
            (x509.KeyUsage(**flags), True),
            (x509.SubjectKeyIdentifier(bytes(20)), False),
            (x509.AuthorityKeyIdentifier(bytes(20), None, None), False),
            (x509.CRLDistributionPoints([point_]), False),
        ]
        if self.sgx_extension is not None:
            oid = ObjectIdentifier(SGX_EXTENSION)
            result.append((x509.UnrecognizedExtension(oid, self.sgx_extension), False))
        if self.critical is not None:
            oid = ObjectIdentifier(self.critical)
            result.append((x509.UnrecognizedExtension(oid, b"\x05\x00"), True))
        return result


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

ROOT = Certificate(
    subject="Intel SGX Root CA",
    issuer="Intel SGX Root CA",
    subject_key="root",
    serial=1,
    ca=True,
    path_length=1,
)
PLATFORM_CA = Certificate(
    subject="Intel SGX PCK Platform CA",
    issuer=ROOT.subject,
    subject_key="platform",
    serial=2,
    ca=True,
    path_length=0,
)
PROCESSOR_CA = Certificate(
    subject="Intel SGX PCK Processor CA",
    issuer=ROOT.subject,
    subject_key="processor",
    serial=3,
    ca=True,
    path_length=0,
)
TCB_SIGNING = Certificate(
    subject="Intel SGX TCB Signing", issuer=ROOT.subject, subject_key="tcb", serial=4
)
PCK = Certificate(
    subject="Intel SGX PCK Certificate",
    issuer=PLATFORM_CA.subject,
    subject_key="pck",
    serial=5,
    sgx_extension=pck_extension(),
)


def roots(root_key: str = "root", *, simulated: bool = False) -> IntelRoots:
    """Only our vendor's root."""
    spki = key(root_key).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    root = IntelRoot(spki_sha256=hashlib.sha256(spki).digest(), simulated=simulated)
    return IntelRoots(roots=frozenset({root}))


def pem(*ders: bytes) -> bytes:
    """PEM text of certificates."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)


def pem_crl(der: bytes) -> bytes:
    """PEM text of a revocation list."""
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def root_der() -> bytes:
    """Our vendor's root certificate."""
    return ROOT.issue(key("root"))


def pck_chain(pck: Certificate = PCK, issuer: Certificate = PLATFORM_CA) -> tuple[bytes, ...]:
    """PCK, its CA and the root, signed as they should be."""
    return (pck.issue(key(issuer.subject_key)), issuer.issue(key("root")), root_der())


def tcb_chain(signer: Certificate = TCB_SIGNING) -> bytes:
    """TCB signing and root, PEM."""
    return pem(signer.issue(key("root")), root_der())


def crl(
    issuer: str,
    signer: Key,
    *serials: int,
    this_update: datetime = NOW - MONTH,
    next_update: datetime = NOW + MONTH,
) -> bytes:
    """A DER revocation list."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(issuer))
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False)  # noqa: FBT003
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)


def root_crl(*serials: int, **dates: datetime) -> bytes:
    """The root's list."""
    return crl(ROOT.subject, key("root"), *serials, **dates)


def pck_crl(*serials: int, **dates: datetime) -> bytes:
    """The Platform CA's list."""
    return crl(PLATFORM_CA.subject, key("platform"), *serials, **dates)


def moment(when: datetime) -> str:
    """As in collateral."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def components(svns: bytes) -> list[dict[str, Any]]:
    """Component SVNs as version 3 writes them."""
    return [{"svn": svn} for svn in svns]


def level(
    status: str,
    *,
    sgx: bytes = COMPONENTS,
    pce_svn: int = PCE_SVN,
    tdx: bytes | None = bytes(2) + TEE_TCB_SVN[2:],
    advisories: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One level of a TCB info."""
    tcb: dict[str, Any] = {"sgxtcbcomponents": components(sgx), "pcesvn": pce_svn}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = components(tdx)
    return {
        "tcb": tcb,
        "tcbDate": moment(NOW - YEAR),
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


def svn_level(status: str, isv_svn: int, *advisories: str) -> dict[str, Any]:
    """One level of an identity."""
    result: dict[str, Any] = {
        "tcb": {"isvsvn": isv_svn},
        "tcbDate": moment(NOW - YEAR),
        "tcbStatus": status,
    }
    return result | ({"advisoryIDs": list(advisories)} if advisories else {})


def module(version: int, *levels: dict[str, Any]) -> dict[str, Any]:
    """One TDX module identity."""
    return {
        "id": f"TDX_{version:02X}",
        "mrsigner": bytes(48).hex(),
        "attributes": bytes(8).hex(),
        "attributesMask": "FF" * 8,
        "tcbLevels": list(levels),
    }


def tcb_info(tee: str = "TDX", **changes: Any) -> dict[str, Any]:
    """A TCB info under which our platform is up to date; a change to None drops a key."""
    oldest = {
        "mrsigner": bytes(48).hex(),
        "attributes": bytes(8).hex(),
        "attributesMask": "FF" * 8,
    }
    value: dict[str, Any] = {
        "id": tee,
        "version": 3,
        "issueDate": moment(NOW - MONTH),
        "nextUpdate": moment(NOW + MONTH),
        "fmspc": FMSPC.upper(),
        "pceId": PCE_ID,
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
        "tdxModule": oldest,
        "tdxModuleIdentities": [module(1, svn_level("UpToDate", 5), svn_level("OutOfDate", 3))],
        "tcbLevels": [
            level("UpToDate"),
            level("OutOfDate", sgx=bytes(16), pce_svn=5, tdx=bytes(16), advisories=(ADVISORY,)),
        ],
    }
    value |= changes
    return {name_: item for name_, item in value.items() if item is not None}


def qe_identity(id_: str = "TD_QE", **changes: Any) -> dict[str, Any]:
    """The identity of our QE."""
    value: dict[str, Any] = {
        "id": id_,
        "version": 2,
        "issueDate": moment(NOW - MONTH),
        "nextUpdate": moment(NOW + MONTH),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FB" + "FF" * 7 + "00" * 8,
        "mrsigner": QE_MR_SIGNER.hex(),
        "isvprodid": 2 if id_ == "TD_QE" else 1,
        "tcbLevels": [svn_level("UpToDate", 4), svn_level("OutOfDate", 2, "OWN-SA-QE")],
    }
    return value | changes


def signed(value: dict[str, Any], signer: str = "tcb") -> SignedJson:
    """JSON under the signature of the TCB signing key, or of another."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    return SignedJson(raw=raw, signature=sign(key(signer), raw))


def collateral(tee: str = "TDX", **changes: Any) -> Collateral:
    """Good collateral, with changed fields of `Collateral`."""
    parts: dict[str, Any] = {
        "tcb_info": signed(tcb_info(tee)),
        "tcb_info_chain": tcb_chain(),
        "qe_identity": signed(qe_identity("TD_QE" if tee == "TDX" else "QE")),
        "qe_identity_chain": tcb_chain(),
        "root_crl": root_crl(),
        "pck_crl": pck_crl(),
    }
    return Collateral(**(parts | changes))


def td_report(*, newer: bool = False, **changes: Any) -> bytes:
    """A TD report; `changes` by field, bytes or integers."""
    writer = FixedWriter(size=648 if newer else 584)
    values: dict[str, Any] = {"tee_tcb_svn": TEE_TCB_SVN, "td_attributes": 1 << 28}
    values |= {name_: bytes([at]) * 48 for at, name_ in enumerate(("mr_seam", "mr_td", "rtmr0"), 1)}
    if newer:
        values["tee_tcb_svn_2"] = TEE_TCB_SVN
    for name_, value in (values | changes).items():
        at, size = _TD_FIELDS[name_]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        writer.octets(at, size, raw)
    return writer.finish()


_TD_FIELDS = {
    "tee_tcb_svn": (0, 16),
    "mr_seam": (16, 48),
    "mr_signer_seam": (64, 48),
    "seam_attributes": (112, 8),
    "td_attributes": (120, 8),
    "xfam": (128, 8),
    "mr_td": (136, 48),
    "mr_config_id": (184, 48),
    "mr_owner": (232, 48),
    "mr_owner_config": (280, 48),
    "rtmr0": (328, 48),
    "rtmr1": (376, 48),
    "rtmr2": (424, 48),
    "rtmr3": (472, 48),
    "report_data": (520, 64),
    "tee_tcb_svn_2": (584, 16),
    "mr_service_td": (600, 48),
}


def enclave_report(**changes: Any) -> bytes:
    """An SGX enclave report; `changes` by field, bytes or integers."""
    writer = FixedWriter(size=384)
    values: dict[str, Any] = {
        "attributes": b"\x15" + bytes(15),
        "mr_signer": QE_MR_SIGNER,
        "isv_prod_id": 2,
        "isv_svn": 4,
    }
    for name_, value in (values | changes).items():
        at, size = _ENCLAVE_FIELDS[name_]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        writer.octets(at, size, raw)
    return writer.finish()


_ENCLAVE_FIELDS = {
    "cpu_svn": (0, 16),
    "misc_select": (16, 4),
    "isv_ext_prod_id": (32, 16),
    "attributes": (48, 16),
    "mr_enclave": (64, 32),
    "mr_signer": (128, 32),
    "config_id": (192, 64),
    "isv_prod_id": (256, 2),
    "isv_svn": (258, 2),
    "config_svn": (260, 2),
    "isv_family_id": (304, 16),
    "report_data": (320, 64),
}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Signs quotes. Every step can be made to go wrong by a changed field."""

    version: int = 4
    tee_type: int = 0x81
    key_type: int = 2
    vendor: bytes = INTEL_QE_VENDOR
    body: bytes = field(default_factory=td_report)
    body_type: int | None = None
    chain: tuple[bytes, ...] = field(default_factory=pck_chain)
    certification: tuple[int, bytes] | None = None
    outer_type: int = 6
    auth: bytes = bytes(range(32))
    qe: dict[str, Any] = field(default_factory=dict)
    bound_key: str = "attestation"
    attestation_key: str = "attestation"
    qe_signer: str = "pck"
    tail: bytes = b""

    @classmethod
    def sgx(cls, **changes: Any) -> Self:
        """An SGX platform with quotes of version 3."""
        body = enclave_report(mr_enclave=b"\x07" * 32, isv_prod_id=9)
        qe = {"isv_prod_id": 1}
        values: dict[str, Any] = {"version": 3, "tee_type": 0, "body": body, "qe": qe}
        return cls(**(values | changes))

    def signed_part(self) -> bytes:
        """Header, descriptor and body."""
        header = FixedWriter(size=48)
        header.uint(0, 2, self.version)
        header.uint(2, 2, self.key_type)
        header.uint(4, 4, self.tee_type)
        header.octets(12, 16, self.vendor)
        if self.version < 5:
            return header.finish() + self.body
        kinds = {384: 1, 584: 2, 648: 3}
        kind = self.body_type or kinds[len(self.body)]
        return header.finish() + le(kind, 2) + le(len(self.body), 4) + self.body

    def quote(self) -> bytes:
        """The whole quote."""
        signed_part = self.signed_part()
        ak = point(key(self.bound_key))
        bound = hashlib.sha256(ak + self.auth).digest() + bytes(32)
        qe = enclave_report(**({"report_data": bound} | self.qe))
        kind, data = self.certification or (5, pem(*self.chain) + b"\x00")
        inner = qe + sign(key(self.qe_signer), qe) + le(len(self.auth), 2) + self.auth
        inner += le(kind, 2) + le(len(data), 4) + data
        if self.version > 3:
            inner = le(self.outer_type, 2) + le(len(inner), 4) + inner
        signer = key(self.attestation_key)
        signature_data = sign(signer, signed_part) + point(signer) + inner
        return signed_part + le(len(signature_data), 4) + signature_data + self.tail


def le(value: int, size: int) -> bytes:
    """A little-endian integer."""
    return value.to_bytes(size, "little")
