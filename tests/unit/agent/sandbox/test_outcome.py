"""What may leave the enclave about a run is fixed text."""

import re

import pytest

from atoll_agent.sandbox.outcome import Kind, Outcome, ResultFile, Used

USED = Used(wall_ms=1, memory_bytes=None, output_bytes=6, output_files=1)


def outcome(kind: Kind, exit_code: int | None = None) -> Outcome:
    return Outcome(
        kind=kind,
        exit_code=exit_code,
        used=USED,
        results=(ResultFile(name="PLANTED", size=6),),
        detail="PLANTED",
    )


def test_every_kind_has_its_own_code_and_sentence() -> None:
    made = [outcome(kind) for kind in Kind if kind is not Kind.EXITED]
    made += [outcome(Kind.EXITED, 0), outcome(Kind.EXITED, 1)]
    assert len({one.code for one in made}) == len(made)
    assert len({one.message for one in made}) == len(made)
    assert all(re.fullmatch(r"workload\.[a-z_]+", one.code) for one in made)


@pytest.mark.parametrize("kind", list(Kind))
def test_only_exit_code_zero_is_success(kind: Kind) -> None:
    assert not outcome(kind, 1).succeeded
    assert outcome(kind, 0).succeeded is (kind is Kind.EXITED)


def test_the_exit_code_does_not_show_in_code_and_message() -> None:
    first, second = outcome(Kind.EXITED, 1), outcome(Kind.EXITED, 99)
    assert (first.code, first.message) == (second.code, second.message)


def test_what_the_guest_wrote_does_not_show_in_a_log_of_the_outcome() -> None:
    assert "PLANTED" not in repr(outcome(Kind.TRAPPED))
