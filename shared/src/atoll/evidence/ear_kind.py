"""A judgement on evidence of any kind as a signed token (draft-ietf-rats-ear-04).

As `ear`, but the submodule is named after the kind (`tdx_quote`) and not after a TEE, and the
claim `atoll.kind` repeats it. So a token of this form, under a policy that the asker chose,
admits no enclave: `ear.verify_ear` refuses it as malformed.

Needs PyJWT (the extra `verify`), so the agent does not import this module.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll.evidence.document import Tee
from atoll.evidence.ear import (
    AFFIRMING,
    CLOCK_SKEW_S,
    CONTRAINDICATED,
    PROFILE,
    require_issuable,
    signed_claims,
    trust_vector,
)
from atoll.evidence.ear_claims import b64, rejected, text, time, unb64
from atoll.evidence.findings import Appraisal

MAX_CLAIMS: Final = 24
MAX_CLAIM: Final = 256
MAX_CLAIM_NAME: Final = 64
_BUILD: Final = "atoll-attestor"
_POLICY_URI: Final = "ni:///sha-256;"
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEES: Final = frozenset(tee.value for tee in Tee)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindEar:
    """A verified result, affirming or not."""

    kind: str
    status: str
    reason: str
    """The first check that failed, or empty."""
    issuer: str
    issued_at: datetime
    expires_at: datetime
    simulated: bool
    policy_digest: bytes
    nonce: bytes
    """What the asker sent, or empty."""

    @property
    def is_affirming(self) -> bool:
        """Whether the evidence passed."""
        return self.status == AFFIRMING


def issue_kind_ear(
    appraisal: Appraisal,
    *,
    kind: str,
    evidence_digest: bytes,
    nonce: bytes,
    issuer: str,
    key: Ed25519PrivateKey,
    kid: str,
    now: datetime,
    ttl_s: int,
) -> str:
    """Sign an appraisal of evidence of a kind, good or bad.

    Of the appraisal's claims the first `MAX_CLAIMS` are repeated whose text has up to `MAX_CLAIM`
    characters, as JSON escapes it, and their names up to `MAX_CLAIM_NAME`. So a token stays
    below `ear.MAX_TOKEN`.

    Raises:
        ValueError: our own mistakes: the appraisal is of other evidence, the kind is no name or
            a TEE's (`ear.verify_ear` would take that), or the lifetime is not 1 second to 24 hours.
    """
    require_issuable(appraisal, evidence_digest, ttl_s)
    if not _KIND.fullmatch(kind) or kind in _TEES:
        raise ValueError(f"{kind!r} is no name of a kind")
    issued_at = int(now.timestamp())
    short = [item for item in appraisal.claims.items() if _is_short(*item)]
    submodule = {
        "ear_status": AFFIRMING if appraisal.passed else CONTRAINDICATED,
        "ear_trustworthiness_vector": trust_vector(appraisal),
        "ear_appraisal_policy_ids": [f"{_POLICY_URI}{b64(bytes.fromhex(appraisal.policy_digest))}"],
        "atoll.reason": appraisal.reason,
        "atoll.claims": dict(short[:MAX_CLAIMS]),
    }
    claims = {
        "eat_profile": PROFILE,
        "iss": issuer,
        "iat": issued_at,
        "exp": issued_at + ttl_s,
        "ear_verifier_id": {"developer": issuer, "build": _BUILD},
        "submods": {kind: submodule},
        "atoll.kind": kind,
        "atoll.evidence_digest": evidence_digest.hex(),
        "atoll.simulated": appraisal.simulated,
        **({"eat_nonce": b64(nonce)} if nonce else {}),
    }
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid, "typ": "JWT"})


def verify_kind_ear(
    token: str,
    keys: Mapping[str, Ed25519PublicKey],
    *,
    kind: str,
    evidence_digest: bytes,
    nonce: bytes,
    now: datetime,
) -> KindEar:
    """Check a token about this evidence of this kind. Its status may be either: look at it.

    1. The header names EdDSA and a key that is known here, and the signature is that key's.
    2. The claims are complete and of the right types, the profile is ours.
    3. It is about this kind and this evidence, and answers this nonce.
    4. It was issued (give or take a minute of clock difference) and has not expired.

    Does not check: that the policy in `policy_digest` is the one that was meant.

    Raises:
        RejectedEvidenceError: `ear.malformed`, `ear.key`, `ear.signature`, `ear.evidence`,
            `ear.nonce`, `ear.not_yet_valid` or `ear.expired`.
    """
    # 1, 2
    ear, digest = _read(signed_claims(token, keys))
    # 3
    if ear.kind != kind or digest != evidence_digest:
        raise rejected("evidence", f"is about {ear.kind} {digest.hex()}")
    if ear.nonce != nonce:
        raise rejected("nonce", f"answers {ear.nonce.hex() or 'no nonce'}, want {nonce.hex()}")
    # 4
    if (ear.issued_at - now).total_seconds() > CLOCK_SKEW_S:
        raise rejected("not_yet_valid", f"was issued at {ear.issued_at}, in the future")
    if now >= ear.expires_at:
        raise rejected("expired", f"expired at {ear.expires_at}")
    return ear


def _read(claims: dict[str, Any]) -> tuple[KindEar, bytes]:
    try:
        if claims["eat_profile"] != PROFILE or not isinstance(claims["atoll.simulated"], bool):
            raise ValueError("another profile, or atoll.simulated is no boolean")
        ((kind, submodule),) = claims["submods"].items()
        if kind != claims["atoll.kind"]:
            raise ValueError("the submodule is not of the kind")
        status = submodule["ear_status"]
        if status not in {AFFIRMING, CONTRAINDICATED}:
            raise ValueError("has another status")
        (policy,) = submodule["ear_appraisal_policy_ids"]
        ear = KindEar(
            kind=text(kind),
            status=status,
            reason=text(submodule["atoll.reason"]),
            issuer=text(claims["iss"]),
            issued_at=time(claims["iat"]),
            expires_at=time(claims["exp"]),
            simulated=claims["atoll.simulated"],
            policy_digest=unb64(policy.removeprefix(_POLICY_URI)),
            nonce=unb64(claims.get("eat_nonce", "")),
        )
        return ear, bytes.fromhex(claims["atoll.evidence_digest"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise rejected("malformed", f"has claims that are not ours: {error}"[:200]) from error


def _is_short(name: str, text: str) -> bool:
    # Twelve characters of JSON can stand for one of the text.
    quotes = 2
    within = len(json.dumps(name)) - quotes <= MAX_CLAIM_NAME
    return within and len(json.dumps(text)) - quotes <= MAX_CLAIM
