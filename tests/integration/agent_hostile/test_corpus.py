"""Every hostile workload is contained, and the job after it is right (`make hostile`)."""

from collections.abc import Iterator

import pytest

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.wall import bubblewrap
from hostile.arena import Arena, arena
from hostile.case import Case
from hostile.corpus import corpus
from support import dockerd

CASES = corpus()
pytestmark = pytest.mark.skipif(bubblewrap.missing() is not None, reason=str(bubblewrap.missing()))


@pytest.fixture(scope="module")
def around() -> Iterator[Arena]:
    """The surroundings, with a container engine of their own."""
    with dockerd.running() as engine, arena(engine.host) as made:
        yield made


def test_the_corpus_is_large_and_of_all_kinds() -> None:
    assert len(CASES) >= 60
    assert len({case.kind for case in CASES}) == 4


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_is_contained(around: Arena, case: Case) -> None:
    assert (await around.fight(case)).faults == ()


@pytest.fixture(scope="module")
def without_an_engine() -> Iterator[Arena]:
    with arena("") as made:
        yield made


IMAGES = [case for case in CASES if case.kind is WorkloadKind.DOCKER]


@pytest.mark.parametrize("case", IMAGES, ids=[case.id for case in IMAGES])
async def test_an_image_is_contained_where_there_is_no_engine(
    without_an_engine: Arena, case: Case
) -> None:
    assert (await without_an_engine.fight(case)).faults == ()


async def test_an_escape_would_be_seen(around: Arena) -> None:
    honest = next(case for case in CASES if case.id == "binary: descriptors")
    around.bait.write_bytes(b"changed")
    try:
        verdict = await around.fight(honest)
    finally:
        around.bait.write_bytes(b"bait")
    assert verdict.faults == ("the file outside was changed",)
