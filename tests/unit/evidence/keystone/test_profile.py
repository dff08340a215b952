"""The examples of docs/formats/keystone-eat.md are what its text says, and what the code makes."""

import hashlib
import re
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import cbor, cose
from atoll.corim.codec import from_cbor, to_cbor
from atoll.corim.keystone import device_keys, with_device_keys
from atoll.corim.measured import KEYSTONE, from_corim, to_corim
from atoll.evidence import _der
from atoll.evidence.keystone.eat import (
    PROFILE,
    PROFILE_OID,
    KeystoneEat,
    from_uccs,
    sign_eat,
    to_uccs,
    ueid_of,
    verify_eat_signature,
    verify_keystone_eat,
)
from atoll.evidence.keystone.verify import DeviceKeys
from support.keystone import DEVICE, ENCLAVE_HASH, SM_HASH, Content

PAGE: Final = Path(__file__).resolve().parents[4] / "docs" / "formats" / "keystone-eat.md"
OID_TAG: Final = 111
SHA3_512: Final = 12
NONCE: Final = bytes(range(16))
EAT: Final = KeystoneEat(
    nonce=NONCE,
    ueid=ueid_of(DEVICE.public),
    report=Content(data=NONCE, tail=b"\0").report(),
)
RELAY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FIELDS: Final = {"sm_hashes": frozenset({SM_HASH}), "enclave_hashes": frozenset({ENCLAVE_HASH})}
CORIM: Final = with_device_keys(
    to_corim(KEYSTONE, FIELDS, corim_id="example", tag_id="example"), [DEVICE.public]
)


def hexadecimal(heading: str = "") -> list[bytes]:
    """The code blocks that are nothing but hexadecimal digits, behind a heading."""
    text = PAGE.read_text("utf-8")
    blocks = re.findall(r"```\n([0-9a-f][0-9a-f\n]+)```", text[text.index(heading) :])
    return [bytes.fromhex(block.replace("\n", "")) for block in blocks]


def test_the_octets_of_the_profile_are_those_of_its_oid() -> None:
    dotted = re.search(r"OID `([0-9.]+)`", PAGE.read_text("utf-8"))
    assert dotted is not None
    assert hexadecimal()[0] == _der.oid(dotted[1]) == PROFILE
    assert dotted[1] == PROFILE_OID == getattr(KEYSTONE.id, "text", None)


def test_the_ueid_of_the_example_is_that_of_its_device_key() -> None:
    device = hexadecimal()[1]
    assert device == DEVICE.public
    assert f"256: h'01{hashlib.sha256(device).hexdigest()}'" in PAGE.read_text("utf-8")


def test_the_encoded_reference_triple_is_what_stands_above_it() -> None:
    oid, _, encoded, *_ = hexadecimal()
    environment, measurements = cbor.loads(encoded, limit=4096, tags={OID_TAG})
    assert (environment[0][0].tag, environment[0][0].value) == (OID_TAG, oid)
    assert measurements == [
        {0: "sm", 1: {2: [[SHA3_512, SM_HASH]]}},
        {0: "enclave", 1: {2: [[SHA3_512, ENCLAVE_HASH]]}},
    ]


def test_the_unprotected_token_is_what_the_code_makes_and_it_verifies() -> None:
    token = hexadecimal("## Vectors")[0]
    assert token == to_uccs(EAT)
    trust = DeviceKeys(keys=frozenset({DEVICE.public}))
    verified = verify_keystone_eat(from_uccs(token), trust, nonce=NONCE)
    assert (verified.report.sm_hash, verified.report.enclave_hash) == (SM_HASH, ENCLAVE_HASH)


def test_the_signed_token_is_what_the_code_makes() -> None:
    token, public, protected, signature, _ = hexadecimal("## Vectors")
    signed = sign_eat(EAT, RELAY, kid=b"relay")
    claims = token.removeprefix(bytes.fromhex("d90259"))
    head = b"\x59" + len(claims).to_bytes(2, "big")
    assert public == RELAY.public_key().public_bytes_raw()
    whole = b"\xd2\x84\x58" + bytes([len(protected)]) + protected + b"\xa0" + head + claims
    assert signed == whole + b"\x58\x40" + signature
    keys: dict[bytes, cose.PublicKey] = {b"relay": RELAY.public_key()}
    assert verify_eat_signature(signed, keys) == EAT


def test_the_corim_is_what_the_code_makes_and_reads() -> None:
    raw = hexadecimal("## Vectors")[-1]
    assert raw == to_cbor(CORIM)
    assert from_corim(KEYSTONE, from_cbor(raw)) == FIELDS
    assert device_keys(from_cbor(raw)) == {DEVICE.public}
