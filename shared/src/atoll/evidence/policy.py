"""What a relying party accepts of SEV-SNP evidence, every field said explicitly.

A field that shall not be checked carries `UNCHECKED`. There are no defaults: leaving
a field out is an error, and an empty set of acceptable values accepts nothing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.certs import Signer
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import MAX_VMPL, PlatformInfo

VERSION: Final = 1
MAX_POLICY: Final = 256 << 10
_UNCHECKED: Final = "unchecked"
_MAX_SVN: Final = (1 << 32) - 1


class Unchecked(Enum):
    """The one value that says "do not check this"."""

    UNCHECKED = _UNCHECKED


UNCHECKED: Final = Unchecked.UNCHECKED


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """What a report must say. The comment under a field is what passes."""

    measurements: frozenset[bytes] | Unchecked
    """MEASUREMENT is one of these."""
    minimum_tcb: TcbVersion | Unchecked
    """Each component of REPORTED_TCB is at least this."""
    allow_provisional_firmware: bool
    """False: COMMITTED_TCB is CURRENT_TCB, so the firmware cannot be rolled back."""
    products: frozenset[Product] | Unchecked
    """The product line is one of these."""
    signers: frozenset[Signer] | Unchecked
    """The report is signed by one of these kinds of key."""
    vmpls: frozenset[int] | Unchecked
    """The requester's privilege level is one of these."""
    allow_debug: bool
    """False: POLICY has no DEBUG, with which the host could read the guest's memory."""
    allow_migrate_ma: bool
    """False: POLICY has no MIGRATE_MA, so no migration agent can take the guest away."""
    allow_smt: bool
    """False: POLICY does not allow hyper-threads of others on the same core."""
    host_data: bytes | Unchecked
    """HOST_DATA is this."""
    id_key_digests: frozenset[bytes] | Unchecked
    """ID_KEY_DIGEST is one of these."""
    author_key_digests: frozenset[bytes] | Unchecked
    """AUTHOR_KEY_EN is set and AUTHOR_KEY_DIGEST is one of these."""
    family_id: bytes | Unchecked
    image_id: bytes | Unchecked
    chip_ids: frozenset[bytes] | Unchecked
    """CHIP_ID is one of these."""
    minimum_guest_svn: int | Unchecked
    platform_info_required: PlatformInfo | Unchecked
    """PLATFORM_INFO has all these bits."""
    platform_info_forbidden: PlatformInfo | Unchecked
    """PLATFORM_INFO has none of these bits."""
    require_crl: bool
    """True: the chain was checked against a current revocation list."""

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if form.kind is not bool and value is UNCHECKED:
                continue
            problem = form.problem(value)
            if problem is not None:
                raise InputError(f"policy.{name}: {problem}", code="policy.invalid")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: the name of this policy in results."""
        return hashlib.sha256(policy_to_json(self)).digest()


def policy_to_json(policy: SnpPolicy) -> bytes:
    """The canonical JSON form."""
    value: dict[str, Any] = {"version": VERSION, "tee": "sev-snp"}
    for name, form in _FORMS.items():
        field = getattr(policy, name)
        value[name] = _UNCHECKED if field is UNCHECKED else form.write(field)
    return canonical.dumps(value)


def policy_from_json(raw: bytes) -> SnpPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    if len(raw) > MAX_POLICY:
        raise _invalid("policy", f"is {len(raw)} bytes, at most {MAX_POLICY}")
    value = canonical.loads(raw)
    if not isinstance(value, dict):
        raise _invalid("policy", "is not an object")
    missing = {"version", "tee", *_FORMS} - value.keys()
    unknown = value.keys() - {"version", "tee", *_FORMS}
    if missing or unknown:
        names = f"lacks {sorted(missing)}" if missing else f"has unknown {sorted(unknown)}"
        raise _invalid("policy", names[:400])
    if value["version"] is True or value["version"] != VERSION or value["tee"] != "sev-snp":
        raise _invalid("policy", "is not version 1 of a sev-snp policy")
    return SnpPolicy(**{name: form.read(name, value[name]) for name, form in _FORMS.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How one field is checked and how it looks in JSON."""

    kind: type
    write: Callable[[Any], Any]
    parse: Callable[[Any], Any]
    item: Callable[[Any], str | None]

    def problem(self, value: Any) -> str | None:
        """Why `value` is not legal, or None."""
        if not isinstance(value, self.kind) or (self.kind is int and isinstance(value, bool)):
            return f"is a {type(value).__name__}, want {self.kind.__name__}"
        items = value if isinstance(value, frozenset) else (value,)
        return next((why for why in map(self.item, items) if why is not None), None)

    def read(self, name: str, value: Any) -> Any:
        """The value of this field's JSON form."""
        if value == _UNCHECKED and self.kind is not bool:
            return UNCHECKED
        try:
            parsed = self.parse(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _invalid(name, f"{str(value)[:80]!r} cannot be read") from error
        # One form only: what is written back must be what was read.
        if self.problem(parsed) is None and self.write(parsed) != value:
            raise _invalid(name, "is not sorted, repeats an item or is not lower-case hex")
        return parsed


def _invalid(name: str, why: str) -> InputError:
    return InputError(f"policy.{name}: {why}", code="policy.invalid")


def _any(_: Any) -> str | None:
    return None


def _octets(size: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, bytes) and len(value) == size
        return None if legal else f"has a value that is not {size} bytes"

    return check


def _between(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        legal = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if legal else f"has a value outside {low} to {high}"

    return check


def _of(kind: type) -> Callable[[Any], str | None]:
    return lambda value: None if isinstance(value, kind) else f"has a value that is no {kind}"


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("want an array")
    return value


def _digests(size: int) -> _Form:
    return _Form(
        kind=frozenset,
        write=lambda value: sorted(item.hex() for item in value),
        parse=lambda value: frozenset(bytes.fromhex(item) for item in _list(value)),
        item=_octets(size),
    )


def _blob(size: int) -> _Form:
    return _Form(kind=bytes, write=lambda v: v.hex(), parse=bytes.fromhex, item=_octets(size))


def _enums(kind: type[Enum]) -> _Form:
    return _Form(
        kind=frozenset,
        write=lambda value: sorted(item.value for item in value),
        parse=lambda value: frozenset(kind(item) for item in _list(value)),
        item=_of(kind),
    )


def _flags() -> _Form:
    return _Form(
        kind=PlatformInfo,
        write=lambda value: sorted(str(bit.name).lower() for bit in PlatformInfo if bit & value),
        parse=lambda value: PlatformInfo(
            sum({PlatformInfo[item.upper()].value for item in _list(value)})
        ),
        item=lambda value: (
            None if value == value & sum(PlatformInfo) else "has a bit that has no name"
        ),
    )


_BOOL: Final = _Form(kind=bool, write=lambda value: value, parse=lambda value: value, item=_any)

_FORMS: Final[dict[str, _Form]] = {
    "measurements": _digests(48),
    "minimum_tcb": _Form(
        kind=TcbVersion,
        write=lambda value: dict(value.components()),
        parse=lambda value: TcbVersion(**value),
        item=_any,
    ),
    "allow_provisional_firmware": _BOOL,
    "products": _enums(Product),
    "signers": _enums(Signer),
    "vmpls": _Form(
        kind=frozenset,
        write=sorted,
        parse=lambda value: frozenset(_list(value)),
        item=_between(0, MAX_VMPL),
    ),
    "allow_debug": _BOOL,
    "allow_migrate_ma": _BOOL,
    "allow_smt": _BOOL,
    "host_data": _blob(32),
    "id_key_digests": _digests(48),
    "author_key_digests": _digests(48),
    "family_id": _blob(16),
    "image_id": _blob(16),
    "chip_ids": _digests(64),
    "minimum_guest_svn": _Form(
        kind=int, write=lambda value: value, parse=lambda value: value, item=_between(0, _MAX_SVN)
    ),
    "platform_info_required": _flags(),
    "platform_info_forbidden": _flags(),
    "require_crl": _BOOL,
}

if list(_FORMS) != [field.name for field in fields(SnpPolicy)]:
    raise AssertionError("every field of SnpPolicy has one form")
