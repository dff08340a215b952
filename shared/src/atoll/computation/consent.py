"""A party's consent to a computation, and how it takes it back.

    consent    = signature over transcript("atoll computation consent v1", manifest digest,
                 party's name, party's signing key, expiry as 8 bytes big-endian)
    withdrawal = signature over transcript("atoll computation withdrawal v1", manifest digest,
                 party's name, party's signing key)

A consent is worth nothing for another manifest, party or purpose, or after its expiry. It says
that the party agrees to what is written, not that it releases a key: each job gets key releases
of its own, bound to an enclave that the provider appraised. The clock that an expiry is compared
with is that of whoever compares; an enclave's is set by its host, so the provider, who looks at
his own before he releases, has the last word.

A withdrawal counts for every job of the manifest whose keys are not all released yet, and for
all that would be submitted later. It cannot be taken back: agree on a new manifest.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from atoll.computation.manifest import Manifest, digest
from atoll.errors import ManifestError, SealError
from atoll.sealing.signature import Signer, verify_signature
from atoll.wire.messages import AgreedManifest, Consent, Withdrawal

_CONSENT: Final = "atoll computation consent v1"
_WITHDRAWAL: Final = "atoll computation withdrawal v1"


def give_consent(signer: Signer, manifest_digest: bytes, *, expires_ms: int) -> Consent:
    """Sign. Look at the manifest before.

    Args:
        signer: the party, under its name in the manifest.
        manifest_digest: SHA-256 of the canonical manifest.
        expires_ms: until when it counts, in milliseconds since 1970.
    """
    signature = signer.sign(
        _CONSENT,
        manifest_digest,
        signer.name.encode(),
        signer.signing_key,
        expires_ms.to_bytes(8, "big"),
    )
    return Consent(party=signer.name, expires_ms=expires_ms, signature=signature)


def withdraw(signer: Signer, manifest_digest: bytes) -> Withdrawal:
    """Take a consent back, whether or not it was given."""
    signature = signer.sign(_WITHDRAWAL, manifest_digest, signer.name.encode(), signer.signing_key)
    return Withdrawal(party=signer.name, manifest_digest=manifest_digest, signature=signature)


def require_consents(agreed: AgreedManifest, *, now_ms: int) -> Manifest:
    """The manifest, if every one of its parties consents now, and nobody else says so.

    Raises:
        ManifestError: as `Manifest.from_bytes`; `consent.missing`, `consent.foreign`,
            `consent.signature`, `consent.expired`.
    """
    manifest = Manifest.from_bytes(agreed.manifest)
    for party in manifest.parties:
        if not any(consent.party == party for consent in agreed.consents):
            raise _error("missing", f"{party!r} has not consented")
    check_consents(manifest, digest(agreed.manifest), agreed.consents, now_ms=now_ms)
    return manifest


def check_consents(
    manifest: Manifest, manifest_digest: bytes, consents: Sequence[Consent], *, now_ms: int
) -> None:
    """Return if these consents hold, of however many of the parties they are.

    Raises:
        ManifestError: `consent.foreign`: of nobody in the manifest, or two of one party;
            `consent.signature`; `consent.expired`.
    """
    seen: set[str] = set()
    for consent in consents:
        if consent.party not in manifest.parties or consent.party in seen:
            raise _error("foreign", f"{consent.party!r} is no party, or consents twice")
        seen.add(consent.party)
        key = manifest.parties[consent.party].signing_key
        try:
            verify_signature(
                key,
                consent.signature,
                _CONSENT,
                manifest_digest,
                consent.party.encode(),
                key,
                consent.expires_ms.to_bytes(8, "big"),
            )
        except SealError as error:
            raise _error(
                "signature", f"the consent of {consent.party!r} is not to this manifest"
            ) from error
        if consent.expires_ms <= now_ms:
            raise _error(
                "expired", f"the consent of {consent.party!r} ended at {consent.expires_ms}"
            )


def require_withdrawal(withdrawal: Withdrawal, manifest: Manifest) -> None:
    """Return if a party of this manifest takes its consent back.

    Raises:
        ManifestError: `consent.foreign`, `consent.signature`, `consent.other`: of another
            manifest.
    """
    manifest_digest = digest(manifest.to_bytes())
    if withdrawal.manifest_digest != manifest_digest:
        raise _error("other", "the withdrawal is about another manifest")
    party = manifest.parties.get(withdrawal.party)
    if party is None:
        raise _error("foreign", f"{withdrawal.party!r} is no party")
    try:
        verify_signature(
            party.signing_key,
            withdrawal.signature,
            _WITHDRAWAL,
            manifest_digest,
            withdrawal.party.encode(),
            party.signing_key,
        )
    except SealError as error:
        raise _error("signature", f"the withdrawal is not by {withdrawal.party!r}") from error


def missing(manifest: Manifest, consents: Iterable[Consent]) -> tuple[str, ...]:
    """The parties of which there is no consent, in order."""
    given = {consent.party for consent in consents}
    return tuple(sorted(set(manifest.parties) - given))


def _error(code: str, why: str) -> ManifestError:
    return ManifestError(f"consent: {why}", code=f"consent.{code}")
