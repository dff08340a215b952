"""Reference values that are digests, to and from the sets of a policy (docs/formats/corim.md).

| profile                | environment                | mkey                       | digest   |
| urn:atoll:corim:tdx:v1 | vendor Intel, TDX module   | mr_seam                    | SHA-384  |
|                        | vendor Intel, TD           | mr_td, rtmr0 to rtmr3      | SHA-384  |
| urn:atoll:corim:vtpm:v1 | model virtual TPM         | pcr0, kernel, pcr9         | SHA-256  |
| OID below 2.25         | class-id, the same OID     | sm, enclave                | SHA3-512 |

The last is docs/formats/keystone-eat.md. Alternatives are triples of their own, because one
`digests` may not have two values of an algorithm (CoRIM, "Digest"). A triple says which values
occur together. A policy has independent sets, so what is read must be every combination of what
occurs: then, and only then, both say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final

from atoll.corim.values import (
    MAX_LIST,
    Comid,
    Corim,
    Digest,
    Environment,
    HashAlg,
    Id,
    Measurement,
    Oid,
    ReferenceTriple,
    Validity,
    invalid,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Which fields of a policy are which elements of which environments."""

    id: str | Oid
    alg: HashAlg
    environments: Mapping[Environment, Mapping[str, str]]
    """For each: the policy's field for each measurement key."""
    attest_keys: bool = False
    """Whether attest-key triples belong to it; they are no reference values."""


TDX: Final = Profile(
    id="urn:atoll:corim:tdx:v1",
    alg=HashAlg.SHA_384,
    environments={
        Environment(vendor="Intel", model="TDX module"): {"mr_seam": "mr_seams"},
        Environment(vendor="Intel", model="TD"): {
            "mr_td": "mr_tds",
            "rtmr0": "rtmr0s",
            "rtmr1": "rtmr1s",
            "rtmr2": "rtmr2s",
            "rtmr3": "rtmr3s",
        },
    },
)
VTPM: Final = Profile(
    id="urn:atoll:corim:vtpm:v1",
    alg=HashAlg.SHA_256,
    environments={
        Environment(model="virtual TPM"): {
            "pcr0": "pcr0s",
            "kernel": "kernel_digests",
            "pcr9": "pcr9s",
        },
    },
)
_KEYSTONE_OID: Final = Oid(text="2.25.143718767648314809748152871613405887265")
KEYSTONE: Final = Profile(
    id=_KEYSTONE_OID,
    alg=HashAlg.SHA3_512,
    attest_keys=True,
    environments={
        Environment(class_id=_KEYSTONE_OID): {"sm": "sm_hashes", "enclave": "enclave_hashes"}
    },
)
_Row = tuple[tuple[str, bytes], ...]


def to_corim(
    profile: Profile,
    fields: Mapping[str, frozenset[bytes]],
    *,
    corim_id: Id,
    tag_id: Id,
    validity: Validity | None = None,
) -> Corim:
    """One module with every combination of the policy fields that are given.

    Raises:
        InputError: `corim.invalid`: an unknown field, an empty set, or too many combinations.
    """
    known = {name for names in profile.environments.values() for name in names.values()}
    if fields.keys() - known or not all(fields.values()):
        raise invalid(f"can have {sorted(known)}, none of them empty")
    triples = tuple(
        triple
        for environment in profile.environments
        for triple in _triples(profile, environment, fields)
    )
    comid = Comid(tag_id=tag_id, triples=triples)
    return Corim(id=corim_id, comids=(comid,), profile=profile.id, validity=validity)


def from_corim(profile: Profile, corim: Corim) -> dict[str, frozenset[bytes]]:
    """The policy fields that a CoRIM speaks about; use them with `dataclasses.replace`.

    Does not read: attestation keys, where the profile has them (`keystone.device_keys`).

    Raises:
        InputError: `corim.invalid`: another profile, environment or element, or combinations
            that independent sets would widen.
    """
    if corim.profile != profile.id:
        raise invalid(f"has the profile {corim.profile!r}, want {profile.id!r}")
    found: dict[Environment, set[_Row]] = {}
    for comid in corim.comids:
        if comid.attest_keys and not profile.attest_keys:
            raise invalid("has attestation keys, which its profile does not know")
        for triple in comid.triples:
            if triple.environment not in profile.environments:
                raise invalid(f"is about another environment: {triple.environment}"[:300])
            found.setdefault(triple.environment, set()).add(_row(profile, triple))
    if not found:
        raise invalid("has no reference values")
    return {
        name: values
        for environment, combinations in found.items()
        for name, values in _columns(profile.environments[environment], combinations).items()
    }


def _triples(
    profile: Profile, environment: Environment, fields: Mapping[str, frozenset[bytes]]
) -> list[ReferenceTriple]:
    elements = profile.environments[environment]
    said = {mkey: sorted(fields[name]) for mkey, name in elements.items() if name in fields}
    if not said:
        return []
    if prod(map(len, said.values())) > MAX_LIST:
        raise invalid(f"can have {MAX_LIST} combinations")
    return [
        ReferenceTriple(
            environment=environment,
            measurements=tuple(
                Measurement(mkey=mkey, digests=(Digest(alg=profile.alg, value=value),))
                for mkey, value in zip(said, row, strict=True)
            ),
        )
        for row in product(*said.values())
    ]


def _row(profile: Profile, triple: ReferenceTriple) -> _Row:
    elements = profile.environments[triple.environment]
    cells: dict[str, bytes] = {}
    for item in triple.measurements:
        if not isinstance(item.mkey, str) or item.mkey not in elements or item.mkey in cells:
            raise invalid(f"has the element {str(item.mkey)[:80]!r} twice or unexpected")
        alone = len(item.digests) == 1 and item == Measurement(mkey=item.mkey, digests=item.digests)
        if not alone or item.digests[0].alg is not profile.alg:
            raise invalid(f"has an element {item.mkey!r} that is not one {profile.alg.text} alone")
        cells[item.mkey] = item.digests[0].value
    return tuple(sorted(cells.items()))


def _columns(elements: Mapping[str, str], rows: set[_Row]) -> dict[str, frozenset[bytes]]:
    if len({tuple(mkey for mkey, _ in row) for row in rows}) != 1:
        raise invalid("has combinations with different elements")
    columns: dict[str, set[bytes]] = {}
    for row in rows:
        for mkey, value in row:
            columns.setdefault(mkey, set()).add(value)
    if prod(map(len, columns.values())) != len(rows):
        raise invalid("has combinations that independent sets would widen")
    return {elements[mkey]: frozenset(values) for mkey, values in columns.items()}
