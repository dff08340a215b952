"""Reference values into a policy and out of one, for every TEE that has a profile.

What a policy checks beside (TCB, debug, signers ...) is no reference value and stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from atoll.corim import measured
from atoll.corim.keystone import device_keys
from atoll.corim.measured import Profile
from atoll.corim.snp import PROFILE as SNP_PROFILE
from atoll.corim.snp import SnpReferenceValues, snp_from_corim, snp_to_corim
from atoll.corim.values import Corim, Id, Oid, Validity, invalid
from atoll.errors import UnsupportedError
from atoll.evidence.document import Tee
from atoll.evidence.keystone.policy import KeystonePolicy
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.tdx_policy import TdxPolicy
from atoll.evidence.vtpm.policy import VtpmPolicy

Policy = SnpPolicy | TdxPolicy | KeystonePolicy | VtpmPolicy

_PROFILES: Final[Mapping[type, tuple[Tee, Profile]]] = {
    TdxPolicy: (Tee.TDX, measured.TDX),
    KeystonePolicy: (Tee.KEYSTONE, measured.KEYSTONE),
    VtpmPolicy: (Tee.VTPM, measured.VTPM),
}
"""By the policy's type. SEV-SNP has a profile of AMD's, which is more than digests."""
_TEES: Final[Mapping[str | Oid, Tee]] = {
    SNP_PROFILE: Tee.SNP,
    **{profile.id: tee for tee, profile in _PROFILES.values()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A policy's reference values, and what the profile cannot say."""

    corim: Corim
    left_out: tuple[str, ...]
    """Fields with values that the policy checks and the CoRIM does not have."""


def tee_of(corim: Corim) -> Tee:
    """Which kind of hardware a CoRIM is about.

    Raises:
        UnsupportedError: `corim.unsupported`: no profile, or none that is known here.
    """
    if corim.profile is None or corim.profile not in _TEES:
        known = ", ".join(sorted(_name(profile) for profile in _TEES))
        raise UnsupportedError(
            f"CoRIM has the profile {_name(corim.profile)[:100]}, known are {known}",
            code="corim.unsupported",
        )
    return _TEES[corim.profile]


def merged(corims: Sequence[Corim]) -> Corim:
    """Several CoRIMs of one profile as one, for what they say together.

    Does not check: validities; the result has none.

    Raises:
        InputError: `corim.invalid`: different profiles, a tag id that two of them have, none
            or too many modules.
    """
    if len({corim.profile for corim in corims}) != 1:
        raise invalid("cannot be read together with one of another profile")
    comids = tuple(comid for corim in corims for comid in corim.comids)
    return Corim(id=corims[0].id, comids=comids, profile=corims[0].profile)


def into_policy(corim: Corim, policy: Policy) -> Policy:
    """The policy with these reference values in place of its own, where anything is said.

    Device keys of Keystone are matter of trust and not of a policy: `keystone.device_keys`.

    Raises:
        InputError: `corim.invalid`: of another TEE than the policy, or what its independent
            sets cannot say; `corim.unsupported`.
    """
    tee = tee_of(corim)
    if tee is not _tee(policy):
        raise invalid(f"is about {tee.value}, and the policy about {_tee(policy).value}")
    if isinstance(policy, SnpPolicy):
        return snp_from_corim(corim).apply(policy)
    if isinstance(policy, KeystonePolicy):
        device_keys(corim)
    found: dict[str, Any] = dict(measured.from_corim(_PROFILES[type(policy)][1], corim))
    return replace(policy, **found)


def from_policy(
    policy: Policy, *, corim_id: Id, tag_id: Id, validity: Validity | None = None
) -> Exported:
    """The reference values of a policy.

    Raises:
        InputError: `corim.invalid`: the policy has none, or more than a CoRIM can say.
    """
    sets = _checked(policy)
    if isinstance(policy, SnpPolicy):
        own = {field.name for field in fields(SnpReferenceValues)}
        said = {name: value for name, value in sets.items() if name in own}
        values = SnpReferenceValues(**{"measurements": frozenset(), **said})
        corim = snp_to_corim(values, corim_id=corim_id, tag_id=tag_id, validity=validity)
    else:
        _, profile = _PROFILES[type(policy)]
        own = {name for keys in profile.environments.values() for name in keys.values()}
        said = {name: value for name, value in sets.items() if name in own}
        corim = measured.to_corim(
            profile, said, corim_id=corim_id, tag_id=tag_id, validity=validity
        )
    return Exported(corim=corim, left_out=tuple(sorted(sets.keys() - said.keys())))


def _checked(policy: Policy) -> dict[str, Any]:
    every = {field.name: getattr(policy, field.name) for field in fields(policy)}
    # A flag is a rule for a verifier, and no value that somebody measured.
    return {
        name: value
        for name, value in every.items()
        if value is not UNCHECKED and not isinstance(value, bool)
    }


def _tee(policy: Policy) -> Tee:
    return Tee.SNP if isinstance(policy, SnpPolicy) else _PROFILES[type(policy)][0]


def _name(profile: str | Oid | None) -> str:
    return profile.text if isinstance(profile, Oid) else str(profile)
