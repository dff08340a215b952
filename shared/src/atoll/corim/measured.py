"""TDX and Keystone reference values, to and from the sets of a policy (docs/formats/corim.md).

| profile                | environment                | mkey                       | digest   |
| urn:atoll:corim:tdx:v1 | vendor Intel, TDX module   | mr_seam                    | SHA-384  |
|                        | vendor Intel, TD           | mr_td, rtmr0 to rtmr3      | SHA-384  |
| OID below 2.25         | class-id, the same OID     | sm, enclave                | SHA3-512 |

The second is docs/formats/keystone-eat.md, in which several digests of an element are
alternatives. A triple says which values occur together. A policy has independent sets, so what
is read must be every combination of what occurs: then, and only then, both say the same.
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
    alternatives: bool
    """Whether an element may have several digests, of which one must match."""
    environments: Mapping[Environment, Mapping[str, str]]
    """For each: the policy's field for each measurement key."""


TDX: Final = Profile(
    id="urn:atoll:corim:tdx:v1",
    alg=HashAlg.SHA_384,
    alternatives=False,
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
_KEYSTONE_OID: Final = Oid(text="2.25.143718767648314809748152871613405887265")
KEYSTONE: Final = Profile(
    id=_KEYSTONE_OID,
    alg=HashAlg.SHA3_512,
    alternatives=True,
    environments={
        Environment(class_id=_KEYSTONE_OID): {"sm": "sm_hashes", "enclave": "enclave_hashes"}
    },
)
_MAX_ROWS: Final = 4096
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

    Raises:
        InputError: `corim.invalid`: another profile, environment or element, or combinations
            that independent sets would widen.
    """
    if corim.profile != profile.id:
        raise invalid(f"has the profile {corim.profile!r}, want {profile.id!r}")
    found: dict[Environment, set[_Row]] = {}
    for comid in corim.comids:
        for triple in comid.triples:
            if triple.environment not in profile.environments:
                raise invalid(f"is about another environment: {triple.environment}"[:300])
            rows = _rows(profile, triple)
            every = found.setdefault(triple.environment, set())
            every |= rows
            if len(every) > _MAX_ROWS:
                raise invalid(f"has more than {_MAX_ROWS} combinations")
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
    if profile.alternatives:
        choices = [tuple(said.values())]
    elif prod(map(len, said.values())) > MAX_LIST:
        raise invalid(f"can have {MAX_LIST} combinations")
    else:
        choices = [tuple([value] for value in row) for row in product(*said.values())]
    return [
        ReferenceTriple(
            environment=environment,
            measurements=tuple(
                _measurement(profile, mkey, values)
                for mkey, values in zip(said, choice, strict=True)
            ),
        )
        for choice in choices
    ]


def _measurement(profile: Profile, mkey: str, values: list[bytes]) -> Measurement:
    digests = tuple(Digest(alg=profile.alg, value=value) for value in values)
    return Measurement(mkey=mkey, digests=digests)


def _rows(profile: Profile, triple: ReferenceTriple) -> set[_Row]:
    elements = profile.environments[triple.environment]
    cells: dict[str, list[bytes]] = {}
    for item in triple.measurements:
        if not isinstance(item.mkey, str) or item.mkey not in elements or item.mkey in cells:
            raise invalid(f"has the element {str(item.mkey)[:80]!r} twice or unexpected")
        alone = item.digests and item == Measurement(mkey=item.mkey, digests=item.digests)
        if not alone or any(digest.alg is not profile.alg for digest in item.digests):
            raise invalid(f"has an element {item.mkey!r} that is not {profile.alg.text} alone")
        if len(item.digests) > 1 and not profile.alternatives:
            raise invalid(f"has several digests for {item.mkey!r}")
        cells[item.mkey] = [digest.value for digest in item.digests]
    if prod(map(len, cells.values())) > _MAX_ROWS:
        raise invalid(f"has more than {_MAX_ROWS} combinations in a triple")
    names = sorted(cells)
    rows = product(*(cells[name] for name in names))
    return {tuple(zip(names, row, strict=True)) for row in rows}


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
