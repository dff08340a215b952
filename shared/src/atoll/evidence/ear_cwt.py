"""An appraisal as a signed CBOR token: the CWT form of draft-ietf-rats-ear-04.

The same content as `ear`, in a COSE_Sign1 under EdDSA whose `typ` is application/eat+cwt.
Tables of the draft, and of RFC 8392 and RFC 9711 for what they define:

| key     | claim                  | value                                             |
| 1 4 6   | iss, exp, iat          | text; seconds as integers, untagged               |
| 10      | eat_nonce              | bytes                                             |
| 265     | eat_profile            | text                                              |
| 266     | submods                | { text => appraisal }                             |
| 1004    | ear_verifier_id        | { 0: developer, 1: build }                        |
| -75300  | atoll.evidence_digest  | 32 bytes                                          |
| -75301  | atoll.simulated        | true or false                                     |
| in an appraisal:                                                                     |
| 1000    | ear_status             | 2 affirming, 96 contraindicated                   |
| 1001    | trustworthiness vector | { 0..7 => -128..127 }                             |
| 1003    | policy ids             | [ one RFC 6920 URI ]                              |
| -75302  | atoll.reason           | text                                              |
| -75303  | atoll.claims           | { text => text }                                  |

Our own keys are from the private range of RFC 8392, section 9.1 (below -65536). In the
vector, claims about which nothing is asserted are 0 as in the JWT.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll import cbor, cose
from atoll.errors import InputError, RejectedEvidenceError
from atoll.evidence.document import DIGEST_SIZE, Tee
from atoll.evidence.ear import (
    MAX_TOKEN,
    PROFILE,
    Ear,
    require_current,
    require_issuable,
    trust_vector,
)
from atoll.evidence.findings import Appraisal

MEDIA_TYPE: Final = "application/eat+cwt"
STATUS_AFFIRMING: Final = 2
STATUS_CONTRAINDICATED: Final = 96

_ISS, _EXP, _IAT, _NONCE, _PROFILE, _SUBMODS, _VERIFIER = 1, 4, 6, 10, 265, 266, 1004
_EVIDENCE, _SIMULATED, _REASON, _CLAIMS = -75300, -75301, -75302, -75303
_STATUS, _VECTOR, _POLICIES = 1000, 1001, 1003
_TOKEN_KEYS: Final = frozenset(
    {_ISS, _EXP, _IAT, _NONCE, _PROFILE, _SUBMODS, _VERIFIER, _EVIDENCE, _SIMULATED}
)
_SUBMODULE_KEYS: Final = frozenset({_STATUS, _VECTOR, _POLICIES, _REASON, _CLAIMS})
_VECTOR_NAMES: Final = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)
_BUILD: Final = "atoll-attestor"
_POLICY_URI: Final = "ni:///sha-256;"


def issue_ear_cwt(
    appraisal: Appraisal,
    *,
    evidence_digest: bytes,
    nonce: bytes,
    issuer: str,
    key: Ed25519PrivateKey,
    kid: str,
    now: datetime,
    ttl_s: int,
) -> bytes:
    """Sign an appraisal, good or bad; the arguments are those of `issue_ear`.

    Raises:
        ValueError: our own mistakes: the appraisal is of other evidence, or the
            lifetime is not 1 second to 24 hours.
    """
    require_issuable(appraisal, evidence_digest, ttl_s)
    issued_at = int(now.timestamp())
    claims = {
        _ISS: issuer,
        _EXP: issued_at + ttl_s,
        _IAT: issued_at,
        _NONCE: nonce,
        _PROFILE: PROFILE,
        _SUBMODS: {(appraisal.tee or Tee.SNP).value: _submodule(appraisal)},
        _VERIFIER: {0: issuer, 1: _BUILD},
        _EVIDENCE: evidence_digest,
        _SIMULATED: appraisal.simulated,
    }
    return cose.sign1(cbor.dumps(claims), key, kid=kid.encode(), protected={cose.TYP: MEDIA_TYPE})


def verify_ear_cwt(
    token: bytes, keys: Mapping[str, Ed25519PublicKey], *, evidence_digest: bytes, now: datetime
) -> Ear:
    """Check a token about this evidence, and that it is affirming.

    1. It is a COSE_Sign1 of an EAT by a key that is known here, and the signature holds.
    2. The claims are complete, of the right types, and no others; the profile is ours.
    3. It was issued (give or take a minute of clock difference) and has not expired.
    4. It is about this evidence.
    5. The status is affirming.

    Does not check: whether the caller may trust simulated evidence; look at `simulated`.

    Raises:
        RejectedEvidenceError: `ear.malformed`, `ear.key`, `ear.signature`,
            `ear.not_yet_valid`, `ear.expired`, `ear.evidence` or `ear.status`.
    """
    # 1
    by_kid: dict[bytes, cose.PublicKey] = {name.encode(): key for name, key in keys.items()}
    try:
        signed = cose.verify1(token, by_kid, limit=MAX_TOKEN)
        if signed.protected != {cose.ALG: -8, cose.KID: signed.kid, cose.TYP: MEDIA_TYPE}:
            raise _rejected("malformed", "has a header other than alg, kid and typ of an EAT")
        claims = cbor.loads(signed.payload, limit=MAX_TOKEN)
    except InputError as error:
        check = error.code.removeprefix("cose.").replace("cbor.", "")
        raise _rejected(check, f"is no token: {error.message}") from error
    # 2
    ear, status = _read(claims)
    # 3, 4
    require_current(ear, evidence_digest, now=now)
    # 5
    if status != STATUS_AFFIRMING:
        raise _rejected("status", f"has status {status}, want {STATUS_AFFIRMING}")
    return ear


def _submodule(appraisal: Appraisal) -> dict[int, Any]:
    vector = trust_vector(appraisal)
    return {
        _STATUS: STATUS_AFFIRMING if appraisal.passed else STATUS_CONTRAINDICATED,
        _VECTOR: {_VECTOR_NAMES.index(name): value for name, value in vector.items()},
        _POLICIES: [_POLICY_URI + _b64(bytes.fromhex(appraisal.policy_digest))],
        _REASON: appraisal.reason,
        _CLAIMS: dict(appraisal.claims),
    }


def _read(claims: Any) -> tuple[Ear, int]:
    try:
        _keys(claims, _TOKEN_KEYS)
        if claims[_PROFILE] != PROFILE or len(claims[_SUBMODS]) != 1:
            raise ValueError("another profile, or not one submodule")
        ((tee, submodule),) = claims[_SUBMODS].items()
        _keys(submodule, _SUBMODULE_KEYS)
        (policy,) = submodule[_POLICIES]
        ear = Ear(
            tee=Tee(tee),
            issuer=_typed(claims[_ISS], str),
            issued_at=_time(claims[_IAT]),
            expires_at=_time(claims[_EXP]),
            simulated=_typed(claims[_SIMULATED], bool),
            evidence_digest=_typed(claims[_EVIDENCE], bytes),
            policy_digest=_policy_digest(_typed(policy, str)),
            nonce=_typed(claims[_NONCE], bytes),
            trust_vector=_vector(submodule[_VECTOR]),
        )
        return ear, _typed(submodule[_STATUS], int)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise _rejected("malformed", f"has claims that are not ours: {error}"[:200]) from error


def _keys(value: Any, want: frozenset[int]) -> None:
    if not isinstance(value, dict) or value.keys() != want:
        raise ValueError("missing or unknown claims")


def _typed(value: Any, kind: type) -> Any:
    # `type`, because a boolean is an int in Python and not in CBOR.
    if type(value) is not kind:
        raise TypeError(f"want {kind.__name__}")
    return value


def _vector(value: Any) -> dict[str, int]:
    _typed(value, dict)
    if any(type(item) is not int or not -128 <= item <= 127 for item in value.values()):  # noqa: PLR2004 - AR4SI
        raise ValueError("a trust claim outside -128 to 127")
    names = dict(enumerate(_VECTOR_NAMES))
    return {names[label]: item for label, item in value.items()}


def _time(value: Any) -> datetime:
    return datetime.fromtimestamp(_typed(value, int), UTC)


def _policy_digest(uri: str) -> bytes:
    digest = _unb64(uri.removeprefix(_POLICY_URI))
    if len(digest) != DIGEST_SIZE or _POLICY_URI + _b64(digest) != uri:
        raise ValueError("a policy id that is not the SHA-256 URI of a policy")
    return digest


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _rejected(check: str, message: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(f"attestation result {message}"[:400], code=f"ear.{check}")
