"""Keys from PEM: what is read, what is refused, and what signatures under them are worth."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError, SealError
from atoll.framing import transcript
from atoll.sealing.imported_key import MAX_PEM, ImportedKey, is_encrypted_pem, signing_key_from_pem
from atoll.sealing.public_key import MAX_SIGNATURE, MIN_SIGNATURE
from atoll.sealing.signature import ORDERS, SigningKey, verify_bytes, verify_signature
from support import signing

PASSPHRASE = b"correct horse"
FORMS = [signing.PKCS8, signing.TRADITIONAL]
SCHEMES = ("p256", "p384", "rsa2048")


def code_of(raw: bytes, passphrase: bytes | None = None) -> str:
    with pytest.raises(InputError) as caught:
        signing_key_from_pem(raw, passphrase)
    return caught.value.code


def refused(public: bytes, signature: bytes, label: str, *values: bytes) -> None:
    with pytest.raises(SealError) as caught:
        verify_signature(public, signature, label, *values)
    assert caught.value.code == "signature.invalid"


@pytest.mark.parametrize("form", FORMS, ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["clear", "encrypted"])
@pytest.mark.parametrize("kind", signing.KINDS)
def test_reads_every_form(kind: str, form: PrivateFormat, passphrase: bytes | None) -> None:
    raw = signing.pem(kind, form, passphrase)
    assert is_encrypted_pem(raw) == (passphrase is not None)
    key = signing_key_from_pem(raw, passphrase)
    assert key.public_bytes == signing.imported(kind).public_bytes
    verify_signature(key.public_bytes, key.sign("label", b"value"), "label", b"value")


def test_an_ed25519_key_becomes_one_of_ours() -> None:
    key = signing_key_from_pem(signing.pem("ed25519"))
    assert isinstance(key, SigningKey)
    verify_signature(key.public_bytes, key.sign("label"), "label")


def test_takes_the_first_private_key_and_what_stands_before_it_does_not_matter() -> None:
    # As `openssl ecparam -name prime256v1 -genkey` writes it.
    parameters = (
        b"-----BEGIN EC PARAMETERS-----\n"
        + base64.b64encode(bytes.fromhex("06082a8648ce3d030107"))
        + b"\n-----END EC PARAMETERS-----\n"
    )
    raw = b"Bag Attributes\n" + parameters + signing.pem("p256", signing.TRADITIONAL)
    key = signing_key_from_pem(raw + signing.pem("p384"))
    assert key.public_bytes == signing.imported("p256").public_bytes


@pytest.mark.parametrize("form", FORMS, ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_a_passphrase_that_is_wrong_or_missing_is_refused(kind: str, form: PrivateFormat) -> None:
    raw = signing.pem(kind, form, PASSPHRASE)
    assert code_of(raw) == "key.passphrase"
    assert code_of(raw, b"") == "key.passphrase"
    assert code_of(raw, PASSPHRASE + b"!") == "key.passphrase"


def test_a_passphrase_for_what_is_not_encrypted_is_not_needed() -> None:
    key = signing_key_from_pem(signing.pem("p256"), PASSPHRASE)
    assert key.public_bytes == signing.imported("p256").public_bytes


@pytest.mark.parametrize(
    "kind", ["p521", "k256", "rsa1024", "rsa2040", "rsa4104", "rsa2048e3", "ed448", "dsa"]
)
def test_refuses_keys_of_other_kinds_and_sizes(kind: str) -> None:
    assert code_of(signing.pem(kind)) == "key.unusable"


def test_refuses_what_is_no_private_key() -> None:
    openssh = signing.private("p256").private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    for raw in (b"", b"x" * (MAX_PEM + 1), signing.pem("p256").replace(b"PRIVATE", b"PUBLIC")):
        assert code_of(raw) == "key.pem"
    assert code_of(openssh) == "key.pem"
    good = signing.pem("rsa2048")
    assert code_of(good[: len(good) // 2] + good[-40:]) == "key.pem"


def test_refuses_an_rsa_key_whose_numbers_do_not_belong_together() -> None:
    key = bytearray(signing.imported("rsa2048").der)
    key[-3] ^= 1
    with pytest.raises(InputError) as caught:
        ImportedKey(bytes(key))
    assert caught.value.code == "identity.malformed"


@pytest.mark.parametrize("kind", SCHEMES)
def test_a_key_has_one_private_form(kind: str) -> None:
    der = signing.imported(kind).der
    assert ImportedKey(der).public_bytes == signing.imported(kind).public_bytes
    for changed in (der + b"\0", der[:-1], b"", der[:1] + b"\x83\x00" + der[2:], bytes(5000)):
        with pytest.raises(InputError) as caught:
            ImportedKey(changed)
        assert caught.value.code == "identity.malformed"


def test_ed25519_in_pkcs_8_is_no_second_form_of_a_seed() -> None:
    der = signing.private("ed25519").private_bytes(Encoding.DER, signing.PKCS8, NoEncryption())
    with pytest.raises(InputError) as caught:
        ImportedKey(der)
    assert caught.value.code == "identity.malformed"


@pytest.mark.parametrize("kind", SCHEMES)
def test_nothing_shows_the_key(kind: str) -> None:
    key = signing.imported(kind)
    assert key.der.hex() not in repr(key)
    assert secret_of(kind) in key.der.hex()
    assert secret_of(kind) not in repr(key)
    damaged = signing.pem(kind).replace(b"A", b"B")
    with pytest.raises(InputError) as caught:
        signing_key_from_pem(damaged)
    assert caught.value.__cause__ is None
    assert damaged.splitlines()[2].decode() not in str(caught.value)


# --- signatures ---


@pytest.mark.parametrize("kind", SCHEMES)
def test_a_signature_is_for_one_label_split_and_key(kind: str) -> None:
    key = signing.imported(kind)
    signature = key.sign("label", b"ab", b"c")
    assert MIN_SIGNATURE <= len(signature) <= MAX_SIGNATURE
    refused(key.public_bytes, signature, "other", b"ab", b"c")
    refused(key.public_bytes, signature, "label", b"a", b"bc")
    for other in {*SCHEMES, "rsa3072", "ed25519"} - {kind}:
        refused(signing.signer(other).public_bytes, signature, "label", b"ab", b"c")


@pytest.mark.parametrize("kind", SCHEMES)
def test_refuses_every_flipped_bit_of_signature_and_message(kind: str) -> None:
    key, message = signing.imported(kind), b"a message"
    signature = key.sign("label", message)
    for bit in range(8 * len(signature)):
        refused(key.public_bytes, flipped(signature, bit), "label", message)
    for bit in range(8 * len(message)):
        refused(key.public_bytes, signature, "label", flipped(message, bit))


@pytest.mark.parametrize("kind", SCHEMES)
def test_refuses_every_flipped_bit_of_the_key(kind: str) -> None:
    key = signing.imported(kind)
    signature = key.sign("label", b"value")
    for bit in range(8 * len(key.public_bytes)):
        refused(flipped(key.public_bytes, bit), signature, "label", b"value")


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_refuses_the_other_half_of_an_ecdsa_signature_and_other_der(kind: str) -> None:
    key = signing.imported(kind)
    order = ORDERS["secp256r1" if kind == "p256" else "secp384r1"]
    for _ in range(8):
        signature = key.sign("label")
        r, s = decode_dss_signature(signature)
        assert s <= order // 2
        refused(key.public_bytes, encode_dss_signature(r, order - s), "label")
        refused(key.public_bytes, encode_dss_signature(r, s + order), "label")
        refused(key.public_bytes, encode_dss_signature(0, 0), "label")
        refused(key.public_bytes, signature + b"\0", "label")
        size = signature[1]
        refused(key.public_bytes, b"\x30\x81" + bytes([size]) + signature[2:], "label")


def test_refuses_rsa_signatures_of_another_padding_hash_or_salt() -> None:
    key, public = signing.private("rsa2048"), signing.imported("rsa2048").public_bytes
    assert isinstance(key, rsa.RSAPrivateKey)
    message = transcript("label")
    mgf = padding.MGF1(SHA256())
    good = key.sign(message, padding.PSS(mgf, 32), SHA256())
    verify_signature(public, good, "label")
    for bad in (
        key.sign(message, padding.PKCS1v15(), SHA256()),
        key.sign(message, padding.PSS(mgf, 20), SHA256()),
        key.sign(message, padding.PSS(padding.MGF1(SHA384()), 32), SHA256()),
        key.sign(message, padding.PSS(padding.MGF1(SHA384()), 48), SHA384()),
        good + b"\0",
        b"\0" + good,
        good[:-1],
    ):
        refused(public, bad, "label")


@given(st.sampled_from([*SCHEMES, "ed25519"]), st.binary(max_size=600), st.binary(max_size=20))
def test_arbitrary_signatures_raise_only_seal_error(
    kind: str, signature: bytes, message: bytes
) -> None:
    with pytest.raises(SealError) as caught:
        verify_bytes(signing.signer(kind).public_bytes, signature, message)
    assert caught.value.code == "signature.invalid"


@given(st.binary(max_size=200), st.none() | st.binary(max_size=20))
def test_arbitrary_bytes_raise_only_input_error(raw: bytes, passphrase: bytes | None) -> None:
    framed = b"-----BEGIN PRIVATE KEY-----\n%b\n-----END PRIVATE KEY-----\n"
    assert code_of(raw, passphrase) == "key.pem"
    assert code_of(framed % base64.b64encode(raw), passphrase) == "key.pem"
    with pytest.raises(InputError):
        ImportedKey(raw)


def secret_of(kind: str) -> str:
    key = signing.private(kind)
    if isinstance(key, rsa.RSAPrivateKey):
        return f"{key.private_numbers().d:x}"
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return f"{key.private_numbers().private_value:0{key.key_size // 4}x}"


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
