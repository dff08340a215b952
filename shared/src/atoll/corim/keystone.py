"""Device keys of Keystone as attest-key triples (docs/formats/keystone-eat.md).

Which device keys are believed is a matter of trust and not of policy, so they do not go into
one: `device_keys` gives them to whoever makes a `DeviceKeys`. The environment is Keystone's
class with the UEID of the key as instance; the key stands under tagged-bytes, since no
identifier exists for Ed25519 with SHA3-512.
"""

from collections.abc import Collection
from dataclasses import replace

from atoll.corim.measured import KEYSTONE
from atoll.corim.values import AttestKeyTriple, Comid, Corim, Environment, Oid, Ueid, invalid
from atoll.evidence.keystone.eat import PROFILE_OID, ueid_of
from atoll.evidence.keystone.ed25519_sha3 import KEY_SIZE

_CLASS = Oid(text=PROFILE_OID)


def with_device_keys(corim: Corim, keys: Collection[bytes]) -> Corim:
    """The CoRIM with these device keys in its first module.

    Raises:
        InputError: `corim.invalid`: another profile, or a key that is not 32 bytes.
    """
    _require_profile(corim)
    triples = tuple(_triple(key) for key in sorted(keys))
    first, *rest = corim.comids
    return replace(corim, comids=(_with(first, triples), *rest))


def device_keys(corim: Corim) -> frozenset[bytes]:
    """The device keys that a CoRIM of Keystone's profile names; maybe none.

    Does not check: that they are points on the curve, or not the published one (`DeviceKeys`).

    Raises:
        InputError: `corim.invalid`: another profile or environment, a UEID of another key.
    """
    _require_profile(corim)
    triples = [triple for comid in corim.comids for triple in comid.attest_keys]
    for triple in triples:
        if triple != _triple(triple.keys[0]):
            raise invalid("has a device key that is not of Keystone's class, or not of its UEID")
    return frozenset(triple.keys[0] for triple in triples)


def _triple(key: bytes) -> AttestKeyTriple:
    if len(key) != KEY_SIZE:
        raise invalid(f"has a device key of {len(key)} bytes, want {KEY_SIZE}")
    environment = Environment(class_id=_CLASS, instance=Ueid(raw=ueid_of(key)))
    return AttestKeyTriple(environment=environment, keys=(key,))


def _with(comid: Comid, triples: tuple[AttestKeyTriple, ...]) -> Comid:
    return replace(comid, attest_keys=(*comid.attest_keys, *triples))


def _require_profile(corim: Corim) -> None:
    if corim.profile != KEYSTONE.id:
        raise invalid(f"has the profile {corim.profile!r}, want {KEYSTONE.id!r}")
