"""The stack's policy follows the agent that is installed, and nothing else of it changes."""

from dataclasses import replace

import pytest

from atoll.evidence.policy_forms import UNCHECKED
from atoll.policy.document import Mode
from atoll.policy.sections import SNP
from atoll.wire.messages import PolicyRecord
from atoll_cli.stack.policies import in_force, next_document
from support.evidence import policy
from unit.attestor.given import document, signed

INSTALLED = policy()
OTHER = policy(measurements=frozenset({b"\1" * 48}))


def test_the_first_start_makes_version_one() -> None:
    made = next_document(None, 0, INSTALLED)
    assert made is not None
    assert (made.version, made.mode, made.sections[SNP]) == (1, Mode.ENFORCE, INSTALLED)


@pytest.mark.parametrize(
    "section",
    [
        INSTALLED,
        policy(measurements=UNCHECKED),
        policy(measurements=frozenset({*INSTALLED.measurements, b"\1" * 48})),  # type: ignore[misc]
        policy(vmpls=frozenset({0, 1})),
    ],
)
def test_a_policy_that_accepts_the_agent_stays(section: object) -> None:
    assert next_document(document(section=section), 1, INSTALLED) is None  # type: ignore[arg-type]


def test_another_agent_gets_a_new_version_and_what_an_operator_chose_stays() -> None:
    chosen = document(4, section=replace(OTHER, vmpls=frozenset({0, 1})))
    made = next_document(chosen, 6, INSTALLED)
    assert made is not None
    assert made.version == 7
    section = made.sections[SNP]
    assert section == policy(vmpls=frozenset({0, 1}))


def test_a_policy_without_a_section_for_the_tee_gets_one() -> None:
    made = next_document(document(sections={}), 1, INSTALLED)
    assert made is not None
    assert made.sections == {SNP: INSTALLED}


def test_a_document_of_an_older_build_is_replaced_by_a_newer_version() -> None:
    old = signed(document(3)).replace(b',"vmpls":[0]', b"")
    found, highest = in_force(PolicyRecord(enforced=old, candidate=b""))
    assert (found, highest) == (None, 3)
    made = next_document(found, highest, INSTALLED)
    assert made is not None
    assert made.version == 4


def test_a_version_on_trial_counts() -> None:
    record = PolicyRecord(enforced=signed(document(1)), candidate=signed(document(5, Mode.SHADOW)))
    found, highest = in_force(record)
    assert found == document(1)
    assert highest == 5
    assert in_force(PolicyRecord(enforced=b"", candidate=b"")) == (None, 0)
