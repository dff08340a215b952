"""An appraisal as a signed token: an EAT Attestation Result (draft-ietf-rats-ear-04).

A JWT under EdDSA. One submodule, named after the TEE, carries the status, the AR4SI
trustworthiness vector (draft-ietf-rats-ar4si, section 2.3) and the policy's digest as
an RFC 6920 URI. Own claims start with `atoll.`; the token is bound to the evidence
by `atoll.evidence_digest`.

Simulated evidence can be affirming: it is what the policy asked for. But the token
makes no claim about hardware then. `hardware`, `instance-identity` and
`runtime-opaque` are 0, which AR4SI reads as "no assertion", and `atoll.simulated` is
true. A verifier that does not know `atoll.simulated` still finds no hardware claim.

Needs PyJWT (the extra `verify`), so the agent does not import this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll.evidence.document import Tee
from atoll.evidence.ear_claims import b64, rejected, text, time, unb64
from atoll.evidence.findings import Appraisal, Outcome

PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
"""The profile of draft-ietf-rats-ear-04, whose JSON labels have underscores."""
AFFIRMING: Final = "affirming"
CONTRAINDICATED: Final = "contraindicated"
MAX_TOKEN: Final = 16 << 10
CLOCK_SKEW_S: Final = 60
MAX_LIFETIME_S: Final = 24 * 3600

_BUILD: Final = "atoll-attestor"
_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "JWT"
_POLICY_URI: Final = "ni:///sha-256;"

_GENUINE: Final = frozenset(
    {
        *("snp.root", "snp.chain", "snp.crl", "snp.product", "snp.signature"),
        *("tdx.collateral", "tdx.root", "tdx.chain", "tdx.crl", "tdx.qe", "tdx.module"),
        *("tdx.signature", "tdx.tcb_status"),
        *("keystone.root", "keystone.sm_signature", "keystone.sm_hash"),
    }
)
_IDENTITY: Final = frozenset(
    {
        *("snp.signer", "snp.hwid", "snp.tcb_match", "snp.chip_id", "snp.report_data"),
        *("tdx.platform", "tdx.fmspc", "keystone.signature", "keystone.sm_key"),
        "document.report_data",
    }
)
_EXECUTABLES: Final = frozenset(
    {
        "snp.measurement",
        *("tdx.mr_td", "tdx.rtmr0", "tdx.rtmr1", "tdx.rtmr2", "tdx.rtmr3"),
        "keystone.enclave_hash",
    }
)
_OPAQUE: Final = frozenset({"snp.debug", "snp.migrate_ma", "tdx.debug", "tdx.reserved_debug"})

_NONE: Final = 0
_AFFIRMED: Final = 2
_CONTRAINDICATED: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """A verified, affirming attestation result."""

    tee: Tee
    issuer: str
    issued_at: datetime
    expires_at: datetime
    simulated: bool
    evidence_digest: bytes
    policy_digest: bytes
    nonce: bytes
    trust_vector: Mapping[str, int]


def issue_ear(
    appraisal: Appraisal,
    *,
    evidence_digest: bytes,
    nonce: bytes,
    issuer: str,
    key: Ed25519PrivateKey,
    kid: str,
    now: datetime,
    ttl_s: int,
) -> str:
    """Sign an appraisal, good or bad.

    Raises:
        ValueError: our own mistakes: the appraisal is of other evidence, or the
            lifetime is not 1 second to 24 hours.
    """
    require_issuable(appraisal, evidence_digest, ttl_s)
    issued_at = int(now.timestamp())
    tee = (appraisal.tee or Tee.SNP).value
    claims = {
        "eat_profile": PROFILE,
        "iss": issuer,
        "iat": issued_at,
        "exp": issued_at + ttl_s,
        "eat_nonce": b64(nonce),
        "ear_verifier_id": {"developer": issuer, "build": _BUILD},
        "submods": {tee: _submodule(appraisal)},
        "atoll.evidence_digest": evidence_digest.hex(),
        "atoll.simulated": appraisal.simulated,
    }
    return jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": kid, "typ": _TYPE})


def verify_ear(
    token: str, keys: Mapping[str, Ed25519PublicKey], *, evidence_digest: bytes, now: datetime
) -> Ear:
    """Check a token about this evidence, and that it is affirming.

    1. The header names EdDSA and a key that is known here.
    2. The signature is that key's.
    3. The claims are complete and of the right types, the profile is ours.
    4. It was issued (give or take a minute of clock difference) and has not expired.
    5. It is about this evidence.
    6. The status is affirming.

    Does not check: whether the caller may trust simulated evidence; look at `simulated`.

    Raises:
        RejectedEvidenceError: `ear.malformed`, `ear.key`, `ear.signature`,
            `ear.not_yet_valid`, `ear.expired`, `ear.evidence` or `ear.status`.
    """
    # 1, 2
    claims = signed_claims(token, keys)
    # 3
    ear, status = _read(claims)
    # 4, 5
    require_current(ear, evidence_digest, now=now)
    # 6
    if status != AFFIRMING:
        raise rejected("status", f"has status {status[:40]!r}, want {AFFIRMING!r}")
    return ear


def require_issuable(appraisal: Appraisal, evidence_digest: bytes, ttl_s: int) -> None:
    """Raises: ValueError: our own mistakes, see `issue_ear`."""
    if appraisal.evidence_digest != evidence_digest.hex():
        raise ValueError("the appraisal is of other evidence")
    if not 1 <= ttl_s <= MAX_LIFETIME_S:
        raise ValueError(f"lifetime {ttl_s} s is outside 1 to {MAX_LIFETIME_S}")


def require_current(ear: Ear, evidence_digest: bytes, *, now: datetime) -> None:
    """Return if a result that is genuine holds now, and for this evidence.

    Raises:
        RejectedEvidenceError: `ear.not_yet_valid`, `ear.expired` or `ear.evidence`.
    """
    if (ear.issued_at - now).total_seconds() > CLOCK_SKEW_S:
        raise rejected("not_yet_valid", f"was issued at {ear.issued_at}, in the future")
    if now >= ear.expires_at:
        raise rejected("expired", f"expired at {ear.expires_at}")
    if ear.evidence_digest != evidence_digest:
        raise rejected(
            "evidence", f"is about {ear.evidence_digest.hex()}, want {evidence_digest.hex()}"
        )


def _submodule(appraisal: Appraisal) -> dict[str, Any]:
    policy = b64(bytes.fromhex(appraisal.policy_digest))
    return {
        "ear_status": AFFIRMING if appraisal.passed else CONTRAINDICATED,
        "ear_trustworthiness_vector": trust_vector(appraisal),
        "ear_appraisal_policy_ids": [f"{_POLICY_URI}{policy}"],
        "atoll.reason": appraisal.reason,
        "atoll.claims": dict(appraisal.claims),
    }


def trust_vector(appraisal: Appraisal) -> dict[str, int]:
    """The AR4SI vector: 2 affirmed, 96 contraindicated, 0 no assertion."""
    simulated = appraisal.simulated
    return {
        "instance-identity": _claim(appraisal, _IDENTITY, silent=simulated),
        "configuration": _AFFIRMED if appraisal.passed else _CONTRAINDICATED,
        "executables": _claim(appraisal, _EXECUTABLES, silent=False),
        "hardware": _claim(appraisal, _GENUINE, silent=simulated),
        "runtime-opaque": _claim(appraisal, _OPAQUE, silent=simulated),
    }


def _claim(appraisal: Appraisal, names: frozenset[str], *, silent: bool) -> int:
    outcomes = [item.outcome for item in appraisal.findings if item.id in names]
    if Outcome.FAIL in outcomes:
        return _CONTRAINDICATED
    # Nothing is said of hardware without hardware, nor of what authenticity must carry.
    passed = Outcome.PASS in outcomes and bool(appraisal.claims)
    return _AFFIRMED if passed and not silent else _NONE


def signed_claims(token: str, keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """The claims of a token that one of these keys signed; nothing else about it is checked.

    Raises:
        RejectedEvidenceError: `ear.malformed`, `ear.key` or `ear.signature`.
    """
    if len(token) > MAX_TOKEN:
        raise rejected("malformed", f"is {len(token)} characters, at most {MAX_TOKEN}")
    if not all(map(_is_canonical, token.split("."))):
        raise rejected("malformed", "is not canonical unpadded base64url")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise rejected("malformed", "is not a JWT") from error
    kid = header.get("kid")
    if header.get("alg") != _ALGORITHM or set(header) != {"alg", "kid", "typ"}:
        raise rejected("malformed", "has a header other than alg EdDSA, kid and typ")
    if not isinstance(kid, str) or kid not in keys:
        raise rejected("key", f"is signed by the unknown key {str(kid)[:80]!r}")
    try:
        # Times are judged below, by the caller's clock and not by this machine's.
        return jwt.decode(
            token,
            keys[kid],
            algorithms=[_ALGORITHM],
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise rejected("signature", f"is not signed by the key {kid[:80]!r}") from error
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise rejected("malformed", "does not carry claims") from error


def _is_canonical(segment: str) -> bool:
    """Whether this is the one encoding of its bytes; the JWT library takes others too."""
    try:
        return b64(unb64(segment)) == segment
    except ValueError:
        return False


def _read(claims: dict[str, Any]) -> tuple[Ear, str]:
    try:
        if claims["eat_profile"] != PROFILE or len(claims["submods"]) != 1:
            raise ValueError("another profile, or not one submodule")
        ((tee, submodule),) = claims["submods"].items()
        if not isinstance(claims["atoll.simulated"], bool):
            raise TypeError("atoll.simulated is no boolean")
        vector = {str(k): int(v) for k, v in submodule["ear_trustworthiness_vector"].items()}
        (policy,) = submodule["ear_appraisal_policy_ids"]
        ear = Ear(
            tee=Tee(tee),
            issuer=text(claims["iss"]),
            issued_at=time(claims["iat"]),
            expires_at=time(claims["exp"]),
            simulated=claims["atoll.simulated"],
            evidence_digest=bytes.fromhex(claims["atoll.evidence_digest"]),
            policy_digest=unb64(policy.removeprefix(_POLICY_URI)),
            nonce=unb64(claims["eat_nonce"]),
            trust_vector=vector,
        )
        return ear, text(submodule["ear_status"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise rejected("malformed", f"has claims that are not ours: {error}"[:200]) from error
