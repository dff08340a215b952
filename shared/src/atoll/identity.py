"""Who a party is: a name, an Ed25519 key that signs, an X-Wing key that results are sealed to.

Files are canonical JSON, with at most one newline behind it:

    private  format "atoll-party-keys", version 1, name, signing_seed (hex), hpke_seed (hex)
    public   format "atoll-party", version 1, name, signing_key (hex), hpke_key (hex)

A name is what the party calls itself; that a key belongs to a person is for people to
settle, by comparing fingerprints. Nothing here reads or writes a file: whoever writes the
private one gives it mode 0600.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.errors import AtollError, InputError, MessageError, SealError
from atoll.sealing import hpke, signature
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.signature import SigningKey, verify_signature
from atoll.wire import names
from atoll.wire.schema import Name, Size, message

__all__ = ["PartyKeys", "PartyPublic", "fingerprint", "verify_signature"]

PRIVATE_FORMAT: Final = "atoll-party-keys"
PUBLIC_FORMAT: Final = "atoll-party"
VERSION: Final = 1
MAX_FILE: Final = 8192


def fingerprint(signing_key: bytes) -> str:
    """16 hex digits for people: the beginning of SHA-256 of the public signing key."""
    return hashlib.sha256(signing_key).hexdigest()[:16]


@message
class PartyPublic:
    """What the others know of a party. Also travels inside messages.

    A value that exists has a legal name and usable keys, else `InputError` with code
    `identity.malformed`.
    """

    name: Name
    signing_key: Annotated[bytes, Size(signature.PUBLIC_SIZE, signature.PUBLIC_SIZE)]
    hpke_key: Annotated[bytes, Size(hpke.PUBLIC_SIZE, hpke.PUBLIC_SIZE)]

    def __post_init__(self) -> None:
        _require_name(self.name)
        if not signature.is_usable_public_key(self.signing_key):
            raise _malformed("signing_key is not a usable Ed25519 public key")
        try:
            hpke.require_public_key(self.hpke_key)
        except SealError as error:
            raise _malformed(f"hpke_key: {error.message}") from error

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.signing_key)

    def to_bytes(self) -> bytes:
        """The public file."""
        return _file(
            {
                "format": PUBLIC_FORMAT,
                "version": VERSION,
                "name": self.name,
                "signing_key": self.signing_key.hex(),
                "hpke_key": self.hpke_key.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a public file.

        Raises:
            InputError: `identity.malformed`.
        """
        fields = _fields(raw, PUBLIC_FORMAT, {"name", "signing_key", "hpke_key"})
        return cls(
            name=fields["name"],
            signing_key=_hex(fields, "signing_key", signature.PUBLIC_SIZE),
            hpke_key=_hex(fields, "hpke_key", hpke.PUBLIC_SIZE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyKeys:
    """A party's own keys. Never leaves the party's machine."""

    name: str
    signing: SigningKey = field(repr=False, compare=False)
    hpke: HpkePrivateKey = field(repr=False, compare=False)
    public: PartyPublic = field(init=False)

    def __post_init__(self) -> None:
        public = PartyPublic(
            name=self.name,
            signing_key=self.signing.public_bytes,
            hpke_key=self.hpke.public_bytes,
        )
        object.__setattr__(self, "public", public)

    @classmethod
    def generate(cls, name: str, random: Callable[[int], bytes]) -> Self:
        """Fresh keys; `random(n)` gives n unpredictable bytes.

        Raises:
            InputError: `identity.malformed`, not a legal name.
        """
        return cls(
            name=name,
            signing=SigningKey.generate(random),
            hpke=HpkePrivateKey.generate(random),
        )

    @property
    def signing_key(self) -> bytes:
        """The public signing key."""
        return self.public.signing_key

    def sign(self, label: str, *values: bytes) -> bytes:
        """64 bytes: the party's signature over `transcript(label, *values)`."""
        return self.signing.sign(label, *values)

    def to_bytes(self) -> bytes:
        """The private file, secrets in the clear."""
        return _file(
            {
                "format": PRIVATE_FORMAT,
                "version": VERSION,
                "name": self.name,
                "signing_seed": self.signing.seed.hex(),
                "hpke_seed": self.hpke.seed.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a private file. No error message repeats a byte of it.

        Raises:
            InputError: `identity.malformed`.
        """
        fields = _fields(raw, PRIVATE_FORMAT, {"name", "signing_seed", "hpke_seed"})
        return cls(
            name=fields["name"],
            signing=SigningKey(_hex(fields, "signing_seed", signature.SEED_SIZE)),
            hpke=HpkePrivateKey(_hex(fields, "hpke_seed", hpke.SEED_SIZE)),
        )


def _malformed(why: str) -> MessageError:
    # A MessageError, because a PartyPublic also arrives inside messages.
    return MessageError(f"identity: {why}", code="identity.malformed")


def _require_name(name: str) -> None:
    try:
        names.require_name(name, "party name")
    except InputError as error:
        raise _malformed(error.message) from error


def _file(fields: Mapping[str, Any]) -> bytes:
    return canonical.dumps(dict(fields)) + b"\n"


def _fields(raw: bytes, format_: str, want: set[str]) -> dict[str, str]:
    if len(raw) > MAX_FILE:
        raise _malformed(f"file is {len(raw)} bytes, at most {MAX_FILE} are read")
    try:
        value = canonical.loads(raw.removesuffix(b"\n"))
    except AtollError:
        # The cause could repeat a number or a key from a private file.
        raise _malformed("file is not canonical JSON") from None
    if not isinstance(value, dict) or value.get("format") != format_:
        raise _malformed(f"file is not of format {format_!r}")
    version = value.pop("version", None)
    if isinstance(version, bool) or version != VERSION:
        raise _malformed(f"file version is not {VERSION}, the only one this build knows")
    del value["format"]
    if value.keys() != want or not all(isinstance(item, str) for item in value.values()):
        raise _malformed(f"file must have exactly the texts {', '.join(sorted(want))}")
    return value


def _hex(fields: Mapping[str, str], name: str, size: int) -> bytes:
    text = fields[name]
    if len(text) != 2 * size or not set(text) <= set("0123456789abcdef"):
        raise _malformed(f"{name} must be {2 * size} lower-case hex digits")
    return bytes.fromhex(text)
