"""CoRIM to and from CBOR.

| structure            | key: member read here                                               |
| corim-map (tag 501)  | 0 id, 1 tags, 3 profile, 4 rim-validity, 5 entities (not kept)      |
| tags                 | 506 around the bytes of a concise-mid-tag                           |
| ids                  | text, or a UUID as 16 bytes without tag                             |
| concise-mid-tag      | 0 language (not kept), 1 tag-identity {0, 1}, 2 entities (not kept), |
|                      | 4 triples                                                           |
| triples-map          | 0 reference-triples [ [environment, [measurement ...]] ... ]        |
|                      | 3 attest-key-triples [ [environment, [key ...]] ... ], no conditions |
| environment-map      | 0 class {0 id, 1 vendor, 2 model, 3 layer, 4 index}, 1 instance     |
| measurement-map      | 0 mkey, 1 mval                                                      |
| mval                 | 1 svn, 2 digests, 4 raw-value, 14 integrity-registers               |
| tags of values       | 1 time, 32 URI, 37 UUID, 111 OID, 550 UEID, 552 svn, 553 min-svn,   |
|                      | 560 bytes                                                           |

Any other member and any other tag is refused: `corim.unsupported` if the draft has it.
Who wrote it (entities) says nothing that is checked, so it is read over; `signed` says who
signed.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from cbor2 import CBORTag

from atoll import cbor
from atoll.corim.oids import oid_from_ber, oid_to_ber
from atoll.corim.values import (
    MAX_LIST,
    AttestKeyTriple,
    Comid,
    Corim,
    Digest,
    Environment,
    HashAlg,
    Id,
    Measurement,
    Oid,
    ReferenceTriple,
    Ueid,
    Validity,
    invalid,
)
from atoll.errors import InputError, UnsupportedError

T = TypeVar("T")

MAX_CORIM: Final = 256 << 10
TAG_CORIM: Final = 501
TAG_COMID: Final = 506
TIME, URI, UUID_TAG, OID, UEID, SVN, MIN_SVN, BYTES = 1, 32, 37, 111, 550, 552, 553, 560
_REGISTERS: Final = 14
_KEYS: Final = 3
_UUID_SIZE: Final = 16
_VALUE_TAGS: Final = frozenset({TIME, URI, UUID_TAG, OID, UEID, SVN, MIN_SVN, BYTES})
_NOT_READ: Final = {
    505: "a CoSWID",
    508: "a list of trusted tags",
    **dict.fromkeys((554, 555, 556, 557, 558, 559, 561, 562), "a key or certificate"),
    563: "a masked value",
    564: "a range of numbers",
}
"""The draft's other tags, to be refused by name."""


def to_cbor(corim: Corim) -> bytes:
    """The tagged, unsigned form."""
    value: dict[int, Any] = {
        0: _write_id(corim.id),
        1: [CBORTag(TAG_COMID, cbor.dumps(_comid(item))) for item in corim.comids],
    }
    if corim.profile is not None:
        is_oid = isinstance(corim.profile, Oid)
        value[3] = _oid(corim.profile) if is_oid else CBORTag(URI, corim.profile)
    if corim.validity is not None:
        value[4] = validity_map(corim.validity)
    return cbor.dumps(CBORTag(TAG_CORIM, value))


def from_cbor(raw: bytes) -> Corim:
    """Read the tagged, unsigned form. Proves nothing about who wrote it.

    Raises:
        InputError: `cbor.malformed` or `corim.invalid`; `corim.unsupported`
            (UnsupportedError) for members that this build does not know.
    """
    tags = {TAG_CORIM, TAG_COMID, *_VALUE_TAGS, *_NOT_READ}
    value = cbor.loads(raw, limit=MAX_CORIM, tags=tags)
    fields = _map(_untag(value, TAG_CORIM, "CoRIM"), "corim-map", {0, 1}, {3, 4, 5})
    comids = [_untag(item, TAG_COMID, "tag") for item in _list(fields[1], "tags")]
    return Corim(
        id=_id(fields[0]),
        comids=tuple(_read_comid(_typed(item, bytes, "tag")) for item in comids),
        profile=_optional(fields, 3, _read_profile),
        validity=_optional(fields, 4, read_validity),
    )


def validity_map(validity: Validity) -> dict[int, Any]:
    """A validity-map."""
    begin = {} if validity.not_before is None else {0: validity.not_before}
    return {**begin, 1: validity.not_after}


def read_validity(value: Any) -> Validity:
    """Read a validity-map. Raises: InputError."""
    fields = _map(value, "validity-map", {1}, {0})
    return Validity(not_before=_optional(fields, 0, _time), not_after=_time(fields[1]))


def _comid(comid: Comid) -> dict[int, Any]:
    triples = [
        [_environment(item.environment), [_measurement(one) for one in item.measurements]]
        for item in comid.triples
    ]
    keys = [
        [_environment(item.environment), [CBORTag(BYTES, key) for key in item.keys]]
        for item in comid.attest_keys
    ]
    said = {key: item for key, item in ((0, triples), (_KEYS, keys)) if item}
    return {1: {0: _write_id(comid.tag_id), 1: comid.tag_version}, 4: said}


def _write_id(value: Id) -> str | bytes:
    return value.bytes if isinstance(value, UUID) else value


def _environment(environment: Environment) -> dict[int, Any]:
    members = {
        0: _tagged(environment.class_id),
        1: environment.vendor,
        2: environment.model,
        3: environment.layer,
        4: environment.index,
    }
    found = {key: value for key, value in members.items() if value is not None}
    value: dict[int, Any] = {0: found} if found else {}
    if environment.instance is not None:
        value[1] = _tagged(environment.instance)
    return value


def _measurement(measurement: Measurement) -> dict[int, Any]:
    values: dict[int, Any] = {}
    if measurement.svn is not None:
        values[1] = CBORTag(SVN, measurement.svn)
    if measurement.min_svn is not None:
        values[1] = CBORTag(MIN_SVN, measurement.min_svn)
    if measurement.digests:
        values[2] = _digests(measurement.digests)
    if measurement.raw_value is not None:
        values[4] = CBORTag(BYTES, measurement.raw_value)
    if measurement.integrity_registers:
        values[14] = {name: _digests(item) for name, item in measurement.integrity_registers}
    mkey = measurement.mkey
    return {1: values} if mkey is None else {0: _tagged(mkey), 1: values}


def _digests(digests: tuple[Digest, ...]) -> list[Any]:
    return [[item.alg.value, item.value] for item in digests]


def _tagged(value: Any) -> Any:
    if isinstance(value, Oid):
        return _oid(value)
    if isinstance(value, Ueid):
        return CBORTag(UEID, value.raw)
    return CBORTag(BYTES, value) if isinstance(value, bytes) else value


def _oid(value: Any) -> CBORTag:
    return CBORTag(OID, oid_to_ber(value.text))


def _read_comid(raw: bytes) -> Comid:
    value = cbor.loads(raw, limit=MAX_CORIM, tags={*_VALUE_TAGS, *_NOT_READ})
    fields = _map(value, "concise-mid-tag", {1, 4}, {0, 2})
    identity = _map(fields[1], "tag-identity-map", {0}, {1})
    triples = _map(fields[4], "triples-map", set(), {0, _KEYS})
    return Comid(
        tag_id=_id(identity[0]),
        tag_version=_typed(identity.get(1, 0), int, "tag version"),
        triples=_triples(triples, 0, "reference-triples", _read_triple),
        attest_keys=_triples(triples, _KEYS, "attest-key-triples", _read_keys),
    )


def _triples(
    fields: Mapping[Any, Any], key: int, what: str, read: Callable[[Any], T]
) -> tuple[T, ...]:
    return tuple(read(item) for item in _list(fields[key], what)) if key in fields else ()


def _read_triple(value: Any) -> ReferenceTriple:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004
        raise invalid("has a reference triple that is not two items")
    measurements = _list(value[1], "measurements")
    return ReferenceTriple(
        environment=_read_environment(value[0]),
        measurements=tuple(_read_measurement(item) for item in measurements),
    )


def _read_keys(value: Any) -> AttestKeyTriple:
    if not isinstance(value, list) or len(value) not in {2, 3}:
        raise invalid("has an attest-key triple that is not environment and keys")
    if len(value) != 2:  # noqa: PLR2004
        raise _unsupported("has an attest-key triple with conditions")
    keys = (_typed(_untag(item, BYTES, "key"), bytes, "key") for item in _list(value[1], "keys"))
    return AttestKeyTriple(environment=_read_environment(value[0]), keys=tuple(keys))


def _read_environment(value: Any) -> Environment:
    fields = _map(value, "environment-map", set(), {0, 1})
    members = _map(fields.get(0, {}), "class-map", set(), {0, 1, 2, 3, 4})
    return Environment(
        class_id=_optional(members, 0, _class_id),
        vendor=_optional(members, 1, _text),
        model=_optional(members, 2, _text),
        layer=_optional(members, 3, _number),
        index=_optional(members, 4, _number),
        instance=_optional(fields, 1, _instance),
    )


def _read_measurement(value: Any) -> Measurement:
    fields = _map(value, "measurement-map", {1}, {0})
    values = _map(fields[1], "measurement-values-map", set(), {1, 2, 4, 14})
    svn = values.get(1)
    minimum = isinstance(svn, CBORTag) and svn.tag == MIN_SVN
    number = _read_svn(svn) if 1 in values else None
    registers = values.get(_REGISTERS, {})
    if not isinstance(registers, dict) or (_REGISTERS in values and not registers):
        raise invalid("has integrity registers that are no map")
    return Measurement(
        mkey=_optional(fields, 0, _mkey),
        svn=None if minimum else number,
        min_svn=number if minimum else None,
        digests=_optional(values, 2, _read_digests) or (),
        raw_value=_optional(values, 4, _raw),
        integrity_registers=tuple((name, _read_digests(item)) for name, item in registers.items()),
    )


def _read_svn(value: Any) -> int:
    if isinstance(value, CBORTag):
        if value.tag not in {SVN, MIN_SVN}:
            raise invalid(f"has a security version under the tag {value.tag}")
        value = value.value
    return _number(value)


def _read_digests(value: Any) -> tuple[Digest, ...]:
    return tuple(_read_digest(item) for item in _list(value, "digests"))


def _read_digest(value: Any) -> Digest:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004
        raise invalid("has a digest that is not algorithm and value")
    name = value[0]
    for alg in HashAlg:
        if type(name) in {int, str} and name in {alg.value, alg.text}:
            return Digest(alg=alg, value=_typed(value[1], bytes, "digest"))
    raise _unsupported(f"has a digest of the algorithm {str(name)[:40]!r}")


def _mkey(value: Any) -> Oid | UUID | int | str:
    if isinstance(value, UUID):
        return value
    if isinstance(value, CBORTag):
        return oid_from_ber(_typed(_untag(value, OID, "measurement key"), bytes, "OID"))
    return _text(value) if isinstance(value, str) else _number(value)


def _class_id(value: Any) -> Oid | UUID | bytes:
    if isinstance(value, CBORTag) and value.tag == OID:
        return oid_from_ber(_typed(value.value, bytes, "OID"))
    return _uuid_or_bytes(value)


def _instance(value: Any) -> UUID | Ueid | bytes:
    if isinstance(value, CBORTag) and value.tag == UEID:
        return Ueid(raw=_typed(value.value, bytes, "UEID"))
    return _uuid_or_bytes(value)


def _uuid_or_bytes(value: Any) -> UUID | bytes:
    if isinstance(value, UUID):
        return value
    raw: bytes = _typed(_untag(value, BYTES, "class or instance id"), bytes, "id")
    return raw


def _raw(value: Any) -> bytes:
    raw: bytes = _typed(_untag(value, BYTES, "raw value"), bytes, "raw value")
    return raw


def _read_profile(value: Any) -> str | Oid:
    if isinstance(value, CBORTag) and value.tag == OID:
        return oid_from_ber(_typed(value.value, bytes, "OID"))
    return _text(_untag(value, URI, "profile"))


def _id(value: Any) -> Id:
    if type(value) is bytes and len(value) == _UUID_SIZE:
        return UUID(bytes=value)
    return _text(value)


def _text(value: Any) -> str:
    text: str = _typed(value, str, "text")
    return text


def _number(value: Any) -> int:
    number: int = _typed(value, int, "number")
    return number


def _time(value: Any) -> datetime:
    moment: datetime = _typed(value, datetime, "time")
    return moment.astimezone(UTC)


def _typed(value: Any, kind: type, what: str) -> Any:
    # `type`, because a boolean is an int in Python and not in CBOR.
    if type(value) is not kind:
        raise invalid(f"has a {what} that is {type(value).__name__}, want {kind.__name__}")
    return value


def _untag(value: Any, tag: int, what: str) -> Any:
    if isinstance(value, CBORTag) and value.tag in _NOT_READ:
        kind = _NOT_READ[value.tag]
        raise _unsupported(f"has a {what} that is {kind} (tag {value.tag}), which is not read here")
    if not isinstance(value, CBORTag) or value.tag != tag:
        raise invalid(f"has a {what} that is not under the tag {tag}")
    return value.value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        raise invalid(f"has {what} that are no list of 1 to {MAX_LIST}")
    return value


def _map(value: Any, what: str, need: set[int], may: set[int]) -> Mapping[Any, Any]:
    if not isinstance(value, dict) or need - value.keys():
        raise invalid(f"has a {what} without {sorted(need)}")
    if unknown := value.keys() - need - may:
        names = sorted(map(str, unknown))
        raise _unsupported(f"has a {what} with {names}, which this build does not know")
    return value


def _optional(fields: Mapping[Any, Any], key: int, read: Callable[[Any], T]) -> T | None:
    return read(fields[key]) if key in fields else None


def _unsupported(why: str) -> InputError:
    return UnsupportedError(f"CoRIM {why}"[:400], code="corim.unsupported")
