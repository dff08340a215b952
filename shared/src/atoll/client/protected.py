"""A private key file under a passphrase. Its public part is readable without.

Canonical JSON with at most one newline behind it; hex is lower-case:

    format      "atoll-party-keys-encrypted"
    version     1
    name, signing_key, hpke_key    as in the public file (`atoll.identity`)
    kdf         {"name": "scrypt", "n", "p": 1, "r": 8, "salt": 16 bytes in hex} (RFC 7914)
    cipher      "AES-256-GCM"
    nonce       12 bytes, hex
    ciphertext  hex: the private file, then the tag of 16 bytes

Everything but the ciphertext is associated data, so nothing of it can be changed or exchanged.
The limits on n bound what opening a file can cost: 2^20 takes 1 GiB and seconds. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from atoll import canonical
from atoll.errors import AtollError, ConfigError, InputError
from atoll.identity import MAX_PRIVATE, PartyKeys, PartyPublic
from atoll.sealing.hpke import PUBLIC_SIZE
from atoll.sealing.public_key import ED25519_SIZE, MAX_SIZE

FORMAT: Final = "atoll-party-keys-encrypted"
VERSION: Final = 1
CIPHER: Final = "AES-256-GCM"
SCRYPT_N: Final = 1 << 17
"""What new files get: 128 MiB and less than a second."""
MIN_N: Final = 1 << 15
MAX_N: Final = 1 << 20
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
MAX_PROTECTED: Final = 2 * (MAX_PRIVATE + TAG_SIZE) + 2 * MAX_SIZE + 4096
MAX_PASSPHRASE: Final = 1024
_MEMBERS: Final = {
    "format",
    "version",
    "name",
    "signing_key",
    "hpke_key",
    "kdf",
    "cipher",
    "nonce",
    "ciphertext",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedKeys:
    """A parsed file. Its public part is a claim until `open` opened it."""

    public: PartyPublic
    n: int
    salt: bytes
    nonce: bytes
    ciphertext: bytes = field(repr=False)

    @classmethod
    def seal(
        cls,
        keys: PartyKeys,
        passphrase: bytes,
        random: Callable[[int], bytes],
        *,
        n: int = SCRYPT_N,
    ) -> Self:
        """Encrypt `keys`; `random(size)` gives unpredictable bytes.

        Raises:
            InputError: `key.passphrase`, no passphrase or too long a one.
            ConfigError: `key.memory`.
        """
        salt, nonce = random(SALT_SIZE), random(NONCE_SIZE)
        key = _derived(passphrase, salt, n)
        header = canonical.dumps(_header(keys.public, n, salt, nonce))
        ciphertext = AESGCM(key).encrypt(nonce, keys.to_bytes(), header)
        return cls(public=keys.public, n=n, salt=salt, nonce=nonce, ciphertext=ciphertext)

    def open(self, passphrase: bytes) -> PartyKeys:
        """The keys.

        Raises:
            InputError: `key.passphrase`: not the passphrase, or the file was changed;
                `identity.malformed`: what was encrypted is not these keys.
            ConfigError: `key.memory`.
        """
        key = _derived(passphrase, self.salt, self.n)
        header = canonical.dumps(_header(self.public, self.n, self.salt, self.nonce))
        try:
            raw = AESGCM(key).decrypt(self.nonce, self.ciphertext, header)
        except InvalidTag:
            raise InputError(
                f"the keys of {self.public.name!r} do not open with this passphrase",
                code="key.passphrase",
                hint="a changed file looks the same; nobody can restore a lost passphrase",
            ) from None
        keys = PartyKeys.from_bytes(raw)
        if keys.public != self.public:
            raise _malformed("does not hold the keys that it names")
        return keys

    def to_bytes(self) -> bytes:
        """The file."""
        header = _header(self.public, self.n, self.salt, self.nonce)
        return canonical.dumps({**header, "ciphertext": self.ciphertext.hex()}) + b"\n"

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a file; decrypts nothing.

        Raises:
            InputError: `identity.malformed`.
        """
        value = _object(raw)
        kdf = value["kdf"]
        n: Any = kdf.get("n") if isinstance(kdf, dict) else None
        if not _is_cost(n) or kdf != _kdf(n, kdf.get("salt")):
            raise _malformed(
                f"kdf is not scrypt with n a power of two from {MIN_N} to {MAX_N}, "
                f"r {SCRYPT_R}, p {SCRYPT_P} and a salt"
            )
        made = cls(
            public=PartyPublic(
                name=value["name"],
                signing_key=_hex(value["signing_key"], "signing_key", ED25519_SIZE, MAX_SIZE),
                hpke_key=_hex(value["hpke_key"], "hpke_key", PUBLIC_SIZE, PUBLIC_SIZE),
            ),
            n=n,
            salt=_hex(kdf["salt"], "salt", SALT_SIZE, SALT_SIZE),
            nonce=_hex(value["nonce"], "nonce", NONCE_SIZE, NONCE_SIZE),
            ciphertext=_hex(value["ciphertext"], "ciphertext", TAG_SIZE, MAX_PRIVATE + TAG_SIZE),
        )
        if made.to_bytes().rstrip(b"\n") != raw.removesuffix(b"\n"):
            # For instance a `true`, which is equal to 1.
            raise _malformed("is not in its one form")
        return made


def is_protected(raw: bytes) -> bool:
    """Whether the bytes say that they are such a file; they may be malformed all the same."""
    try:
        value = canonical.loads(raw.removesuffix(b"\n"))
    except AtollError:
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_PROTECTED:
        raise _malformed(f"is over {MAX_PROTECTED} bytes")
    try:
        value = canonical.loads(raw.removesuffix(b"\n"))
    except AtollError as error:
        raise _malformed("is not canonical JSON") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _malformed(f"is not of format {FORMAT!r}")
    if isinstance(value.get("version"), bool) or value.get("version") != VERSION:
        raise _malformed(f"version is not {VERSION}, the only one this build knows")
    if value.keys() != _MEMBERS or value["cipher"] != CIPHER or not isinstance(value["name"], str):
        raise _malformed(f"must have exactly {', '.join(sorted(_MEMBERS))}, and cipher {CIPHER}")
    return value


def _header(public: PartyPublic, n: int, salt: bytes, nonce: bytes) -> Mapping[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": public.name,
        "signing_key": public.signing_key.hex(),
        "hpke_key": public.hpke_key.hex(),
        "kdf": _kdf(n, salt.hex()),
        "cipher": CIPHER,
        "nonce": nonce.hex(),
    }


def _kdf(n: int, salt: Any) -> dict[str, Any]:
    return {"name": "scrypt", "n": n, "p": SCRYPT_P, "r": SCRYPT_R, "salt": salt}


def _is_cost(n: Any) -> bool:
    return type(n) is int and MIN_N <= n <= MAX_N and n & (n - 1) == 0


def _derived(passphrase: bytes, salt: bytes, n: int) -> bytes:
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE:
        raise InputError(f"a passphrase has 1 to {MAX_PASSPHRASE} bytes", code="key.passphrase")
    try:
        return Scrypt(salt=salt, length=32, n=n, r=SCRYPT_R, p=SCRYPT_P).derive(passphrase)
    except MemoryError:
        raise ConfigError(
            f"not enough memory for scrypt: {n * 128 * SCRYPT_R >> 20} MiB are needed",
            code="key.memory",
        ) from None


def _hex(text: Any, name: str, low: int, high: int) -> bytes:
    legal = isinstance(text, str) and len(text) % 2 == 0 and 2 * low <= len(text) <= 2 * high
    if not legal or not set(text) <= set("0123456789abcdef"):
        raise _malformed(f"{name} must be {low} to {high} bytes in lower-case hex")
    return bytes.fromhex(text)


def _malformed(why: str) -> InputError:
    return InputError(f"protected key file {why}", code="identity.malformed")
