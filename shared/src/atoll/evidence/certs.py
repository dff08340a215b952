"""What a VCEK or VLEK certificate says about a chip (AMD 57230, section 3).

| OID below 1.3.6.1.4.1.3704.1 | meaning              | encoding                      |
| .1                           | structure version    | INTEGER, 0; 1 on Turin        |
| .2                           | product name         | IA5String, "Milan-B0", "Turin"|
| .3.1 .3.2 .3.3 .3.8          | BL, TEE, SNP, ucode  | INTEGER, 0 to 255             |
| .3.4 to .3.7                 | reserved             | INTEGER 0, may be absent      |
| .3.9                         | FMC                  | INTEGER, Turin only           |
| .4                           | HWID                 | raw bytes: 64, or 8 on Turin  |
| .5                           | CSP_ID               | IA5String, VLEK only          |

A VCEK has .4 and no .5, a VLEK .5 and no .4. HWID has no OCTET STRING header inside
the extension value, unlike what the table of contents of a certificate suggests.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.x509 import Certificate

AMD: Final = "1.3.6.1.4.1.3704.1"
OID_STRUCT_VERSION: Final = f"{AMD}.1"
OID_PRODUCT: Final = f"{AMD}.2"
OID_BOOTLOADER: Final = f"{AMD}.3.1"
OID_TEE: Final = f"{AMD}.3.2"
OID_SNP: Final = f"{AMD}.3.3"
OID_RESERVED: Final = (f"{AMD}.3.4", f"{AMD}.3.5", f"{AMD}.3.6", f"{AMD}.3.7")
OID_MICROCODE: Final = f"{AMD}.3.8"
OID_FMC: Final = f"{AMD}.3.9"
OID_HWID: Final = f"{AMD}.4"
OID_CSP: Final = f"{AMD}.5"

MAX_TEXT: Final = 128


class Signer(Enum):
    """Which key signs reports: SIGNING_KEY in the report, the kind of certificate here."""

    VCEK = "vcek"
    VLEK = "vlek"


@dataclass(frozen=True, slots=True, kw_only=True)
class VekExtensions:
    """The AMD extensions of one VCEK or VLEK certificate."""

    signer: Signer
    product: Product
    tcb: TcbVersion
    hwid: bytes | None
    csp_id: str | None

    @classmethod
    def of(cls, certificate: Certificate) -> Self:
        """Read them.

        Raises:
            MalformedEvidenceError: an extension is missing, has another encoding than
                the table says, or belongs to the other kind of certificate.
        """
        present = {item.oid: item.value for item in certificate.extensions}
        product = _product(_text(present, OID_PRODUCT))
        if _integer(present, OID_STRUCT_VERSION) != int(product.has_fmc):
            raise _fail(OID_STRUCT_VERSION, f"is not {product.value}'s structure version")
        for oid in OID_RESERVED:
            if _der.oid(oid) in present and _integer(present, oid) != 0:
                raise _fail(oid, "is reserved and not 0")
        if (_der.oid(OID_FMC) in present) != product.has_fmc:
            raise _fail(OID_FMC, f"must be there exactly on Turin, product is {product.value}")
        hwid = present.get(_der.oid(OID_HWID))
        has_csp = _der.oid(OID_CSP) in present
        if (hwid is None) != has_csp:
            raise _fail(OID_HWID, "wants HWID (VCEK) or CSP_ID (VLEK), not both, not neither")
        if hwid is not None and len(hwid) != product.hwid_size:
            raise _fail(OID_HWID, f"is {len(hwid)} bytes, {product.value} has {product.hwid_size}")
        return cls(
            signer=Signer.VLEK if hwid is None else Signer.VCEK,
            product=product,
            tcb=_tcb(present, product),
            hwid=hwid,
            csp_id=_text(present, OID_CSP) if has_csp else None,
        )


def _tcb(present: dict[bytes, bytes], product: Product) -> TcbVersion:
    return TcbVersion(
        fmc=_byte(present, OID_FMC) if product.has_fmc else 0,
        bootloader=_byte(present, OID_BOOTLOADER),
        tee=_byte(present, OID_TEE),
        snp=_byte(present, OID_SNP),
        microcode=_byte(present, OID_MICROCODE),
    )


def _fail(oid: str, reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError(f"VEK extension {oid}", 0, reason)


def _value(present: dict[bytes, bytes], oid: str) -> DerReader:
    try:
        return DerReader(present[_der.oid(oid)], structure=f"VEK extension {oid}")
    except KeyError as error:
        raise _fail(oid, "is missing") from error


def _integer(present: dict[bytes, bytes], oid: str) -> int:
    reader = _value(present, oid)
    value = reader.uint()
    reader.finish()
    return value


def _byte(present: dict[bytes, bytes], oid: str) -> int:
    value = _integer(present, oid)
    if value > 0xFF:  # noqa: PLR2004
        raise _fail(oid, f"is {value}, want 0 to 255")
    return value


def _text(present: dict[bytes, bytes], oid: str) -> str:
    reader = _value(present, oid)
    value = reader.content(_der.IA5_STRING)
    reader.finish()
    if not 1 <= len(value) <= MAX_TEXT or not all(0x20 <= octet < 0x7F for octet in value):  # noqa: PLR2004
        raise _fail(oid, "is not 1 to 128 printable ASCII characters")
    return value.decode("ascii")


def _product(name: str) -> Product:
    # Older certificates append the stepping: "Milan-B0" (AMD 57230, table 9).
    line, _, stepping = name.partition("-")
    if any(line == product.value for product in Product) and (stepping or line == name):
        return Product(line)
    raise _fail(OID_PRODUCT, f"{name!r} is not a known product")
