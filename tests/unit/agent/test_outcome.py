"""From what a run left to an archive: everything that is legal, nothing that is not."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.sealing.archive import RESULTS, require_path
from atoll.sealing.tar import MAX_FILE_SIZE
from atoll_agent.outcome import packable
from atoll_agent.sandbox.outcome import Kind, Outcome, ResultFile, Used
from atoll_agent.sandbox.results import is_legal_name

USED = Used(wall_ms=1, memory_bytes=1, output_bytes=1, output_files=1)
GOOD = Outcome(
    kind=Kind.EXITED, exit_code=0, used=USED, results=(ResultFile(name="model.bin", size=3),)
)


def left(*files: ResultFile) -> Outcome:
    return packable(replace(GOOD, results=files))


def test_what_fits_the_archive_is_packed_as_it_is() -> None:
    assert packable(GOOD) is GOOD
    assert left(ResultFile(name="a/b", size=MAX_FILE_SIZE)).succeeded


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (ResultFile(name="large", size=MAX_FILE_SIZE + 1), Kind.OUTPUT_LIMIT),
        (ResultFile(name="../up", size=0), Kind.OUTPUT_NAMES),
        (ResultFile(name="line\nend", size=0), Kind.OUTPUT_NAMES),
        (ResultFile(name="/".join(["d"] * 40), size=0), Kind.OUTPUT_NAMES),
    ],
)
def test_what_the_archive_refuses_fails_the_job_without_results(
    file: ResultFile, kind: Kind
) -> None:
    outcome = left(ResultFile(name="fine", size=1), file)
    assert outcome.kind is kind
    assert not outcome.succeeded
    assert outcome.exit_code is None
    assert outcome.results == ()
    assert outcome.used == USED
    assert file.name not in outcome.message


def names() -> Iterator[int]:
    """Characters that have made trouble in names."""
    yield from (0, 10, 0x7F, 0x85, 0xAD, 0x61C, 0x180E, 0x200B, 0x2028, 0x202E, 0x2065, 0xFEFF)
    yield from (0xFFF9, 0xE0001, 0x5C, 0x2F, 0x3000, 0x1F600, 0xE9)


@settings(max_examples=300)
@with_values(
    st.lists(
        st.text(
            min_size=1,
            max_size=85,
            alphabet=st.one_of(
                st.sampled_from([chr(number) for number in names()]),
                st.characters(exclude_categories=["Cs"]),
            ),
        ),
        min_size=1,
        max_size=16,
    )
)
def test_every_name_that_the_sandbox_lets_pass_has_a_place_in_the_archive(parts: list[str]) -> None:
    if all(is_legal_name(part.encode()) for part in parts):
        path = RESULTS + "/".join(parts)
        assert require_path(path) == path
