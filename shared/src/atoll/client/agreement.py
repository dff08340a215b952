"""Manifests and consents as files, and how far the parties have come. Pure.

A consent file is canonical JSON, at most one newline behind it:

    {"format": "atoll-consent", "version": 1, "manifest_digest": hex, "party": name,
     "expires_ms": number, "signature": base64url}

Nothing in it is believed before the signature is checked; the digest only says sooner, and in
better words, that it is a consent to something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Self

from atoll import canonical
from atoll.computation.consent import check_consents, give_consent, require_consents
from atoll.computation.manifest import Manifest, digest
from atoll.errors import InputError, ManifestError
from atoll.sealing.signature import Signer
from atoll.wire import schema
from atoll.wire.messages import MAX_MANIFEST, AgreedManifest, Consent
from atoll.wire.schema import Digest, message

CONSENT_FORMAT: Final = "atoll-consent"
VERSION: Final = 1
MAX_CONSENT: Final = 4096
MAX_MANIFEST_FILE: Final = 4 * MAX_MANIFEST
"""Bytes of a manifest with the spaces that a person put into it."""
_ENDED: Final = "consent.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A legal manifest, its canonical bytes and its digest."""

    manifest: Manifest
    raw: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What the parties sign."""
        return digest(self.raw)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a manifest, in canonical form or as a person wrote it.

        Raises:
            ManifestError: `manifest.*`.
        """
        try:
            plain = canonical.parse(raw)
        except InputError as error:
            raise ManifestError(f"manifest: {error.message}") from error
        manifest = Manifest.from_plain(plain)
        # Also with the limit on what the bus carries.
        return cls(manifest=Manifest.from_bytes(manifest.to_bytes()), raw=manifest.to_bytes())


@message
class _Fields:
    manifest_digest: Digest
    consent: Consent


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentFile:
    """Somebody's word that it agrees to a manifest; `standing` says whether it is worth it."""

    manifest_digest: bytes
    consent: Consent

    @classmethod
    def sign(cls, signer: Signer, manifest_digest: bytes, *, expires_ms: int) -> Self:
        """Consent. Look at the manifest before."""
        return cls(
            manifest_digest=manifest_digest,
            consent=give_consent(signer, manifest_digest, expires_ms=expires_ms),
        )

    @classmethod
    def from_bytes(cls, raw: bytes, where: str) -> Self:
        """Read a consent file.

        Raises:
            InputError: `consent.invalid`.
        """
        try:
            plain = canonical.loads(raw.removesuffix(b"\n"))
            if not isinstance(plain, dict) or plain.pop("format", None) != CONSENT_FORMAT:
                raise InputError(f"not of format {CONSENT_FORMAT!r}")
            # `1 == True`: the type says which.
            if isinstance(plain.get("version"), bool) or plain.get("version") != VERSION:
                raise InputError(f"version is not {VERSION}, the only one this build knows")
            found = schema.from_plain(
                _Fields,
                {"manifest_digest": plain.pop("manifest_digest", None), "consent": plain},
                json=True,
            )
        except InputError as error:
            raise InputError(
                f"{where} is no consent: {error.message}", code="consent.invalid"
            ) from error
        return cls(
            manifest_digest=bytes.fromhex(found.manifest_digest),
            consent=found.consent,
        )

    def to_bytes(self) -> bytes:
        """The file."""
        plain: dict[str, Any] = schema.to_plain(self.consent, json=True)
        plain |= {"format": CONSENT_FORMAT, "manifest_digest": self.manifest_digest.hex()}
        return canonical.dumps(plain) + b"\n"


class State(Enum):
    """How it is with one party's consent, or with a consent of nobody's."""

    GIVEN = "given"
    MISSING = "missing"
    EXPIRED = "expired"
    UNUSABLE = "unusable"
    """It is not this party's word about this manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A party, or whoever a consent claims to be of, and what there is of it."""

    party: str
    state: State
    code: str
    """Empty if it is given, else as the gateway would refuse it."""
    expires_ms: int | None = None
    detail: str = ""


def standing(
    manifest: ManifestFile, consents: Sequence[ConsentFile], *, now_ms: int
) -> tuple[Standing, ...]:
    """Of each party in the order of the manifest, then of each consent that is of no use."""
    found: dict[str, Standing] = {}
    useless: list[Standing] = []
    for one in consents:
        if (refused := _problem(manifest, one, now_ms=now_ms)) is None:
            found[one.consent.party] = Standing(
                party=one.consent.party,
                state=State.GIVEN,
                code="",
                expires_ms=one.consent.expires_ms,
            )
        elif refused.code == _ENDED:
            expired = Standing(
                party=one.consent.party,
                state=State.EXPIRED,
                code=_ENDED,
                expires_ms=one.consent.expires_ms,
                detail=refused.message,
            )
            found.setdefault(one.consent.party, expired)
        else:
            useless.append(
                Standing(
                    party=one.consent.party,
                    state=State.UNUSABLE,
                    code=refused.code,
                    detail=refused.message,
                )
            )
    parties = [
        found.get(name) or Standing(party=name, state=State.MISSING, code="consent.missing")
        for name in manifest.manifest.parties
    ]
    return (*parties, *useless)


def assembled(
    manifest: ManifestFile, consents: Sequence[ConsentFile], *, now_ms: int
) -> AgreedManifest:
    """What is submitted, if every party consents now and nobody else says so.

    Raises:
        ManifestError: `consent.other`, `consent.missing`, `consent.foreign`,
            `consent.signature`, `consent.expired`.
    """
    for one in consents:
        _require_about(manifest, one)
    agreed = AgreedManifest(manifest=manifest.raw, consents=tuple(one.consent for one in consents))
    require_consents(agreed, now_ms=now_ms)
    return agreed


def _problem(manifest: ManifestFile, one: ConsentFile, *, now_ms: int) -> ManifestError | None:
    try:
        _require_about(manifest, one)
        check_consents(manifest.manifest, manifest.digest, [one.consent], now_ms=now_ms)
    except ManifestError as error:
        return error
    return None


def _require_about(manifest: ManifestFile, one: ConsentFile) -> None:
    if one.manifest_digest != manifest.digest:
        raise ManifestError(
            f"consent: {one.consent.party!r} consents to the manifest "
            f"{one.manifest_digest.hex()}, and this is {manifest.digest.hex()}",
            code="consent.other",
            hint="whoever changes a manifest asks all its parties again",
        )
