"""TPM quotes: signature, magic and type, nonce, registers."""

import struct
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import (
    EvidenceError,
    MalformedEvidenceError,
    RejectedEvidenceError,
    UnsupportedEvidenceError,
)
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.quote import (
    Attest,
    VerifiedTpmQuote,
    check_nonce,
    load_rsa_key,
    rsa_key,
    verify_tpm_quote,
)
from support import tpm
from support.tpm import PCRS, SELECTED, Quote, selection

BANK = {"sha256": dict(enumerate(PCRS))}


def verified(quote: Quote) -> VerifiedTpmQuote:
    message = quote.message()
    return verify_tpm_quote(message, tpm.sign(message), tpm.key().public_key())


def rejected(quote: Quote) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        verified(quote)
    return caught.value.code.removeprefix("evidence.")


def test_reads_a_quote_written_by_hand() -> None:
    attest = Attest.from_bytes(
        bytes.fromhex(
            "ff544347 8018 0002aabb 0003010203 0000000000000005 00000006 00000007 01"
            "0000000000000008 00000001 000b 03 010080 0004deadbeef"
        )
    )
    assert attest == Attest(
        qualified_signer=b"\xaa\xbb",
        extra_data=b"\x01\x02\x03",
        clock=5,
        reset_count=6,
        restart_count=7,
        safe=True,
        firmware_version=8,
        selections=((0x000B, frozenset({0, 23})),),
        pcr_digest=b"\xde\xad\xbe\xef",
    )


def test_a_signed_quote_is_verified() -> None:
    quote = verified(Quote())
    check_nonce(quote, tpm.NONCE)
    assert pcrs.check(quote, BANK) == {"sha256": {number: PCRS[number] for number in SELECTED}}


@pytest.mark.parametrize("magic", [b"\x00TCG", b"\xffTCH", bytes(4)])
def test_attack_tpm_quote_without_magic_check(magic: bytes) -> None:
    # A key that is not restricted signs this for anybody who asks.
    assert rejected(Quote(magic=magic)) == "tpm_not_quote"


@pytest.mark.parametrize("kind", [0x8017, 0x8014, 0x801A, 0x1880, 0])
def test_attack_tpm_quote_without_type_check(kind: int) -> None:
    assert rejected(Quote(type=kind)) == "tpm_not_quote"


def test_refuses_another_key_and_a_flip_of_any_bit() -> None:
    message = Quote().message()
    signature, key = tpm.sign(message), tpm.key().public_key()
    cases = [(message, tpm.sign(message, tpm.other_key()))]
    for bit in range(len(message) * 8):
        changed = int.from_bytes(message, "big") ^ 1 << bit
        cases.append((changed.to_bytes(len(message), "big"), signature))
    for bit in range(0, 2048, 7):
        changed = int.from_bytes(signature, "big") ^ 1 << bit
        cases.append((message, changed.to_bytes(256, "big")))
    for one, other in cases:
        with pytest.raises(RejectedEvidenceError) as caught:
            verify_tpm_quote(one, other, key)
        assert caught.value.code == "evidence.tpm_bad_signature"


@pytest.mark.parametrize(("algorithm", "hash_"), [(0x000C, SHA384()), (0x000D, SHA512())])
def test_takes_a_tpmt_signature_with_its_hash(algorithm: int, hash_: HashAlgorithm) -> None:
    message = Quote().message()
    wrapped = struct.pack(">HH", 0x0014, algorithm) + tpm.two_b(tpm.sign(message, hash_=hash_))
    quote = verify_tpm_quote(message, wrapped, tpm.key().public_key())
    assert quote.hash.name == hash_.name
    with pytest.raises(RejectedEvidenceError) as caught:
        pcrs.check(quote, BANK)  # the digest is SHA-256, this key's hash another
    assert caught.value.code == "evidence.pcr_digest_mismatch"


@pytest.mark.parametrize(("scheme", "algorithm"), [(0x0016, 0x000B), (0x0018, 0x000B), (20, 4)])
def test_refuses_another_signature_scheme_or_hash(scheme: int, algorithm: int) -> None:
    with pytest.raises(UnsupportedEvidenceError):
        verify_tpm_quote(
            Quote().message(), struct.pack(">HH", scheme, algorithm), tpm.key().public_key()
        )


@pytest.mark.parametrize("signature", [b"", b"\x00", bytes.fromhex("0014000b0101")])
def test_refuses_a_cut_signature(signature: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        verify_tpm_quote(Quote().message(), signature, tpm.key().public_key())


def test_every_truncation_and_every_appended_byte_is_refused_even_if_signed() -> None:
    message = Quote().message()
    for raw in (*(message[:size] for size in range(6, len(message))), message + b"\x00"):
        with pytest.raises(MalformedEvidenceError):
            verify_tpm_quote(raw, tpm.sign(raw), tpm.key().public_key())


@pytest.mark.parametrize(
    "quote",
    [
        Quote(safe=2),
        Quote(extra=bytes(129)),
        Quote(signer=bytes(129)),
        Quote(digest=bytes(65)),
        Quote(selections=(selection([0]),) * 2),
        Quote(selections=tuple(selection([0], bank) for bank in range(5))),
        Quote(selections=(b"\x00\x0b\x05" + bytes(5),)),
        Quote(extra=bytes(128), signer=bytes(128), selections=(b"\x00\x0b\xff" + bytes(900),)),
    ],
)
def test_refuses_values_over_their_limits(quote: Quote) -> None:
    with pytest.raises(MalformedEvidenceError):
        Attest.from_bytes(quote.message())


@pytest.mark.parametrize("extra", [b"", tpm.NONCE[:-1], tpm.NONCE + b"\x00", tpm.NONCE[::-1]])
def test_the_nonce_is_compared_over_its_whole_length(extra: bytes) -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        check_nonce(verified(Quote(extra=extra)), tpm.NONCE)
    assert caught.value.code == "evidence.nonce_mismatch"


def test_values_that_the_quote_does_not_select_prove_nothing() -> None:
    values = dict(BANK["sha256"])
    values[2] = bytes(32)
    assert 2 not in pcrs.check(verified(Quote()), {"sha256": values})["sha256"]
    values[7] = bytes(32)
    with pytest.raises(RejectedEvidenceError) as caught:
        pcrs.check(verified(Quote()), {"sha256": values})
    assert caught.value.code == "evidence.pcr_digest_mismatch"


@pytest.mark.parametrize(
    "selections",
    [
        (),
        (selection([]),),
        (selection([0], 0x000C),),
        (selection([0]), selection([0], 0x0004)),
        (b"\x00\x0b\x04\x00\x00\x00\x01",),
    ],
)
def test_attack_quote_that_selects_other_registers(selections: tuple[bytes, ...]) -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        pcrs.check(verified(replace(Quote(), selections=selections)), BANK)
    assert caught.value.code == "evidence.pcr_selection"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"{}",
        b'{"sha1": []}',
        b'{"sha256": [], "sha256": []}',
        tpm.banks_json().replace(b"sha384", b"sha512"),
        b"[]",
        b"[" * 10_000,
        b"[" + b'"",' * 23 + b'""]',
        tpm.pcrs_json()[:-1],
        tpm.pcrs_json().replace(b'"6e', b'"zz', 1),
        tpm.pcrs_json().replace(PCRS[3].hex().encode(), b"00 " * 21 + b" "),
        tpm.pcrs_json() + b" " * (16 << 10),
    ],
)
def test_refuses_register_values_in_another_form(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        pcrs.parse(raw)


def test_reads_register_values() -> None:
    assert pcrs.parse(tpm.pcrs_json()) == BANK
    assert pcrs.parse(tpm.banks_json()) == BANK | {"sha384": dict(enumerate(tpm.PCRS_384))}


def test_a_quote_over_two_banks_proves_both_and_an_empty_selection_nothing() -> None:
    numbers = ([7], [0, 4])
    selections = (selection(numbers[0], 0x000C), selection([], 4), selection(numbers[1]))
    values = tpm.PCRS_384[7] + PCRS[0] + PCRS[4]
    quote = verified(Quote(selections=selections, digest=sha256(values).digest()))
    assert pcrs.check(quote, pcrs.parse(tpm.banks_json())) == {
        "sha384": {7: tpm.PCRS_384[7]},
        "sha256": {0: PCRS[0], 4: PCRS[4]},
    }
    with pytest.raises(RejectedEvidenceError) as caught:
        pcrs.check(quote, BANK)
    assert caught.value.code == "evidence.pcr_selection"


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_loads_an_attestation_key() -> None:
    key = tpm.key().public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for raw in (spki(key), pem):
        assert load_rsa_key(raw).public_numbers() == key.public_numbers()


def test_refuses_a_key_that_is_no_rsa_key_of_2048_bits() -> None:
    numbers = tpm.key().public_key().public_numbers()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    for raw in (
        b"",
        b"-----BEGIN PUBLIC KEY-----",
        b"\x30\x00",
        spki(curve),
        spki(tpm.key().public_key())[:-1],
    ):
        with pytest.raises(MalformedEvidenceError):
            load_rsa_key(raw)
    for n, e in ((numbers.n, 3), (numbers.n >> 1, 65537), (numbers.n - 1, 65537), (0, 65537)):
        with pytest.raises(MalformedEvidenceError):
            rsa_key(rsa.RSAPublicNumbers(n=n, e=e))


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_arbitrary_bytes_are_a_quote_or_an_evidence_error(raw: bytes) -> None:
    for candidate in (raw, b"\xffTCG\x80\x18" + raw):
        try:
            Attest.from_bytes(candidate)
        except EvidenceError:
            continue


@given(message=st.binary(max_size=64), signature=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_arbitrary_messages_and_signatures_are_refused(message: bytes, signature: bytes) -> None:
    for candidate in (signature, signature.ljust(256, b"\x01")[:256]):
        with pytest.raises(EvidenceError):
            verify_tpm_quote(message, candidate, tpm.key().public_key())
