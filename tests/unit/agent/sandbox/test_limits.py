"""Limits that exist are legal."""

import pytest

from atoll.errors import InputError, MessageError
from atoll.wire import schema
from atoll_agent.sandbox import limits
from atoll_agent.sandbox.limits import Limits


def test_the_defaults_are_legal_and_survive_the_wire() -> None:
    assert schema.decode(Limits, schema.encode(Limits())) == Limits()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("wall_s", 1, limits.MAX_WALL_S),
        ("memory_bytes", 64 << 10, limits.MAX_MEMORY),
        ("fuel", 0, limits.MAX_FUEL),
        ("output_bytes", 0, limits.MAX_OUTPUT),
        ("output_files", 0, limits.MAX_ENTRIES),
        ("log_bytes", 0, limits.MAX_LOG),
        ("cpu_s", 0, limits.MAX_CPU_S),
        ("processes", 1, limits.MAX_PROCESSES),
        ("open_files", limits.MIN_OPEN_FILES, limits.MAX_OPEN_FILES),
        ("scratch_bytes", 0, limits.MAX_SCRATCH),
    ],
)
def test_each_limit_has_a_floor_and_a_ceiling(name: str, low: int, high: int) -> None:
    for legal in (low, high):
        assert getattr(Limits(**{name: legal}), name) == legal
    for illegal in (low - 1, high + 1, True, 1.5, "1", None):
        with pytest.raises(InputError, match=name) as caught:
            Limits(**{name: illegal})  # type: ignore[arg-type]
        assert caught.value.code == "limits.invalid"


def test_unknown_limits_are_refused_on_the_wire() -> None:
    plain = schema.to_plain(Limits()) | {"network": 1}
    with pytest.raises(MessageError):
        schema.from_plain(Limits, plain)


def test_the_resident_limit_leaves_room_for_the_runtime() -> None:
    assert Limits(memory_bytes=1 << 20).resident_bytes == (1 << 20) + limits.RUNTIME_RESIDENT


def test_without_a_cpu_limit_the_run_has_all_cores_for_its_whole_time() -> None:
    assert Limits(wall_s=60).cpu_budget_s(4) == 240
    assert Limits(wall_s=60, cpu_s=7).cpu_budget_s(4) == 7
    assert Limits(wall_s=60).cpu_budget_s(0) == 60
