"""Conceptual Message Wrappers: any message of RATS with its media type around it.

RFC 9999, section 3:

    record      [ type, value, ? ind ]     JSON: value is base64url; CBOR: bytes
    collection  { ? "__cmwc_t": URI or OID, + label => record or collection }
    tag         TN(content-format)(bytes), CBOR only (RFC 9277, section 4.3)

`type` is a media type, or in CBOR also a CoAP content format (RFC 7252, section 12.3);
`ind` is a set of bits that says what role the message has. Labels are text, in CBOR also
integers. A collection may stand in its own tag (the one of application/cmw+cbor).

Not read, but refused: signed CMWs (application/cmw+cose, cmw+jws) and the tunnels of JSON in
CBOR. What is inside a record is not looked at.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Final

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _cbor

MAX_CMW: Final = 512 << 10
MAX_MEMBERS: Final = 64
MAX_DEPTH: Final = 4
MAX_CONTENT_FORMAT: Final = 65024

_TAG_BASE: Final = 1668546817
_TAG_LAST: Final = 1668612095
_PER_BLOCK: Final = 255
_CMW_CBOR: Final = 273
"""The content format of application/cmw+cbor; up to 276 are its signed and JSON kin."""
_CMW_LAST: Final = 276
_KIND_KEY: Final = "__cmwc_t"
_MEDIA_TYPE: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
    r'(?: ?; ?[A-Za-z0-9!#$&^_.+-]{1,64}=(?:[A-Za-z0-9!#$&^_.+:/-]{1,128}|"[ !#-\[\]-~]{0,255}"))*'
)
_KIND: Final = re.compile(
    r"[a-zA-Z][a-zA-Z0-9+.-]*:[!-~]{1,255}|[0-2](?:\.(?:0|[1-9][0-9]*)){1,32}"
)
_LABEL: Final = re.compile(r"[ -~]{1,128}")
_MAX_LABEL: Final = 1 << 63


class CmType(IntFlag):
    """What roles a message has (section 3.1)."""

    REFERENCE_VALUES = 1
    ENDORSEMENTS = 2
    EVIDENCE = 4
    ATTESTATION_RESULTS = 8
    APPRAISAL_POLICY = 16


_ALL: Final = CmType(31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One message. Raises `MalformedEvidenceError` for a type or role that cannot be."""

    type: str | int
    """Media type, or CoAP content format."""
    value: bytes = field(repr=False)
    ind: CmType | None = None

    def __post_init__(self) -> None:
        if isinstance(self.type, str):
            if not _MEDIA_TYPE.fullmatch(self.type):
                raise _malformed(f"has the media type {self.type[:80]!r}")
        elif isinstance(self.type, bool) or not 0 <= self.type <= MAX_CONTENT_FORMAT:
            raise _malformed(f"has the content format {self.type!s:.40}")
        if self.ind is not None and not 0 < int(self.ind) <= int(_ALL):
            raise _malformed(f"has the role bits {int(self.ind)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Several messages by label. Raises `MalformedEvidenceError` for labels that cannot be."""

    members: tuple[tuple[str | int, "Record | Collection"], ...]
    kind: str | None = None
    """What the collection is: a URI or an OID in dotted form."""

    def __post_init__(self) -> None:
        labels = [label for label, _ in self.members]
        if not 1 <= len(labels) <= MAX_MEMBERS or len(set(labels)) != len(labels):
            raise _malformed(f"has {len(labels)} members, want 1 to {MAX_MEMBERS} with own labels")
        for label in labels:
            if isinstance(label, str):
                legal = label != _KIND_KEY and bool(_LABEL.fullmatch(label))
            else:
                legal = not isinstance(label, bool) and -_MAX_LABEL <= label < _MAX_LABEL
            if not legal:
                raise _malformed(f"has the label {str(label)[:80]!r}")
        if self.kind is not None and not _KIND.fullmatch(self.kind):
            raise _malformed(f"has the collection type {self.kind[:80]!r}")

    def get(self, label: str | int) -> "Record | Collection | None":
        """The member with this label, if there is one."""
        return dict(self.members).get(label)


Cmw = Record | Collection


def from_json(raw: bytes) -> Cmw:
    """Read the JSON form; spaces and any order are legal, repeated keys are not.

    Raises:
        MalformedEvidenceError: it is no CMW.
    """
    if len(raw) > MAX_CMW:
        raise _malformed(f"is {len(raw)} bytes, at most {MAX_CMW}")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"is not JSON: {error}"[:200]) from error
    return _read(value, MAX_DEPTH, is_json=True)


def to_json(cmw: Cmw) -> bytes:
    """The JSON form, without spaces.

    Raises:
        ValueError: a content format or an integer label, which JSON cannot carry.
    """
    return json.dumps(_json(cmw), ensure_ascii=False, separators=(",", ":")).encode()


def from_cbor(raw: bytes) -> Cmw:
    """Read the CBOR form: record, collection or tag.

    Raises:
        MalformedEvidenceError: it is no CMW.
    """
    if len(raw) > MAX_CMW:
        raise _malformed(f"is {len(raw)} bytes, at most {MAX_CMW}")
    value = _cbor.loads(raw, structure="CMW", integer_keys=True)
    return _read(value, MAX_DEPTH, is_json=False)


def to_cbor(cmw: Cmw) -> bytes:
    """The CBOR form: arrays and maps, deterministic."""
    return _cbor.dumps(_plain(cmw))


def to_cbor_tag(record: Record) -> bytes:
    """The tag form of a record, which has room for a content format only.

    Raises:
        ValueError: the type is a media type, or there is a role to lose.
    """
    if not isinstance(record.type, int) or record.ind is not None:
        raise ValueError("the tag form carries a content format and nothing else")
    return _cbor.dumps(_cbor.Tagged(tag=tag_number(record.type), value=record.value))


def tag_number(content_format: int) -> int:
    """The CBOR tag of a CoAP content format (RFC 9277, section 4.3)."""
    if not 0 <= content_format <= MAX_CONTENT_FORMAT:
        raise ValueError(f"content format {content_format} has no tag")
    block, rest = divmod(content_format, _PER_BLOCK)
    return _TAG_BASE + (block << 8) + rest


def _content_format(tag: int) -> int:
    block, rest = divmod(tag - _TAG_BASE, _PER_BLOCK + 1)
    if not 0 <= tag - _TAG_BASE <= _TAG_LAST - _TAG_BASE or rest == _PER_BLOCK:
        raise _malformed(f"has the tag {tag}, which is of no content format")
    return block * _PER_BLOCK + rest


def _read(value: Any, depth: int, *, is_json: bool) -> Cmw:
    if depth == 0:
        raise _malformed(f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, list):
        return _record(value, is_json=is_json)
    if isinstance(value, dict):
        kind = value.get(_KIND_KEY)
        if _KIND_KEY in value and not isinstance(kind, str):
            raise _malformed("has a collection type that is not text")
        members = (item for item in value.items() if item[0] != _KIND_KEY)
        read = tuple((label, _read(item, depth - 1, is_json=is_json)) for label, item in members)
        return Collection(members=read, kind=kind)
    if isinstance(value, _cbor.Tagged):
        return _tagged(value, depth)
    raise _malformed("is neither a record, a collection nor a tag")


def _record(value: list[Any], *, is_json: bool) -> Record:
    if len(value) not in {2, 3}:
        raise _malformed(f"has a record of {len(value)}, want 2 or 3")
    type_, content = value[0], value[1]
    if type(type_) is not str and (is_json or type(type_) is not int):
        raise _malformed("has a record whose type is neither a media type nor a content format")
    ind = None
    if len(value) > 2:  # noqa: PLR2004
        if type(value[2]) is not int or not 0 < value[2] <= _ALL:
            raise _malformed(f"has the role bits {str(value[2])[:40]}")
        ind = CmType(value[2])
    if is_json:
        content = _unb64(content)
    if not isinstance(content, bytes):
        raise _malformed("has a record whose value is no byte string")
    return Record(type=type_, value=content, ind=ind)


def _tagged(value: _cbor.Tagged, depth: int) -> Cmw:
    content_format = _content_format(value.tag)
    if not isinstance(value.value, bytes):
        raise _malformed("has a tag around something else than bytes")
    if content_format == _CMW_CBOR:
        # A collection like any message: encoded, and then a byte string (section 3.2).
        inner = _cbor.loads(value.value, structure="CMW", integer_keys=True)
        if not isinstance(inner, dict):
            raise _malformed("has the tag of a collection around something else")
        return _read(inner, depth, is_json=False)
    if _CMW_CBOR < content_format <= _CMW_LAST:
        raise _malformed("is signed or a tunnel, which is not supported")
    return Record(type=content_format, value=value.value)


def _json(cmw: Cmw) -> Any:
    if isinstance(cmw, Record):
        if not isinstance(cmw.type, str):
            raise ValueError("JSON carries media types and no content formats")  # noqa: TRY004
        ind = [] if cmw.ind is None else [int(cmw.ind)]
        return [cmw.type, base64.urlsafe_b64encode(cmw.value).rstrip(b"=").decode(), *ind]
    if not all(isinstance(label, str) for label, _ in cmw.members):
        raise ValueError("JSON has no integer labels")
    kind = {} if cmw.kind is None else {_KIND_KEY: cmw.kind}
    return {**kind, **{label: _json(member) for label, member in cmw.members}}


def _plain(cmw: Cmw) -> Any:
    if isinstance(cmw, Record):
        return [cmw.type, cmw.value, *([] if cmw.ind is None else [int(cmw.ind)])]
    kind = {} if cmw.kind is None else {_KIND_KEY: cmw.kind}
    return {**kind, **{label: _plain(member) for label, member in cmw.members}}


def _unb64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise _malformed("has a record whose value is not text")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _malformed("has a value that is not base64url") from error
    # One text for each value: no padding, no stray bits in the last character.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise _malformed("has a value that is not canonical unpadded base64url")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _malformed(why: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("CMW", 0, why)
