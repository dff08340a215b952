"""A job's story is told in the order of time, with the kills that fell into it."""

from chaos.facts import Facts, Kill, Released, Sighting
from chaos.plan import Target
from chaos.timeline import timeline


def test_everything_that_is_known_of_a_job_and_nothing_of_others() -> None:
    facts = Facts(
        accepted=(),
        views={},
        history={},
        releases=(
            Released(time_ms=1300, job_id="j1", attempt=1, enclave_id="e1", asset="data"),
            Released(time_ms=1300, job_id="j2", attempt=1, enclave_id="e2", asset="data"),
        ),
        sightings=(Sighting(enclave_id="e1", job_id="j1", attempt=1, last_ms=1000),),
        kills=(
            Kill(time_ms=1100, target=Target.NATS, pid=7),
            Kill(time_ms=1200, target=Target.AGENT, pid=8, job_id="j2", attempt=1),
            Kill(time_ms=1400, target=Target.NATS, pid=9),
        ),
    )
    assert timeline(facts, "j1") == [
        "       0 ms  e1, attempt 1, was seen alive for the last time",
        "     100 ms  kill of nats-server 7",
        "     300 ms  release of data to e1, attempt 1",
    ]


def test_of_a_job_that_nobody_knows_there_is_nothing_to_tell() -> None:
    assert timeline(Facts(accepted=(), views={}, history={}), "j1") == []
