"""SEV-SNP reference values by AMD's profile (draft-deeglaze-amd-sev-snp-corim-profile).

| field                 | mkey | value                                       |
| GUEST_SVN             | 1    | min-svn                                     |
| FAMILY_ID, IMAGE_ID   | 3, 4 | raw-value, 16 bytes                         |
| MEASUREMENT           | 641  | digests, SHA-384; one triple for each image |
| ID_KEY_DIGEST         | 643  | digests, SHA-384                            |
| AUTHOR_KEY_DIGEST     | 644  | digests, SHA-384                            |

The class is by chip, OID 1.3.6.1.4.1.3704.3.1. The profile gives OIDs in their whole DER
form where CoRIM means the content only (RFC 9090); written is the content, read are both.

Not exchanged: TCB versions, because the profile packs eight components into one number that
would be compared as one, and HOST_DATA, to which the profile gives a digest of another size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from atoll.corim.values import (
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
from atoll.evidence.policy import SnpPolicy

PROFILE: Final = "tag:amd.com,2025:snp-corim-profile"
BY_CHIP: Final = Oid(text="1.3.6.1.4.1.3704.3.1")
_WITH_HEADER: Final = Oid(text="0.6.9.43.6.1.4.1.3704.3.1")
"""What the profile's examples say when tag and length are read as content, too."""
GUEST_SVN, FAMILY_ID, IMAGE_ID = 1, 3, 4
MEASUREMENT, ID_KEY_DIGEST, AUTHOR_KEY_DIGEST = 641, 643, 644

_ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReferenceValues:
    """What one image, or several, are known to report. Empty or None: nothing is said."""

    measurements: frozenset[bytes]
    id_key_digests: frozenset[bytes] = frozenset()
    author_key_digests: frozenset[bytes] = frozenset()
    family_id: bytes | None = None
    image_id: bytes | None = None
    minimum_guest_svn: int | None = None

    def __post_init__(self) -> None:
        digests = (*self.measurements, *self.id_key_digests, *self.author_key_digests)
        ids = (self.family_id, self.image_id)
        wrong = any(len(item) != HashAlg.SHA_384.size for item in digests)
        if wrong or any(item is not None and len(item) != _ID_SIZE for item in ids):
            raise invalid("has a digest or id of another size than SEV-SNP's")
        if not self.measurements:
            raise invalid("names no measurement")

    def apply(self, policy: SnpPolicy) -> SnpPolicy:
        """The policy with these values instead of its own, where anything is said."""
        said = {
            "measurements": self.measurements,
            "id_key_digests": self.id_key_digests or None,
            "author_key_digests": self.author_key_digests or None,
            "family_id": self.family_id,
            "image_id": self.image_id,
            "minimum_guest_svn": self.minimum_guest_svn,
        }
        changes = {name: value for name, value in said.items() if value is not None}
        return replace(policy, **changes)  # type: ignore[arg-type]


def snp_to_corim(
    values: SnpReferenceValues, *, corim_id: Id, tag_id: Id, validity: Validity | None = None
) -> Corim:
    """One module; every measurement is a triple, because they are alternatives."""
    shared = tuple(_shared(values))
    triples = tuple(
        ReferenceTriple(
            environment=Environment(class_id=BY_CHIP),
            measurements=(_digest(MEASUREMENT, item), *shared),
        )
        for item in sorted(values.measurements)
    )
    comid = Comid(tag_id=tag_id, triples=triples)
    return Corim(id=corim_id, comids=(comid,), profile=PROFILE, validity=validity)


def snp_from_corim(corim: Corim) -> SnpReferenceValues:
    """The values of a CoRIM under AMD's profile, in which all triples agree on all else
    than the measurement.

    Raises:
        InputError: `corim.invalid`: another profile, class or key, or triples that a
            policy's independent sets could not express.
    """
    if corim.profile != PROFILE:
        raise invalid(f"has the profile {corim.profile!r}, want {PROFILE!r}")
    if any(comid.attest_keys for comid in corim.comids):
        raise invalid("has attestation keys, which a policy has no field for")
    found = [_read(triple) for comid in corim.comids for triple in comid.triples]
    first = found[0]
    if any(replace(item, measurements=first.measurements) != first for item in found):
        raise invalid("has images with different keys, ids or versions; one policy cannot say so")
    measurements = frozenset().union(*(item.measurements for item in found))
    return replace(first, measurements=measurements)


def _shared(values: SnpReferenceValues) -> list[Measurement]:
    keyed = (
        (ID_KEY_DIGEST, values.id_key_digests),
        (AUTHOR_KEY_DIGEST, values.author_key_digests),
    )
    for _, digests in keyed:
        if len(digests) > 1:
            raise invalid("can name one key digest for an image, not several")
    shared = [_digest(mkey, item) for mkey, digests in keyed for item in digests]
    for mkey, raw in ((FAMILY_ID, values.family_id), (IMAGE_ID, values.image_id)):
        if raw is not None:
            shared.append(Measurement(mkey=mkey, raw_value=raw))
    if values.minimum_guest_svn is not None:
        shared.append(Measurement(mkey=GUEST_SVN, min_svn=values.minimum_guest_svn))
    return shared


def _digest(mkey: int, value: bytes) -> Measurement:
    return Measurement(mkey=mkey, digests=(Digest(alg=HashAlg.SHA_384, value=value),))


def _read(triple: ReferenceTriple) -> SnpReferenceValues:
    _require_class(triple.environment)
    by_key = {item.mkey: item for item in triple.measurements}
    known = {GUEST_SVN, FAMILY_ID, IMAGE_ID, MEASUREMENT, ID_KEY_DIGEST, AUTHOR_KEY_DIGEST}
    if len(by_key) != len(triple.measurements) or by_key.keys() - known:
        raise invalid("has a measurement twice, or one that a policy has no field for")
    return SnpReferenceValues(
        measurements=_read_digest(by_key, MEASUREMENT),
        id_key_digests=_read_digest(by_key, ID_KEY_DIGEST),
        author_key_digests=_read_digest(by_key, AUTHOR_KEY_DIGEST),
        family_id=_read_raw(by_key, FAMILY_ID),
        image_id=_read_raw(by_key, IMAGE_ID),
        minimum_guest_svn=_read_svn(by_key),
    )


def _require_class(environment: Environment) -> None:
    if environment not in {Environment(class_id=BY_CHIP), Environment(class_id=_WITH_HEADER)}:
        raise invalid(f"is about another environment than SEV-SNP by chip: {environment}"[:300])


def _read_digest(by_key: Mapping[Any, Measurement], mkey: int) -> frozenset[bytes]:
    if mkey not in by_key:
        return frozenset()
    digests = by_key[mkey].digests
    alone = len(digests) == 1 and by_key[mkey] == Measurement(mkey=mkey, digests=digests)
    if not alone or digests[0].alg is not HashAlg.SHA_384:
        raise invalid(f"has a measurement {mkey} that is not one SHA-384 digest alone")
    return frozenset({digests[0].value})


def _read_raw(by_key: Mapping[Any, Measurement], mkey: int) -> bytes | None:
    if mkey not in by_key:
        return None
    raw = by_key[mkey].raw_value
    if raw is None or by_key[mkey] != Measurement(mkey=mkey, raw_value=raw):
        raise invalid(f"has a measurement {mkey} that is not a raw value alone")
    return raw


def _read_svn(by_key: Mapping[Any, Measurement]) -> int | None:
    if GUEST_SVN not in by_key:
        return None
    minimum = by_key[GUEST_SVN].min_svn
    if minimum is None or by_key[GUEST_SVN] != Measurement(mkey=GUEST_SVN, min_svn=minimum):
        raise invalid("has a GUEST_SVN that is not a minimum alone")
    return minimum
