"""The policy of an embedded stack: it accepts the agent that is installed, and so gets a new
version whenever that one has changed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from atoll.bus import Bus, KeyValue
from atoll.errors import InputError
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.vtpm.policy import VtpmPolicy
from atoll.policy.claims import claimed_version
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.sections import SNP, VTPM, Policy, read_policy
from atoll.policy.signed import SignedPolicy, sign_policy
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import ActivateRequest, PolicyRecord, PolicyView
from atoll_cli.stack.material import Material

POLICY_NAME: Final = "default"
TIMEOUT_S: Final = 10.0
_IDENTITY: Final[Mapping[type, tuple[str, tuple[str, ...]]]] = {
    SnpPolicy: (SNP, ("measurements",)),
    VtpmPolicy: (VTPM, ("pcr9s", "kernel_digests")),
}
"""By the policy's type: its section, and the fields that say which agent it is."""


async def activate_installed(bus: Bus, material: Material) -> PolicyView | None:
    """Have the attestor accept the agent that is installed here, if it does not already.

    A document that somebody else activated is kept, but for the measurements.

    Args:
        bus: with the operator's login.
        material: of this stack.

    Raises:
        InputError: what the bucket holds is no policy.
        AtollError: the attestor does not answer, or refuses.
    """
    entry = await KeyValue(bus, topology.POLICIES).get(POLICY_NAME)
    active: tuple[PolicyDocument | None, int] = (None, 0)
    if entry is not None and entry.value is not None:
        active = in_force(schema.decode(PolicyRecord, entry.value))
    document = next_document(*active, read_policy(material.policy))
    if document is None:
        return None
    signed = sign_policy(document, [material.operator]).to_bytes()
    reply = await bus.request(
        endpoints.ACTIVATE.subject.of(),
        schema.encode(ActivateRequest(signed=signed)),
        timeout_s=TIMEOUT_S,
        retry=True,
    )
    return schema.decode(PolicyView, reply.payload)


def in_force(record: PolicyRecord) -> tuple[PolicyDocument | None, int]:
    """The enforced document, if there is one that this build takes, and the highest version.

    Checks no signature.

    Raises:
        InputError: `policy.invalid`, `json.*`: something without a version.
    """
    stored = [raw for raw in (record.enforced, record.candidate) if raw]
    highest = max(map(claimed_version, stored), default=0)
    try:
        enforced = SignedPolicy.from_bytes(record.enforced).document if record.enforced else None
    except InputError:
        enforced = None  # of an older build, which knew fewer fields
    return enforced, highest


def next_document(
    enforced: PolicyDocument | None, highest: int, installed: Policy
) -> PolicyDocument | None:
    """The document to activate, or None if the agent that is installed is accepted already."""
    tee, names = _IDENTITY[type(installed)]
    section = installed
    now = enforced.sections.get(tee) if enforced is not None else None
    if now is not None:
        wanted = {name: getattr(installed, name) for name in names}
        if all(_accepts(getattr(now, name), value) for name, value in wanted.items()):
            return None
        section = replace(now, **wanted)
    return PolicyDocument(
        name=POLICY_NAME,
        version=highest + 1,
        not_before=0,
        mode=Mode.ENFORCE,
        sections={**(enforced.sections if enforced else {}), tee: section},
    )


def _accepts(now: frozenset[bytes] | Unchecked, wanted: frozenset[bytes] | Unchecked) -> bool:
    if isinstance(now, Unchecked):
        return True
    return not isinstance(wanted, Unchecked) and wanted <= now
