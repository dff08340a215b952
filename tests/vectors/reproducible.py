"""Keys and signatures that come out the same in every run.

The builders in `support` make random keys and randomized signatures, which is right for
tests and no good for vectors that are checked in. Within `reproducible()`:

* elliptic curve keys follow from their names, RSA keys are those in `keys.json`;
* ECDSA takes its nonce from RFC 6979, and the salt of RSASSA-PSS follows from the message.

All of these keys are public. They protect nothing and must be trusted by nobody but tests.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from support import dcap, id_block, ratls, tpm

KEYS = Path(__file__).with_name("keys.json")
SALT_SIZE = 48

EcKey = ec.EllipticCurvePrivateKey


@cache
def ec_key(name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> EcKey:
    """The key of this name."""
    digest = hashlib.sha512(f"atoll own vectors, {curve.name} key {name}".encode()).digest()
    # 32 bytes less a bit are below the order of both curves, and nobody needs more here.
    return ec.derive_private_key(int.from_bytes(digest[:32], "big") >> 1, curve())


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The stored key of this name."""
    stored = json.loads(KEYS.read_text("utf-8"))[name]
    p, q, e = int(stored["p"], 16), int(stored["q"], 16), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=public,
    ).private_key()


def ecdsa(signer: EcKey, message: bytes, hash_: HashAlgorithm) -> tuple[int, int]:
    """r and s, by RFC 6979."""
    return decode_dss_signature(signer.sign(message, ec.ECDSA(hash_, deterministic_signing=True)))


@cache
def pss(signer: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """RSASSA-PSS with SHA-384 (RFC 8017, section 8.1.1); the salt follows from the message."""
    size = signer.key_size // 8
    digest = hashlib.sha384(message).digest()
    salt = hashlib.sha384(b"salt" + digest).digest()
    hashed = hashlib.sha384(bytes(8) + digest + salt).digest()
    block = (b"\1" + salt).rjust(size - len(hashed) - 1, b"\0")
    counters = (number.to_bytes(4, "big") for number in range(size // SALT_SIZE + 1))
    mask = b"".join(hashlib.sha384(hashed + one).digest() for one in counters)
    masked = bytes(a ^ b for a, b in zip(block, mask, strict=False))
    encoded = bytes((masked[0] & 0x7F,)) + masked[1:] + hashed + b"\xbc"
    numbers = signer.private_numbers()
    value = int.from_bytes(encoded, "big")
    m1, m2 = pow(value, numbers.dmp1, numbers.p), pow(value, numbers.dmq1, numbers.q)
    signature = m2 + numbers.q * ((m1 - m2) * numbers.iqmp % numbers.p)
    return signature.to_bytes(size, "big")


def _signed_builder(load: Callable[[bytes], Any], original: Callable[..., Any]) -> Any:
    def sign(builder: Any, signer: Any, hash_: Any, **options: Any) -> Any:
        if isinstance(signer, EcKey):
            return original(builder, signer, hash_, ecdsa_deterministic=True, **options)
        made = original(builder, signer, hash_, **options)
        signed = getattr(made, "tbs_certificate_bytes", None) or made.tbs_certlist_bytes
        der, size = made.public_bytes(Encoding.DER), signer.key_size // 8
        return load(der[:-size] + pss(signer, signed))

    return sign


def _dcap_sign(signer: EcKey, message: bytes) -> bytes:
    r, s = ecdsa(signer, message, SHA256())
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _id_block_sign(name: str, signed: bytes) -> bytes:
    r, s = ecdsa(ec_key(name, ec.SECP384R1), signed, SHA384())
    return (r.to_bytes(72, "little") + s.to_bytes(72, "little")).ljust(512, b"\0")


@contextmanager
def reproducible() -> Iterator[None]:
    """In here, builders of `support` and of certificates give the same bytes every time."""
    certificate, crl = x509.CertificateBuilder, x509.CertificateRevocationListBuilder
    replaced: list[tuple[Any, str, Any]] = [
        (certificate, "sign", _signed_builder(x509.load_der_x509_certificate, certificate.sign)),
        (crl, "sign", _signed_builder(x509.load_der_x509_crl, crl.sign)),
        *((module, "key", ec_key) for module in (dcap, dcap.signing)),
        *((module, "sign", _dcap_sign) for module in (dcap, dcap.signing)),
        (id_block, "key", lambda name: ec_key(name, ec.SECP384R1)),
        (id_block, "sign", _id_block_sign),
        (ratls, "key", lambda: ec_key("tls")),
        (ratls, "other_key", lambda: ec_key("other tls")),
        (tpm, "key", lambda: rsa_key("tpm")),
        (tpm, "other_key", lambda: rsa_key("other-tpm")),
    ]
    with ExitStack() as stack:
        for target, name, value in replaced:
            stack.enter_context(patch.object(target, name, value))
        yield
