"""The policy of an embedded stack: it accepts the agent that is installed, and so gets a new
version whenever that one has changed."""

from dataclasses import replace
from typing import Final

from atoll.bus import Bus, KeyValue
from atoll.errors import InputError
from atoll.evidence.policy import SnpPolicy, policy_from_json
from atoll.evidence.policy_forms import Unchecked
from atoll.policy.claims import claimed_version
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.sections import SNP
from atoll.policy.signed import SignedPolicy, sign_policy
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import ActivateRequest, PolicyRecord, PolicyView
from atoll_cli.stack.material import Material

POLICY_NAME: Final = "default"
TIMEOUT_S: Final = 10.0


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
    document = next_document(*active, policy_from_json(material.policy))
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
    enforced: PolicyDocument | None, highest: int, installed: SnpPolicy
) -> PolicyDocument | None:
    """The document to activate, or None if the agent that is installed is accepted already."""
    section = installed
    if enforced is not None:
        now = enforced.sections.get(SNP)
        if isinstance(now, SnpPolicy):
            accepted, wanted = now.measurements, installed.measurements
            if isinstance(accepted, Unchecked):
                return None
            if not isinstance(wanted, Unchecked) and wanted <= accepted:
                return None
            section = replace(now, measurements=installed.measurements)
    return PolicyDocument(
        name=POLICY_NAME,
        version=highest + 1,
        not_before=0,
        mode=Mode.ENFORCE,
        sections={**(enforced.sections if enforced else {}), SNP: section},
    )
