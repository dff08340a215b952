"""Reference values: which environment, which element of it, which digests.

A value that exists is legal, else `InputError` with code `corim.invalid`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from atoll.errors import InputError

MAX_TEXT: Final = 256
MAX_RAW: Final = 1024
MAX_LIST: Final = 256
_MAX_NUMBER: Final = (1 << 64) - 1
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,32}")
_SECOND_ARC: Final = 40
_UEID_SIZES: Final = range(7, 34)

Id = str | UUID


class HashAlg(Enum):
    """Of the registry "Named Information Hash Algorithm"."""

    SHA_256 = 1
    SHA_384 = 7
    SHA_512 = 8
    SHA3_256 = 10
    SHA3_384 = 11
    SHA3_512 = 12

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return _SIZES[self]

    @property
    def text(self) -> str:
        """The registry's name."""
        return self.name.lower().replace("_", "-")


_SIZES: Final = {
    HashAlg.SHA_256: 32,
    HashAlg.SHA_384: 48,
    HashAlg.SHA_512: 64,
    HashAlg.SHA3_256: 32,
    HashAlg.SHA3_384: 48,
    HashAlg.SHA3_512: 64,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Oid:
    """An object identifier in dotted form."""

    text: str

    def __post_init__(self) -> None:
        legal = bool(_OID.fullmatch(self.text))
        if legal and self.text[0] != "2":
            legal = int(self.text.split(".")[1]) < _SECOND_ARC
        if not legal:
            raise invalid(f"has the OID {self.text[:80]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A digest with its algorithm."""

    alg: HashAlg
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != self.alg.size:
            raise invalid(f"has a {self.alg.text} of {len(self.value)} bytes")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ueid:
    """A universal entity id (RFC 9711, section 4.2.1): a type's octet and what it says."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) not in _UEID_SIZES:
            raise invalid(f"has a UEID of {len(self.raw)} bytes, want 7 to 33")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A class of environments, and maybe one instance of it."""

    class_id: Oid | UUID | bytes | None = None
    vendor: str | None = None
    model: str | None = None
    layer: int | None = None
    index: int | None = None
    instance: UUID | Ueid | bytes | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in self.__slots__):
            raise invalid("has an environment that says nothing")
        for text in (self.vendor, self.model):
            require_text(text, "vendor or model")
        for number in (self.layer, self.index):
            require_number(number, "layer or index")
        for raw in (self.class_id, self.instance):
            require_raw(raw if isinstance(raw, bytes) else None, "class or instance id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one element must measure; of each kind of value that is there, all must hold."""

    mkey: Oid | UUID | int | str | None = None
    """Which element; None is the environment as a whole."""
    digests: tuple[Digest, ...] = ()
    """Different algorithms over the same thing: one digest for each."""
    svn: int | None = None
    """Security version, exactly."""
    min_svn: int | None = None
    """Security version, at least; excludes `svn`."""
    raw_value: bytes | None = None
    integrity_registers: tuple[tuple[int | str, tuple[Digest, ...]], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.mkey, int):
            require_number(self.mkey, "measurement key")
        elif isinstance(self.mkey, str):
            require_text(self.mkey, "measurement key")
        for number in (self.svn, self.min_svn):
            require_number(number, "security version")
        require_raw(self.raw_value, "raw value")
        registers = [name for name, _ in self.integrity_registers]
        for name in registers:
            if isinstance(name, str):
                require_text(name, "register")
            else:
                require_number(name, "register")
        twice = self.svn is not None and self.min_svn is not None
        for digests in (self.digests, *(item for _, item in self.integrity_registers)):
            twice = twice or len({item.alg for item in digests}) != len(digests)
        if twice or len(set(registers)) != len(registers):
            raise invalid("has a measurement with two values of a kind")
        if not self._says_something() or not all(item for _, item in self.integrity_registers):
            raise invalid("has a measurement without a value")

    def _says_something(self) -> bool:
        numbers = (self.svn, self.min_svn, self.raw_value)
        some = any(value is not None for value in numbers)
        return some or bool(self.digests) or bool(self.integrity_registers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTriple:
    """An environment and what is expected of it."""

    environment: Environment
    measurements: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        require_some(self.measurements, "measurements")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestKeyTriple:
    """An environment and the keys that its evidence may be signed with, as raw bytes."""

    environment: Environment
    keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        require_some(self.keys, "keys")
        for key in self.keys:
            require_raw(key, "key")
        if len(set(self.keys)) != len(self.keys):
            raise invalid("has a key twice in a triple")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comid:
    """One module's reference values, attestation keys, or both."""

    tag_id: Id
    tag_version: int = 0
    triples: tuple[ReferenceTriple, ...] = ()
    attest_keys: tuple[AttestKeyTriple, ...] = ()

    def __post_init__(self) -> None:
        require_id(self.tag_id)
        require_number(self.tag_version, "tag version")
        require_some((*self.triples, *self.attest_keys), "triples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when (or ever) until when; both in whole seconds."""

    not_before: datetime | None = None
    not_after: datetime

    def __post_init__(self) -> None:
        for moment in (self.not_before, self.not_after):
            if moment is not None and (moment.tzinfo is None or moment.microsecond):
                raise invalid("has a time without a zone, or with parts of a second")
        if self.not_before is not None and self.not_before > self.not_after:
            raise invalid("ends before it begins")

    def covers(self, now: datetime) -> bool:
        """Whether `now` is in it, both ends included."""
        begun = self.not_before is None or self.not_before <= now
        return begun and now <= self.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Corim:
    """A set of modules under one profile."""

    id: Id
    comids: tuple[Comid, ...]
    profile: str | Oid | None = None
    """A URI or OID; it says what the measurement keys mean."""
    validity: Validity | None = None

    def __post_init__(self) -> None:
        require_id(self.id)
        require_some(self.comids, "modules")
        ids = [item.tag_id for item in self.comids]
        if len(set(ids)) != len(ids):
            raise invalid("has two modules with the same tag id")
        if isinstance(self.profile, str):
            require_text(self.profile, "profile")


def invalid(why: str) -> InputError:
    """The error of this package for what a CoRIM says."""
    return InputError(f"CoRIM {why}", code="corim.invalid")


def require_text(value: str | None, what: str) -> None:
    """Raises: InputError: not 1 to 256 printable characters."""
    if value is not None and not (0 < len(value) <= MAX_TEXT and value.isprintable()):
        raise invalid(f"has the {what} {value[:80]!r}")


def require_id(value: Id) -> None:
    """Raises: InputError: text that is no name."""
    if isinstance(value, str):
        require_text(value, "id")


def require_number(value: int | None, what: str) -> None:
    """Raises: InputError: not an unsigned integer of 64 bits."""
    if value is not None and (isinstance(value, bool) or not 0 <= value <= _MAX_NUMBER):
        raise invalid(f"has the {what} {str(value)[:40]}")


def require_raw(value: bytes | None, what: str) -> None:
    """Raises: InputError: not 1 to 1024 bytes."""
    if value is not None and not 0 < len(value) <= MAX_RAW:
        raise invalid(f"has a {what} of {len(value)} bytes, want 1 to {MAX_RAW}")


def require_some(items: tuple[object, ...], what: str) -> None:
    """Raises: InputError: none or too many."""
    if not 1 <= len(items) <= MAX_LIST:
        raise invalid(f"has {len(items)} {what}, want 1 to {MAX_LIST}")
