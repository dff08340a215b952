"""Keystone evidence as an Entity Attestation Token (docs/formats/keystone-eat.md).

| label  | claim             | value                                               |
| 10     | eat_nonce         | the challenge, 8 to 64 bytes                        |
| 256    | ueid              | 01, then SHA-256 of the device's public key         |
| 265    | eat_profile       | the profile's OID, content octets                   |
| -70000 | keystone-report   | the report, 1352 bytes                              |
| -70001 | keystone-bindings | [signing key, HPKE key, manifest digest], or absent |

Labels 10, 256 and 265 are of RFC 9711. The claims travel unprotected (UCCS, RFC 9781, tag 601),
because the security monitor cannot sign CBOR, or in a CWT (RFC 8392: COSE_Sign1) by whoever
relays them. What is believed of Keystone stands in the report either way: the CWT's signature
shows who handed the evidence on, and replaces no check.

Needs cbor2 and cwt (the extra `verify`), so the agent does not import this module.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cbor2 import CBORTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import cbor, cose
from atoll.errors import InputError, MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.document import DIGEST_SIZE, HPKE_KEY_SIZE, SIGNING_KEY_SIZE, report_data
from atoll.evidence.keystone.report import REPORT_SIZE
from atoll.evidence.keystone.verify import DeviceKeys, VerifiedKeystone, verify_keystone

PROFILE_OID: Final = "2.25.143718767648314809748152871613405887265"
PROFILE: Final = bytes.fromhex("6981d89f9d94c9f0dab49d9aabc3b3a3f8f1f621")
"""The same, as content octets (RFC 9090)."""
UCCS_MEDIA_TYPE: Final = f'application/eat-ucs+cbor; eat_profile="{PROFILE_OID}"'
CWT_MEDIA_TYPE: Final = f'application/eat+cwt; eat_profile="{PROFILE_OID}"'
MAX_EAT: Final = 4096

_UCCS: Final = 601
_NONCE, _UEID, _PROFILE, _REPORT, _BINDINGS = 10, 256, 265, -70000, -70001
_NEEDED: Final = frozenset({_NONCE, _UEID, _PROFILE, _REPORT})
_NONCE_SIZES: Final = range(8, 65)
_UEID_RAND: Final = b"\x01"
_UEID_SIZE: Final = 33
_STRUCTURE: Final = "Keystone EAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneBindings:
    """What `data` commits to beside the nonce, as for every kind of hardware.

    Raises `MalformedEvidenceError` for sizes that cannot be.
    """

    signing_key: bytes
    hpke_key: bytes
    manifest_digest: bytes

    def __post_init__(self) -> None:
        _size("signing key", self.signing_key, {SIGNING_KEY_SIZE})
        _size("HPKE key", self.hpke_key, {HPKE_KEY_SIZE})
        _size("manifest digest", self.manifest_digest, {0, DIGEST_SIZE})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneEat:
    """The claims. Nothing in them is authentic before `verify_keystone_eat`.

    Raises `MalformedEvidenceError` for sizes that cannot be.
    """

    nonce: bytes
    ueid: bytes
    report: bytes = field(repr=False)
    bindings: KeystoneBindings | None = None

    def __post_init__(self) -> None:
        _size("nonce", self.nonce, _NONCE_SIZES)
        _size("ueid", self.ueid, {_UEID_SIZE})
        _size("report", self.report, {REPORT_SIZE})


def ueid_of(device_public_key: bytes) -> bytes:
    """The UEID of a device: type RAND (RFC 9711, section 4.2.1.1), from a hash of its key."""
    return _UEID_RAND + hashlib.sha256(device_public_key).digest()


def to_uccs(eat: KeystoneEat) -> bytes:
    """The unprotected form."""
    return cbor.dumps(CBORTag(_UCCS, _claims(eat)))


def from_uccs(raw: bytes) -> KeystoneEat:
    """Read the unprotected form. Proves nothing.

    Raises:
        MalformedEvidenceError: not the claims of this profile, all of them and no others.
    """
    value = _loads(raw, tags=(_UCCS,))
    if not isinstance(value, CBORTag) or value.tag != _UCCS:
        raise _malformed(f"is not under the tag {_UCCS}")
    return _read(value.value)


def sign_eat(eat: KeystoneEat, key: Ed25519PrivateKey, *, kid: bytes) -> bytes:
    """The same claims in a CWT by whoever relays them."""
    protected = {cose.TYP: CWT_MEDIA_TYPE}
    return cose.sign1(cbor.dumps(_claims(eat)), key, kid=kid, protected=protected)


def verify_eat_signature(raw: bytes, keys: Mapping[bytes, cose.PublicKey]) -> KeystoneEat:
    """Read a CWT whose relay is one of `keys`, by key id.

    Does not check: anything of Keystone; that is `verify_keystone_eat`.

    Raises:
        MalformedEvidenceError: no CWT with the claims of this profile.
        RejectedEvidenceError: `evidence.eat_signature`: an unknown relay, or not its signature.
    """
    try:
        signed = cose.verify1(raw, keys, limit=MAX_EAT)
    except InputError as error:
        if error.code == "cose.malformed":
            raise _malformed(error.message) from error
        raise RejectedEvidenceError(error.message, code="evidence.eat_signature") from error
    if signed.protected.keys() != {cose.ALG, cose.KID, cose.TYP}:
        raise _malformed("has a header other than alg, kid and typ")
    if signed.protected[cose.TYP] != CWT_MEDIA_TYPE:
        raise _malformed(f"is of the type {str(signed.protected[cose.TYP])[:80]!r}")
    return _read(_loads(signed.payload))


def verify_keystone_eat(eat: KeystoneEat, trust: DeviceKeys, *, nonce: bytes) -> VerifiedKeystone:
    """Prove a token's report, and that the other claims say the same.

    1. The report is a trusted device's (`verify_keystone`).
    2. `ueid` is that device's.
    3. `eat_nonce` is `nonce`, the caller's own challenge.
    4. The report's data is the nonce or, with bindings, the commitment to all of them.

    Does not check: the hashes of monitor and enclave, and whether the monitor's key can be
    derived: `keystone_findings` do.

    Raises:
        MalformedEvidenceError: the report does not parse.
        RejectedEvidenceError: those of `verify_keystone`, `evidence.ueid_mismatch`,
            `evidence.nonce_mismatch`, `evidence.data_mismatch`.
    """
    # 1
    verified = verify_keystone(eat.report, trust)
    report = verified.report
    # 2
    _equal("ueid", eat.ueid, ueid_of(report.device_public_key))
    # 3
    _equal("nonce", eat.nonce, nonce)
    # 4
    _equal("data", report.data, _committed(eat))
    return verified


def _committed(eat: KeystoneEat) -> bytes:
    bound = eat.bindings
    if bound is None:
        return eat.nonce
    return report_data(bound.signing_key, bound.hpke_key, bound.manifest_digest, eat.nonce)


def _claims(eat: KeystoneEat) -> dict[int, Any]:
    claims = {_NONCE: eat.nonce, _UEID: eat.ueid, _PROFILE: PROFILE, _REPORT: eat.report}
    if eat.bindings is None:
        return claims
    bound = eat.bindings
    return {**claims, _BINDINGS: [bound.signing_key, bound.hpke_key, bound.manifest_digest]}


def _read(claims: Any) -> KeystoneEat:
    if not isinstance(claims, dict) or not _NEEDED <= claims.keys() <= _NEEDED | {_BINDINGS}:
        raise _malformed("has not exactly the claims of the profile")
    if claims[_PROFILE] != PROFILE:
        raise _malformed("is of another profile")
    bindings = None
    if _BINDINGS in claims:
        bindings = _read_bindings(claims[_BINDINGS])
    return KeystoneEat(
        nonce=claims[_NONCE], ueid=claims[_UEID], report=claims[_REPORT], bindings=bindings
    )


def _read_bindings(value: Any) -> KeystoneBindings:
    if not isinstance(value, list) or len(value) != 3:  # noqa: PLR2004
        raise _malformed("has bindings that are not three items")
    signing, hpke, manifest = value
    return KeystoneBindings(signing_key=signing, hpke_key=hpke, manifest_digest=manifest)


def _loads(raw: bytes, tags: tuple[int, ...] = ()) -> Any:
    try:
        return cbor.loads(raw, limit=MAX_EAT, tags=tags)
    except InputError as error:
        raise _malformed(error.message) from error


def _size(what: str, value: Any, sizes: range | set[int]) -> None:
    if not isinstance(value, bytes) or len(value) not in sizes:
        size = len(value) if isinstance(value, bytes) else type(value).__name__
        raise _malformed(f"has a {what} of {size}, want bytes, {min(sizes)} to {max(sizes)}")


def _equal(what: str, actual: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(actual, expected):
        raise RejectedEvidenceError(
            f"{_STRUCTURE}: {what} is {actual.hex()[:128]}, want {expected.hex()[:128]}",
            code=f"evidence.{what}_mismatch",
        )


def _malformed(why: str) -> MalformedEvidenceError:
    return MalformedEvidenceError(_STRUCTURE, 0, why[:300])
