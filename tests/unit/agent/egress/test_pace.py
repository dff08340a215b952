"""How many connections a job may begin, and that the host never sees too many."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.channel.limits import Limits, Opens
from atoll_agent.egress.pace import AT_ONCE, BURST, PER_S, pace

OWN_STREAMS = 8
"""Of the enclave itself, also when it connects to the bus anew."""


def test_so_many_in_a_row_and_then_one_after_the_other() -> None:
    held = pace(now=5.0)
    assert [held.take(5.0) for _ in range(BURST)] == [0.0] * BURST
    assert held.take(5.0) == 1 / PER_S
    assert held.take(5.0 + 1 / PER_S) == 1 / PER_S
    assert held.take(100.0) == 0.0


@given(st.lists(st.floats(0, 3), max_size=300))
def test_whatever_a_workload_does_its_enclave_is_not_cut_off(pauses: list[float]) -> None:
    limits = Limits()
    assert limits.streams >= AT_ONCE + OWN_STREAMS
    now = 0.0
    held, opens = pace(now), Opens(limits, now)
    for _ in range(OWN_STREAMS):
        opens.count(now)
    for pause in pauses:
        now += pause
        opens.count(now)  # raises when it is too much
        now += held.take(now)
