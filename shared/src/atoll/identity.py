"""Who a party is: a name, a key that signs, an X-Wing key that results are sealed to.

Files are canonical JSON, with at most one newline behind it:

    private  format "atoll-party-keys", version 1, name, hpke_seed (hex), and either
             signing_seed (hex), of Ed25519, or signing_pkcs8 (hex), of an imported key
    public   format "atoll-party", version 1, name, signing_key (hex), hpke_key (hex)

A name is what the party calls itself; that a key belongs to a person is for people to
settle, by comparing fingerprints. Nothing here reads or writes a file: whoever writes the
private one gives it mode 0600, or encrypts it (`atoll.client.protected`).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.errors import AtollError, InputError, MessageError, SealError
from atoll.sealing import hpke, signature
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.imported_key import MAX_DER, ImportedKey
from atoll.sealing.public_key import ED25519_SIZE, MAX_SIZE, algorithm_of, parse_public_key
from atoll.sealing.signature import SigningKey, verify_signature
from atoll.wire import names
from atoll.wire.schema import Name, Size, message

__all__ = ["PartyKeys", "PartyPublic", "fingerprint", "verify_signature"]

PRIVATE_FORMAT: Final = "atoll-party-keys"
PUBLIC_FORMAT: Final = "atoll-party"
VERSION: Final = 1
MAX_FILE: Final = 8192
MAX_PRIVATE: Final = 2 * MAX_DER + 1024


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
    signing_key: Annotated[bytes, Size(ED25519_SIZE, MAX_SIZE)]
    """As `atoll.sealing.public_key` says."""
    hpke_key: Annotated[bytes, Size(hpke.PUBLIC_SIZE, hpke.PUBLIC_SIZE)]

    def __post_init__(self) -> None:
        _require_name(self.name)
        try:
            parse_public_key(self.signing_key)
        except SealError as error:
            raise _malformed(f"signing_key: {error.message}") from error
        try:
            hpke.require_public_key(self.hpke_key)
        except SealError as error:
            raise _malformed(f"hpke_key: {error.message}") from error

    @property
    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.signing_key)

    @property
    def algorithm(self) -> str:
        """What the party signs with: "Ed25519", "ECDSA P-256", "RSA 3072"."""
        return algorithm_of(self.signing_key)

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
            signing_key=_hex(fields, "signing_key", ED25519_SIZE, MAX_SIZE),
            hpke_key=_hex(fields, "hpke_key", hpke.PUBLIC_SIZE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyKeys:
    """A party's own keys. Never leaves the party's machine."""

    name: str
    signing: SigningKey | ImportedKey = field(repr=False, compare=False)
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

    @classmethod
    def imported(
        cls, name: str, signing: SigningKey | ImportedKey, random: Callable[[int], bytes]
    ) -> Self:
        """A signing key that is there already, and a fresh one to seal results to.

        Raises:
            InputError: `identity.malformed`, not a legal name.
        """
        return cls(name=name, signing=signing, hpke=HpkePrivateKey.generate(random))

    @property
    def signing_key(self) -> bytes:
        """The public signing key."""
        return self.public.signing_key

    def sign(self, label: str, *values: bytes) -> bytes:
        """The party's signature over `transcript(label, *values)`."""
        return self.signing.sign(label, *values)

    def to_bytes(self) -> bytes:
        """The private file, secrets in the clear."""
        signing = (
            {"signing_pkcs8": self.signing.der.hex()}
            if isinstance(self.signing, ImportedKey)
            else {"signing_seed": self.signing.seed.hex()}
        )
        return _file(
            {
                "format": PRIVATE_FORMAT,
                "version": VERSION,
                "name": self.name,
                "hpke_seed": self.hpke.seed.hex(),
                **signing,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a private file. No error message repeats a byte of it.

        Raises:
            InputError: `identity.malformed`.
        """
        fields = _fields(
            raw,
            PRIVATE_FORMAT,
            {"name", "signing_seed", "hpke_seed"},
            {"name", "signing_pkcs8", "hpke_seed"},
            limit=MAX_PRIVATE,
        )
        _require_name(fields["name"])
        return cls(
            name=fields["name"],
            signing=_signing(fields),
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


def _signing(fields: Mapping[str, str]) -> SigningKey | ImportedKey:
    if "signing_seed" in fields:
        return SigningKey(_hex(fields, "signing_seed", signature.SEED_SIZE))
    try:
        return ImportedKey(_hex(fields, "signing_pkcs8", 1, MAX_DER))
    except InputError as error:
        raise _malformed(error.message) from error


def _fields(raw: bytes, format_: str, *wants: set[str], limit: int = MAX_FILE) -> dict[str, str]:
    if len(raw) > limit:
        raise _malformed(f"file is {len(raw)} bytes, at most {limit} are read")
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
    if value.keys() not in wants or not all(isinstance(item, str) for item in value.values()):
        names_of = " or ".join(", ".join(sorted(want)) for want in wants)
        raise _malformed(f"file must have exactly the texts {names_of}")
    return value


def _hex(fields: Mapping[str, str], name: str, low: int, high: int | None = None) -> bytes:
    text, high = fields[name], high or low
    legal = len(text) % 2 == 0 and 2 * low <= len(text) <= 2 * high
    if not legal or not set(text) <= set("0123456789abcdef"):
        size = f"{2 * low}" if low == high else f"an even number of {2 * low} to {2 * high}"
        raise _malformed(f"{name} must be {size} lower-case hex digits")
    return bytes.fromhex(text)
