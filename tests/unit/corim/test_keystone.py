"""Device keys of Keystone in a CoRIM: under their own UEID, or refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.corim.codec import from_cbor, to_cbor
from atoll.corim.keystone import device_keys, with_device_keys
from atoll.corim.measured import KEYSTONE, TDX, to_corim
from atoll.corim.values import AttestKeyTriple, Corim, Environment, Ueid
from atoll.errors import InputError
from atoll.evidence.keystone.eat import ueid_of
from support.keystone import DEVICE, ENCLAVE_HASH

PLAIN = to_corim(KEYSTONE, {"enclave_hashes": frozenset({ENCLAVE_HASH})}, corim_id="c", tag_id="t")
CLASS = Environment(class_id=KEYSTONE.id)  # type: ignore[arg-type]


def _with(*triples: AttestKeyTriple) -> Corim:
    (comid,) = PLAIN.comids
    return replace(PLAIN, comids=(replace(comid, attest_keys=triples),))


@settings(max_examples=40)
@given(st.frozensets(st.binary(min_size=32, max_size=32), max_size=4))
def test_device_keys_survive_the_round_trip(keys: frozenset[bytes]) -> None:
    assert device_keys(from_cbor(to_cbor(with_device_keys(PLAIN, keys)))) == keys


@pytest.mark.parametrize(
    "triple",
    [
        AttestKeyTriple(environment=CLASS, keys=(DEVICE.public,)),
        AttestKeyTriple(
            environment=replace(CLASS, instance=Ueid(raw=ueid_of(b"another"))),
            keys=(DEVICE.public,),
        ),
        AttestKeyTriple(
            environment=replace(CLASS, instance=ueid_of(DEVICE.public)), keys=(DEVICE.public,)
        ),
        AttestKeyTriple(
            environment=Environment(vendor="V", instance=Ueid(raw=ueid_of(DEVICE.public))),
            keys=(DEVICE.public,),
        ),
        AttestKeyTriple(
            environment=replace(CLASS, instance=Ueid(raw=ueid_of(DEVICE.public))),
            keys=(DEVICE.public, bytes(32)),
        ),
        AttestKeyTriple(
            environment=replace(CLASS, instance=Ueid(raw=ueid_of(b"short"))), keys=(b"short",)
        ),
    ],
)
def test_refuses_a_key_that_is_not_where_it_belongs(triple: AttestKeyTriple) -> None:
    with pytest.raises(InputError) as caught:
        device_keys(_with(triple))
    assert caught.value.code == "corim.invalid"


def test_refuses_a_corim_of_another_profile() -> None:
    other = to_corim(TDX, {"mr_tds": frozenset({bytes(48)})}, corim_id="c", tag_id="t")
    for call in (lambda: device_keys(other), lambda: with_device_keys(other, [])):
        with pytest.raises(InputError, match="profile"):
            call()


def test_refuses_to_write_a_key_of_another_length() -> None:
    with pytest.raises(InputError, match="32"):
        with_device_keys(PLAIN, [b"short"])
