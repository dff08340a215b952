"""Who stands behind a policy document: Ed25519 signatures over its canonical bytes.

Canonical JSON: {"format": "atoll-signed-policy", "format_version": 1, "document": {...},
"signatures": [{"name", "signing_key", "signature"}, ...]}, keys and signatures in hex, sorted
by key, each key once. Because all of it is canonical, the document's bytes inside are the
bytes that were signed. A signature is over the transcript "atoll policy v1" with the
document and the signer's name; the name is what the signer says, and the keys decide.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from atoll import canonical
from atoll.errors import InputError, SealError
from atoll.policy.document import MAX_DOCUMENT, PolicyDocument, invalid
from atoll.sealing.signature import PUBLIC_SIZE, SIGNATURE_SIZE, Signer, verify_signature
from atoll.wire.names import require_name

FORMAT: Final = "atoll-signed-policy"
FORMAT_VERSION: Final = 1
LABEL: Final = "atoll policy v1"
MAX_SIGNED: Final = MAX_DOCUMENT + (16 << 10)
MAX_SIGNATURES: Final = 16
_MEMBERS: Final = frozenset({"format", "format_version", "document", "signatures"})
_SIGNATURE_MEMBERS: Final = frozenset({"name", "signing_key", "signature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySignature:
    """One party's signature; whether it holds is for `verify_policy`."""

    name: str
    signing_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require_name(self.name, "signer")
        if len(self.signing_key) != PUBLIC_SIZE or len(self.signature) != SIGNATURE_SIZE:
            raise invalid("has a key or signature of another size than Ed25519's")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPolicy:
    """A document with signatures that nobody has checked yet."""

    document: PolicyDocument
    signatures: tuple[PolicySignature, ...]

    def __post_init__(self) -> None:
        keys = [item.signing_key for item in self.signatures]
        if not 1 <= len(keys) <= MAX_SIGNATURES or keys != sorted(set(keys)):
            raise invalid(f"has not 1 to {MAX_SIGNATURES} signatures in the order of their keys")

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        signatures = [
            {
                "name": item.name,
                "signing_key": item.signing_key.hex(),
                "signature": item.signature.hex(),
            }
            for item in self.signatures
        ]
        return canonical.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "document": self.document.to_plain(),
                "signatures": signatures,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read canonical JSON; proves nothing.

        Raises:
            InputError: `policy.invalid`, `name.invalid` or `json.*`.
        """
        if len(raw) > MAX_SIGNED:
            raise invalid(f"is {len(raw)} bytes, at most {MAX_SIGNED}")
        value = canonical.loads(raw)
        if not isinstance(value, dict) or value.keys() != _MEMBERS or value["format"] != FORMAT:
            raise invalid(f"is not of the format {FORMAT!r}; `atoll policy sign` makes one")
        if value["format_version"] is True or value["format_version"] != FORMAT_VERSION:
            raise invalid(f"is not of format version {FORMAT_VERSION}, the only one known here")
        if not isinstance(value["signatures"], list):
            raise invalid("has signatures that are no list")
        return cls(
            document=PolicyDocument.from_plain(value["document"]),
            signatures=tuple(_signature(item) for item in value["signatures"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPolicy:
    """A document that enough of its owners signed."""

    document: PolicyDocument
    signed_by: tuple[bytes, ...]
    """The owners' keys whose signatures hold."""


def sign_policy(document: PolicyDocument, signers: Sequence[Signer]) -> SignedPolicy:
    """Sign in the name of each.

    Raises:
        InputError: `policy.invalid`: none, too many, or one twice; `key.unsupported`: a signer
            whose key is not Ed25519.
    """
    for signer in signers:
        if len(signer.signing_key) != PUBLIC_SIZE:
            raise InputError(
                f"{signer.name!r} does not sign with Ed25519, as owners of policies do",
                code="key.unsupported",
                hint="`atoll keys new` makes such a key",
            )
    raw = document.to_bytes()
    made = (
        PolicySignature(
            name=signer.name,
            signing_key=signer.signing_key,
            signature=signer.sign(LABEL, raw, signer.name.encode()),
        )
        for signer in signers
    )
    ordered = tuple(sorted(made, key=lambda item: item.signing_key))
    return SignedPolicy(document=document, signatures=ordered)


def verify_policy(raw: bytes, owners: Collection[bytes], *, threshold: int = 1) -> VerifiedPolicy:
    """Check that at least `threshold` of the owners signed these bytes.

    Every signature by an owner must hold; those of others count for nothing.

    Raises:
        InputError: `policy.invalid`, `name.invalid`, `json.*`; `policy.signature`: a
            signature that does not hold, or too few by owners.
    """
    if threshold < 1:
        raise ValueError("a threshold of none would accept a document that nobody signed")
    signed = SignedPolicy.from_bytes(raw)
    document = signed.document.to_bytes()
    held = []
    for item in signed.signatures:
        if item.signing_key not in owners:
            continue
        try:
            verify_signature(item.signing_key, item.signature, LABEL, document, item.name.encode())
        except SealError as error:
            raise InputError(
                f"policy document: the signature of {item.name!r} does not hold",
                code="policy.signature",
            ) from error
        held.append(item.signing_key)
    if len(held) < threshold:
        raise InputError(
            f"policy document is signed by {len(held)} of its owners, want {threshold}",
            code="policy.signature",
        )
    return VerifiedPolicy(document=signed.document, signed_by=tuple(held))


def _signature(value: Any) -> PolicySignature:
    if not isinstance(value, dict) or value.keys() != _SIGNATURE_MEMBERS:
        raise invalid(f"has a signature without exactly {', '.join(sorted(_SIGNATURE_MEMBERS))}")
    if not all(isinstance(item, str) for item in value.values()):
        raise invalid("has a signature with something else than text")
    return PolicySignature(
        name=value["name"],
        signing_key=_hex(value["signing_key"], PUBLIC_SIZE),
        signature=_hex(value["signature"], SIGNATURE_SIZE),
    )


def _hex(text: str, size: int) -> bytes:
    if len(text) != 2 * size or not set(text) <= set("0123456789abcdef"):
        raise invalid(f"has a key or signature that is not {2 * size} lower-case hex digits")
    return bytes.fromhex(text)
