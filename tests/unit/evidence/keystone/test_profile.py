"""The examples of docs/formats/keystone-eat.md are what its text says."""

import hashlib
import re
from pathlib import Path

from atoll import cbor
from atoll.evidence import _der
from support.keystone import DEVICE, ENCLAVE_HASH, SM_HASH

PAGE = Path(__file__).resolve().parents[4] / "docs" / "formats" / "keystone-eat.md"
OID_TAG = 111
SHA3_512 = 12


def hexadecimal() -> list[bytes]:
    """The code blocks that are nothing but hexadecimal digits."""
    blocks = re.findall(r"```\n([0-9a-f][0-9a-f\n]+)```", PAGE.read_text("utf-8"))
    return [bytes.fromhex(block.replace("\n", "")) for block in blocks]


def test_the_octets_of_the_profile_are_those_of_its_oid() -> None:
    dotted = re.search(r"OID `([0-9.]+)`", PAGE.read_text("utf-8"))
    assert dotted is not None
    assert hexadecimal()[0] == _der.oid(dotted[1])


def test_the_ueid_of_the_example_is_that_of_its_device_key() -> None:
    device = hexadecimal()[1]
    assert device == DEVICE.public
    assert f"256: h'01{hashlib.sha256(device).hexdigest()}'" in PAGE.read_text("utf-8")


def test_the_encoded_reference_triple_is_what_stands_above_it() -> None:
    oid, _, encoded = hexadecimal()
    environment, measurements = cbor.loads(encoded, limit=4096, tags={OID_TAG})
    assert (environment[0][0].tag, environment[0][0].value) == (OID_TAG, oid)
    assert measurements == [
        {0: "sm", 1: {2: [[SHA3_512, SM_HASH]]}},
        {0: "enclave", 1: {2: [[SHA3_512, ENCLAVE_HASH]]}},
    ]
