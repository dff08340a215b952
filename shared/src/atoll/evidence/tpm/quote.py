"""TPM 2.0 quotes (TCG TPM 2.0 Library, part 2: Structures, revision 1.59).

TPMS_ATTEST, section 10.12.12, big-endian; 2B stands for a u16 size and as many bytes:

| magic u32 = ff544347 | type u16 = 8018 | qualifiedSigner 2B | extraData 2B = nonce        |
| clock u64, resetCount u32, restartCount u32, safe u8 | firmwareVersion u64                  |
| selections u32 | { hash algorithm u16, size u8, bits } ... | pcrDigest 2B                   |

Signatures: RSASSA-PKCS1-v1_5, either the bare number (then with SHA-256) or as a
TPMT_SIGNATURE { scheme u16 = 0014, hash algorithm u16, 2B }; ECDSA on P-256 with SHA-256 as
{ 0018, 000b, r 2B, s 2B }, section 11.3.4.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor

MAX_ATTEST: Final = 1024
MAX_2B: Final = 128
MAX_SELECTIONS: Final = 4
MAX_SELECT: Final = 4
SHA256_ALG: Final = 0x000B
SHA384_ALG: Final = 0x000C
SHA512_ALG: Final = 0x000D

_STRUCTURE: Final = "TPMS_ATTEST"
_MAGIC: Final = bytes.fromhex("ff544347")
_TYPE_QUOTE: Final = 0x8018
_PEM: Final = b"-----BEGIN PUBLIC KEY-----"
_RSASSA: Final = 0x0014
_ECDSA: Final = 0x0018
_P256_SIZE: Final = 32
_MIN_BITS: Final = 2048
_MAX_BITS: Final = 4096
_EXPONENT: Final = 65537
_HASHES: Final[dict[int, "Hash"]] = {
    SHA256_ALG: SHA256(),
    SHA384_ALG: SHA384(),
    SHA512_ALG: SHA512(),
}

Hash = SHA256 | SHA384 | SHA512


@dataclass(frozen=True, slots=True, kw_only=True)
class Attest:
    """A parsed quote. Nothing in it is authentic before `verify_tpm_quote`."""

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    selections: tuple[tuple[int, frozenset[int]], ...]
    """(hash algorithm, numbers of the registers) for each bank."""
    pcr_digest: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one TPMS_ATTEST of type TPM_ST_ATTEST_QUOTE.

        Raises:
            RejectedEvidenceError: `evidence.tpm_not_quote`: another magic, so that no TPM made
                the structure, or another type, whose fields mean something else.
            MalformedEvidenceError: cut, over a limit, or bytes after the end.
        """
        if len(raw) > MAX_ATTEST:
            raise MalformedEvidenceError(_STRUCTURE, 0, f"is {len(raw)} bytes")
        cursor = Cursor(bytes(raw), structure=_STRUCTURE, order="big")
        if cursor.octets(4) != _MAGIC:
            raise _not_quote("magic is not TPM_GENERATED_VALUE")
        if (kind := cursor.uint(2)) != _TYPE_QUOTE:
            raise _not_quote(f"type is 0x{kind:04x}, want 0x{_TYPE_QUOTE:04x}")
        attest = cls(
            qualified_signer=cursor.block(2, limit=MAX_2B),
            extra_data=cursor.block(2, limit=MAX_2B),
            clock=cursor.uint(8),
            reset_count=cursor.uint(4),
            restart_count=cursor.uint(4),
            safe=_yes_no(cursor),
            firmware_version=cursor.uint(8),
            selections=_selections(cursor),
            pcr_digest=cursor.block(2, limit=64),
        )
        cursor.finish()
        return attest


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTpmQuote:
    """A quote that the attestation key signed; `hash` is also that of `pcr_digest`."""

    attest: Attest
    hash: Hash = field(repr=False)


def verify_tpm_quote(message: bytes, signature: bytes, key: rsa.RSAPublicKey) -> VerifiedTpmQuote:
    """Verify one quote.

    1. The key signed the bytes.
    2. They are a quote that a TPM made: magic and type. A restricted key signs nothing
       else that begins with the magic, so this is what separates quotes from other data.

    Does not check: the nonce (`check_nonce`), the registers (`pcrs.check`), and whose key it
    is: only a binding as Azure's, or a certificate, says that it is a TPM's restricted key.

    Raises:
        MalformedEvidenceError, UnsupportedEvidenceError: message or signature do not parse.
        RejectedEvidenceError: `evidence.tpm_bad_signature`, `evidence.tpm_not_quote`.
    """
    # 1
    hash_, number = _signature(signature, key)
    try:
        key.verify(number, bytes(message), padding.PKCS1v15(), hash_)
    except InvalidSignature as error:
        raise _bad_signature() from error
    # 2
    return VerifiedTpmQuote(attest=Attest.from_bytes(message), hash=hash_)


def verify_ecdsa_quote(
    message: bytes, signature: bytes, key: ec.EllipticCurvePublicKey
) -> VerifiedTpmQuote:
    """The same of a P-256 key, whose signature is a TPMT_SIGNATURE of ECDSA with SHA-256.

    Raises: as `verify_tpm_quote` does.
    """
    cursor = Cursor(bytes(signature), structure="TPMT_SIGNATURE", order="big")
    scheme, algorithm = cursor.uint(2), cursor.uint(2)
    if (scheme, algorithm) != (_ECDSA, SHA256_ALG):
        raise UnsupportedEvidenceError(
            f"TPM signature: scheme 0x{scheme:04x} with hash 0x{algorithm:04x}, want ECDSA with "
            "SHA-256"
        )
    r, s = (int.from_bytes(cursor.block(2, limit=_P256_SIZE), "big") for _ in range(2))
    cursor.finish()
    try:
        key.verify(encode_dss_signature(r, s), bytes(message), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise _bad_signature() from error
    return VerifiedTpmQuote(attest=Attest.from_bytes(message), hash=SHA256())


def check_nonce(quote: VerifiedTpmQuote, nonce: bytes) -> None:
    """Return if the quote answers exactly this challenge.

    Raises:
        RejectedEvidenceError: `evidence.nonce_mismatch`.
    """
    if quote.attest.extra_data != nonce:
        raise RejectedEvidenceError(
            f"TPM quote answers {quote.attest.extra_data[:16].hex()}.., not our nonce",
            code="evidence.nonce_mismatch",
        )


def rsa_key(numbers: rsa.RSAPublicNumbers) -> rsa.RSAPublicKey:
    """The attestation key with these numbers: 2048 to 4096 bits, exponent 65537.

    Raises:
        MalformedEvidenceError: not such a key.
    """
    legal = _MIN_BITS <= numbers.n.bit_length() <= _MAX_BITS and numbers.n & 1
    if not legal or numbers.e != _EXPONENT:
        raise MalformedEvidenceError("attestation key", 0, "is not RSA 2048 to 4096 with e = 65537")
    return numbers.public_key()


def load_rsa_key(raw: bytes) -> rsa.RSAPublicKey:
    """The attestation key of a SubjectPublicKeyInfo, DER or PEM.

    Raises:
        MalformedEvidenceError: not an RSA key as `rsa_key` wants it.
    """
    try:
        pem = raw.startswith(_PEM)
        key = load_pem_public_key(bytes(raw)) if pem else load_der_public_key(bytes(raw))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedEvidenceError("attestation key", 0, "cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise MalformedEvidenceError("attestation key", 0, "is not an RSA key")
    return rsa_key(key.public_numbers())


def _signature(raw: bytes, key: rsa.RSAPublicKey) -> tuple[Hash, bytes]:
    size = key.key_size // 8
    if len(raw) == size:
        return SHA256(), bytes(raw)
    cursor = Cursor(bytes(raw), structure="TPMT_SIGNATURE", order="big")
    scheme, algorithm = cursor.uint(2), cursor.uint(2)
    if scheme != _RSASSA or algorithm not in _HASHES:
        raise UnsupportedEvidenceError(
            f"TPM signature: scheme 0x{scheme:04x} with hash 0x{algorithm:04x}, want RSASSA"
        )
    number = cursor.block(2, limit=size)
    cursor.finish()
    return _HASHES[algorithm], number


def _selections(cursor: Cursor) -> tuple[tuple[int, frozenset[int]], ...]:
    count = cursor.uint(4)
    if count > MAX_SELECTIONS:
        raise cursor.fail(f"has {count} register selections, at most {MAX_SELECTIONS}")
    banks: dict[int, frozenset[int]] = {}
    for _ in range(count):
        algorithm = cursor.uint(2)
        bits = int.from_bytes(cursor.block(1, limit=MAX_SELECT), "little")
        if algorithm in banks:
            raise cursor.fail(f"selects from bank 0x{algorithm:04x} twice")
        banks[algorithm] = frozenset(at for at in range(bits.bit_length()) if bits >> at & 1)
    return tuple(banks.items())


def _yes_no(cursor: Cursor) -> bool:
    value = cursor.uint(1)
    if value > 1:
        raise cursor.fail(f"has {value} where yes or no (1 or 0) is wanted")
    return value == 1


def _not_quote(why: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(f"{_STRUCTURE}: {why}", code="evidence.tpm_not_quote")


def _bad_signature() -> RejectedEvidenceError:
    return RejectedEvidenceError(
        "TPM quote: not signed by the attestation key", code="evidence.tpm_bad_signature"
    )
