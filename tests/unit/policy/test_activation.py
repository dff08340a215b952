"""Versions only grow, and a candidate decides nothing."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError, RefusedError
from atoll.policy.activation import (
    NO_POLICY,
    Admission,
    Opinion,
    activate,
    decide,
    require_newer,
)
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.signed import VerifiedPolicy
from atoll.policy.state import PolicyState
from support.policies import document

NOW = 1000
PASS = Opinion(passed=True, reason="")
FAIL = Opinion(passed=False, reason="snp.debug")


def _activate(state: PolicyState | None, made: PolicyDocument) -> PolicyState:
    return activate(state, VerifiedPolicy(document=made, signed_by=()), now=NOW)


def _code(state: PolicyState | None, made: PolicyDocument) -> str:
    with pytest.raises(RefusedError) as caught:
        _activate(state, made)
    return caught.value.code


def test_the_first_document_is_in_force() -> None:
    state = _activate(None, document())
    assert (state.highest, state.enforced, state.candidate) == (3, document(), None)


def test_refuses_an_older_version() -> None:
    state = _activate(None, document(version=3))
    assert _code(state, document(version=2)) == "policy.rollback"


def test_refuses_a_rollback_past_a_candidate() -> None:
    state = _activate(None, document(version=3))
    state = _activate(state, document(version=5, mode=Mode.SHADOW))
    assert _code(state, document(version=4)) == "policy.rollback"
    assert _code(state, document(version=3)) == "policy.rollback"


def test_refuses_two_contents_under_one_number() -> None:
    state = _activate(None, document())
    assert _code(state, document(not_before=1)) == "policy.fork"


def test_activating_again_changes_nothing() -> None:
    state = _activate(None, document())
    assert _activate(state, document()) is state


def test_refuses_before_its_time() -> None:
    assert _code(None, document(not_before=NOW + 1)) == "policy.not_yet"
    _activate(None, document(not_before=NOW))


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.WARN])
def test_a_candidate_leaves_the_enforced_document_in_force(mode: Mode) -> None:
    state = _activate(None, document())
    trial = document(version=4, mode=mode)
    state = _activate(state, trial)
    assert (state.enforced, state.candidate) == (document(), trial)
    after = _activate(state, document(version=5))
    assert (after.enforced, after.candidate) == (document(version=5), None)


def test_a_first_candidate_enforces_nothing() -> None:
    state = _activate(None, document(mode=Mode.SHADOW))
    assert state.enforced is None
    assert state.candidate is not None


def test_another_name_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="fleet"):
        require_newer(document(name="other"), _activate(None, document()))


STEPS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(list(Mode))), max_size=8)


@settings(max_examples=100)
@given(STEPS)
def test_whatever_happens_versions_grow_and_states_survive_storage(
    steps: list[tuple[int, Mode]],
) -> None:
    state: PolicyState | None = None
    for version, mode in steps:
        before = state.highest if state else 0
        try:
            state = _activate(state, document(version=version, mode=mode))
        except RefusedError:
            assert version <= before
        assert state is not None
        assert state.highest >= before
        assert PolicyState.from_bytes(state.to_bytes()) == state


STATE = _activate(_activate(None, document()), document(version=4, mode=Mode.WARN))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "x"},
        {"format_version": 2},
        {"format_version": True},
        {"extra": 1},
        {"highest": 3},
        {"highest": 9},
        {"highest": True},
        {"highest_digest": "00" * 32},
        {"highest_digest": 1},
        {"highest_digest": "0"},
        {"enforced": None, "candidate": None},
        {"enforced": canonical.loads(document(name="x").to_bytes())},
        {"enforced": canonical.loads(document(mode=Mode.WARN).to_bytes())},
        {"candidate": canonical.loads(document(version=2, mode=Mode.WARN).to_bytes())},
    ],
)
def test_refuses_a_state_that_contradicts_itself(changes: dict[str, Any]) -> None:
    plain = canonical.loads(STATE.to_bytes()) | changes
    with pytest.raises(InputError):
        PolicyState.from_bytes(canonical.dumps(plain))


def test_refuses_an_enforced_candidate() -> None:
    made = document(version=4)
    with pytest.raises(InputError):
        replace(STATE, candidate=made, highest_digest=made.digest)


def test_refuses_a_state_that_is_too_large() -> None:
    with pytest.raises(InputError):
        PolicyState.from_bytes(b" " * (3 << 20))


CANDIDATES: list[tuple[Opinion | None, Mode | None]] = [
    (None, None),
    *product((PASS, FAIL), (Mode.SHADOW, Mode.WARN)),
]


@pytest.mark.parametrize("enforced", [None, PASS, FAIL])
@pytest.mark.parametrize(("candidate", "mode"), CANDIDATES)
def test_only_the_enforced_document_admits(
    enforced: Opinion | None, candidate: Opinion | None, mode: Mode | None
) -> None:
    decision = decide(enforced, candidate, mode)
    admitted = enforced is PASS
    assert (decision.admission is Admission.ADMITTED) == admitted
    assert decision.reason == {None: NO_POLICY, PASS: "", FAIL: "snp.debug"}[enforced]
    assert decision.warn == (candidate is FAIL and mode is Mode.WARN)
    differs = candidate is not None and candidate.passed != admitted
    assert bool(decision.disagreement) == differs


def test_a_disagreement_says_why() -> None:
    assert decide(PASS, FAIL, Mode.SHADOW).disagreement == "snp.debug"
    assert decide(FAIL, PASS, Mode.SHADOW).disagreement == "would pass"


@pytest.mark.parametrize(
    ("candidate", "mode"), [(PASS, Mode.ENFORCE), (PASS, None), (None, Mode.SHADOW)]
)
def test_a_candidate_that_enforces_is_our_own_mistake(
    candidate: Opinion | None, mode: Mode | None
) -> None:
    with pytest.raises(ValueError, match="shadow or warn"):
        decide(PASS, candidate, mode)
