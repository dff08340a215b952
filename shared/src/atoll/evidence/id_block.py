"""ID block and ID authentication information (AMD 56860, section 8.18, tables 75 and 76).

A guest's owner signs what is to be launched; the firmware compares the launch digest
and puts family, image, SVN and the digests of the keys into every report.

| off | size | ID block, 96 bytes    |
| 00  | 48   | LD, the launch digest |
| 30  | 16   | FAMILY_ID             |
| 40  | 16   | IMAGE_ID              |
| 50  | 4    | VERSION, 1            |
| 54  | 4    | GUEST_SVN             |
| 58  | 8    | POLICY                |

| off | size | ID authentication, 4096 bytes                                   |
| 000 | 4    | ID_KEY_ALGO, 1 = ECDSA P-384 with SHA-384                       |
| 004 | 4    | AUTH_KEY_ALGO, likewise, or 0 if there is no author key         |
| 008 | 56   | zero                                                            |
| 040 | 512  | signature of the ID block by the ID key                         |
| 240 | 1028 | ID key                                                          |
| 644 | 60   | zero                                                            |
| 680 | 512  | signature of the ID key by the author key                       |
| 880 | 1028 | author key                                                      |
| C84 | 892  | zero                                                            |

A key is the curve (4 bytes, 2 = P-384), X and Y (72 bytes each, of which 48), and
zeros; a signature is R and S (72 bytes each, of which 48), and zeros. All numbers are
little-endian. The digest of a key is SHA-384 over its 1028 bytes.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from atoll.errors import RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._fixed import FixedReader

ID_BLOCK_SIZE: Final = 96
ID_AUTH_SIZE: Final = 4096
KEY_SIZE: Final = 0x404
VERSION: Final = 1
ECDSA_P384_SHA384: Final = 1

_CURVE_P384: Final = 2
_NUMBER: Final = 48
_COMPONENT: Final = 72
_SIGNATURE_SIZE: Final = 512
_BLOCK: Final = "ID block"
_AUTH: Final = "ID authentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdBlock:
    """A parsed ID block; nothing in it is authentic before `verify_id_block`."""

    raw: bytes = field(repr=False)
    launch_digest: bytes
    family_id: bytes
    image_id: bytes
    version: int
    guest_svn: int
    policy: int

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse exactly one block.

        Raises:
            MalformedEvidenceError: another size.
            UnsupportedEvidenceError: another version.
        """
        reader = FixedReader(raw, structure=_BLOCK, size=ID_BLOCK_SIZE)
        block = cls(
            raw=bytes(raw),
            launch_digest=reader.octets(0x00, 48),
            family_id=reader.octets(0x30, 16),
            image_id=reader.octets(0x40, 16),
            version=reader.uint(0x50, 4),
            guest_svn=reader.uint(0x54, 4),
            policy=reader.uint(0x58, 8),
        )
        reader.finish()
        if block.version != VERSION:
            raise UnsupportedEvidenceError(f"ID block version {block.version}, want {VERSION}")
        return block


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPart:
    """A public key, and what it signed: (R, S)."""

    key_raw: bytes = field(repr=False)
    key: ec.EllipticCurvePublicKey = field(repr=False)
    signature: tuple[int, int] = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What reports carry as ID_KEY_DIGEST or AUTHOR_KEY_DIGEST."""
        return hashlib.sha384(self.key_raw).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdAuth:
    """Parsed ID authentication information."""

    id_part: SignedPart
    author_part: SignedPart | None

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse exactly one structure.

        Raises:
            MalformedEvidenceError: another size, a reserved byte that is not zero, or a
                key that is no point of the curve.
            UnsupportedEvidenceError: another algorithm or curve.
        """
        reader = FixedReader(raw, structure=_AUTH, size=ID_AUTH_SIZE)
        id_algo, author_algo = reader.uint(0x000, 4), reader.uint(0x004, 4)
        if id_algo != ECDSA_P384_SHA384 or author_algo not in (0, ECDSA_P384_SHA384):
            raise UnsupportedEvidenceError(
                f"ID key algorithm {id_algo} or author key algorithm {author_algo}, want 1"
            )
        for at, size in ((0x008, 56), (0x644, 60), (0xC84, 892)):
            reader.zeros(at, size)
        id_part = _part(reader, raw, signature_at=0x040, key_at=0x240)
        author_part = None
        if author_algo:
            author_part = _part(reader, raw, signature_at=0x680, key_at=0x880)
        else:
            reader.zeros(0x680, _SIGNATURE_SIZE)
            reader.zeros(0x880, KEY_SIZE)
        reader.finish()
        return cls(id_part=id_part, author_part=author_part)


def verify_id_block(block: IdBlock, auth: IdAuth) -> None:
    """Verify that the ID key signed the block, and the author key, if any, the ID key.

    Does not check: whose keys these are; compare their digests.

    Raises:
        RejectedEvidenceError: `evidence.id_signature` or `evidence.author_signature`.
    """
    _verify(auth.id_part, block.raw, "id_signature", "the ID key did not sign the ID block")
    if auth.author_part is not None:
        _verify(
            auth.author_part,
            auth.id_part.key_raw,
            "author_signature",
            "the author key did not sign the ID key",
        )


def _part(reader: FixedReader, raw: bytes, *, signature_at: int, key_at: int) -> SignedPart:
    r, s = _number(reader, signature_at), _number(reader, signature_at + _COMPONENT)
    used = 2 * _COMPONENT
    reader.zeros(signature_at + used, _SIGNATURE_SIZE - used)
    curve = reader.uint(key_at, 4)
    if curve != _CURVE_P384:
        raise UnsupportedEvidenceError(f"{_AUTH}: key of curve {curve}, want 2 (P-384)")
    x, y = _number(reader, key_at + 4), _number(reader, key_at + 4 + _COMPONENT)
    reader.zeros(key_at + 4 + used, KEY_SIZE - 4 - used)
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP384R1()).public_key()
    except ValueError as error:
        raise reader.fail(key_at, "key is no point of P-384") from error
    return SignedPart(key_raw=bytes(raw[key_at : key_at + KEY_SIZE]), key=key, signature=(r, s))


def _number(reader: FixedReader, at: int) -> int:
    value = reader.uint(at, _NUMBER)
    reader.zeros(at + _NUMBER, _COMPONENT - _NUMBER)
    return value


def _verify(part: SignedPart, signed: bytes, check: str, message: str) -> None:
    # Values outside [1, n-1] are refused by the library's own range check.
    try:
        part.key.verify(encode_dss_signature(*part.signature), signed, ec.ECDSA(SHA384()))
    except InvalidSignature:
        _reject(check, message)


def _reject(check: str, message: str) -> NoReturn:
    raise RejectedEvidenceError(message, code=f"evidence.{check}")
