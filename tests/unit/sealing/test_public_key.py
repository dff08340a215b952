"""Which keys a party may sign under: each in one encoding, and nothing near them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import SealError
from atoll.sealing.public_key import (
    MAX_SIZE,
    algorithm_of,
    encode_public_key,
    parse_public_key,
)
from atoll.sealing.signature import is_usable_public_key
from support import signing

P256 = signing.imported("p256").public_bytes
P384 = signing.imported("p384").public_bytes
RSA = signing.imported("rsa2048").public_bytes


def spki(kind: str) -> bytes:
    """A key of any kind, accepted or not, in the form of the accepted ones."""
    return (
        signing.private(kind)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


def refused(raw: bytes) -> None:
    with pytest.raises(SealError) as caught:
        parse_public_key(raw)
    assert caught.value.code == "key.unusable"
    assert caught.value.hint


@pytest.mark.parametrize("kind", signing.KINDS)
def test_a_key_is_read_and_written_in_one_form(kind: str) -> None:
    raw = signing.imported(kind).public_bytes
    assert encode_public_key(parse_public_key(raw)) == raw == spki(kind)
    assert algorithm_of(raw) == signing.ALGORITHMS[kind]
    assert len(raw) <= MAX_SIZE


def test_the_largest_key_is_as_large_as_the_limit_says() -> None:
    assert len(spki("rsa4096")) == MAX_SIZE


def test_ed25519_stays_32_bytes_and_is_not_taken_as_der() -> None:
    raw = signing.signer("ed25519").public_bytes
    assert (len(raw), algorithm_of(raw)) == (32, "Ed25519")
    assert encode_public_key(parse_public_key(raw)) == raw
    refused(spki("ed25519"))


@pytest.mark.parametrize(
    "kind", ["p521", "k256", "rsa1024", "rsa2040", "rsa4104", "rsa2048e3", "ed448", "dsa"]
)
def test_refuses_keys_of_other_kinds_and_sizes(kind: str) -> None:
    refused(spki(kind))


@pytest.mark.parametrize("exponent", [1, 3, 17, 65539, 2**32 + 1])
def test_refuses_rsa_with_another_exponent(exponent: int) -> None:
    modulus = modulus_of("rsa2048")
    refused(rsa_spki(modulus, exponent))


def test_refuses_rsa_with_an_even_modulus() -> None:
    refused(rsa_spki(modulus_of("rsa2048") - 1, 65537))


def test_refuses_rsa_under_the_name_of_pss() -> None:
    refused(RSA.replace(bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a")))


def test_refuses_rsa_in_pkcs_1() -> None:
    key = signing.private("rsa2048").public_key()
    refused(key.public_bytes(Encoding.DER, PublicFormat.PKCS1))


def test_refuses_der_with_a_length_that_is_not_the_shortest() -> None:
    assert RSA[:4] == bytes.fromhex("30820122")
    refused(bytes.fromhex("3083000122") + RSA[4:])
    assert P256[:2] == bytes.fromhex("3059")
    refused(bytes.fromhex("308159") + P256[2:])


def test_refuses_rsa_whose_modulus_has_a_zero_too_many() -> None:
    numbers = bytes.fromhex("0282010100") + modulus_of("rsa2048").to_bytes(256, "big")
    assert numbers in RSA
    longer = bytes.fromhex("028201020000") + modulus_of("rsa2048").to_bytes(256, "big")
    raw = RSA.replace(numbers, longer)
    for old, new in (
        ("30820122", "30820123"),
        ("0382010f00", "0382011000"),
        ("3082010a", "3082010b"),
    ):
        assert bytes.fromhex(old) in raw
        raw = raw.replace(bytes.fromhex(old), bytes.fromhex(new), 1)
    refused(raw)


@pytest.mark.parametrize("raw", [P256, P384, RSA], ids=["p256", "p384", "rsa"])
def test_refuses_anything_behind_or_missing(raw: bytes) -> None:
    refused(raw + b"\0")
    for size in range(len(raw)):
        if size != 32:
            refused(raw[:size])


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_refuses_points_that_are_compressed_hybrid_infinite_or_off_the_curve(kind: str) -> None:
    key = signing.private(kind).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    raw, size = spki(kind), key.key_size // 8
    head, point = raw[: -2 * size - 1], raw[-2 * size :]
    refused(head + bytes([2 + point[-1] % 2]) + point[:size])
    refused(head + bytes([6 + point[-1] % 2]) + point)
    refused(head + b"\0")
    refused(head + b"\x04" + bytes(2 * size))
    refused(head + b"\x04" + point[:-1] + bytes([point[-1] ^ 1]))
    # A coordinate that is not below the field's prime.
    refused(head + b"\x04" + b"\xff" * size + point[size:])


def test_refuses_a_curve_given_by_its_parameters() -> None:
    # P-256 with all its numbers (SEC 1, C.2), as `openssl ecparam -param_enc explicit` writes it.
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    base = bytes.fromhex(
        "04"
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    field = der(0x30, oid("2a8648ce3d0101"), integer(prime))
    curve = der(0x30, der(4, (prime - 3).to_bytes(32, "big")), der(4, b.to_bytes(32, "big")))
    parameters = der(0x30, integer(1), field, curve, der(4, base), integer(order), integer(1))
    algorithm = der(0x30, oid("2a8648ce3d0201"), parameters)
    refused(der(0x30, algorithm, der(3, b"\0" + P256[-65:])))


@pytest.mark.parametrize("raw", [P256, P384, RSA], ids=["p256", "p384", "rsa"])
def test_a_flipped_bit_gives_another_key_or_none(raw: bytes) -> None:
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        if is_usable_public_key(bytes(changed)):
            # Only a bit of the RSA modulus can do that.
            assert raw is RSA
            assert encode_public_key(parse_public_key(bytes(changed))) == bytes(changed)
        else:
            refused(bytes(changed))


@given(st.binary(max_size=MAX_SIZE + 10))
def test_arbitrary_bytes_raise_only_seal_error(raw: bytes) -> None:
    if len(raw) != 32:
        refused(raw)
    elif is_usable_public_key(raw):
        assert encode_public_key(parse_public_key(raw)) == raw
    else:
        refused(raw)


@given(st.sampled_from([P256, P384, RSA]), st.data())
def test_changed_keys_are_refused_or_are_their_own_encoding(
    good: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(at, min(len(good), at + 8)))
    raw = good[:at] + data.draw(st.binary(max_size=8)) + good[end:]
    try:
        key = parse_public_key(raw)
    except SealError:
        return
    assert encode_public_key(key) == raw


def modulus_of(kind: str) -> int:
    key = parse_public_key(signing.imported(kind).public_bytes)
    numbers = key.public_numbers()  # type: ignore[union-attr]
    assert isinstance(numbers, RSAPublicNumbers)
    return numbers.n


def rsa_spki(modulus: int, exponent: int) -> bytes:
    algorithm = der(0x30, oid("2a864886f70d010101"), der(5))
    return der(0x30, algorithm, der(3, b"\0" + der(0x30, integer(modulus), integer(exponent))))


def oid(content: str) -> bytes:
    return der(6, bytes.fromhex(content))


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def test_the_builder_above_makes_what_is_accepted() -> None:
    assert rsa_spki(modulus_of("rsa2048"), 65537) == RSA
