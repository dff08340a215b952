"""Signing keys as users have them, in every form of PEM; made once for each process."""

from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from atoll.sealing.imported_key import ImportedKey, signing_key_from_pem
from atoll.sealing.signature import SigningKey

KINDS: Final = ("p256", "p384", "rsa2048", "rsa3072", "rsa4096")
"""The imported kinds that are accepted."""
ALGORITHMS: Final = {
    "p256": "ECDSA P-256",
    "p384": "ECDSA P-384",
    "rsa2048": "RSA 2048",
    "rsa3072": "RSA 3072",
    "rsa4096": "RSA 4096",
}
PKCS8: Final = PrivateFormat.PKCS8
TRADITIONAL: Final = PrivateFormat.TraditionalOpenSSL
"""PKCS#1 of RSA, SEC 1 of ECDSA."""

Private = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


@cache
def private(kind: str) -> Private:
    """A fresh key of this kind; also of kinds that are refused."""
    curves = {
        "p256": ec.SECP256R1(),
        "p384": ec.SECP384R1(),
        "p521": ec.SECP521R1(),
        "k256": ec.SECP256K1(),
    }
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    if kind.startswith("rsa"):
        bits, _, exponent = kind.removeprefix("rsa").partition("e")
        return rsa.generate_private_key(int(exponent or 65537), int(bits))
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    if kind == "dsa":
        return dsa.generate_private_key(2048)
    assert kind == "ed25519"
    return ed25519.Ed25519PrivateKey.generate()


def pem(kind: str, form: PrivateFormat = PKCS8, passphrase: bytes | None = None) -> bytes:
    """The key in PEM."""
    how: KeySerializationEncryption = NoEncryption()
    if passphrase is not None:
        how = BestAvailableEncryption(passphrase)
    return private(kind).private_bytes(Encoding.PEM, form, how)


@cache
def imported(kind: str) -> ImportedKey:
    """The key as we take it."""
    key = signing_key_from_pem(pem(kind))
    assert isinstance(key, ImportedKey)
    return key


@cache
def signer(kind: str) -> SigningKey | ImportedKey:
    """As `imported`, and "ed25519"."""
    return signing_key_from_pem(pem(kind))
