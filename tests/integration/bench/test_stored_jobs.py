"""A ledger that the benchmark fills is one that gateways could have left."""

from bench.report import percentile
from bench.stored_jobs import Past

from atoll.wire import cloudevents, schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import JobRecord, JobState


def test_each_job_has_its_events_then_its_entry_under_ids_and_times_of_its_own() -> None:
    model = Past()
    seen = set()
    for number in (0, 7):
        *told, entry = model.job(number, 1_800_000_000_000 + number)
        record = schema.decode(JobRecord, entry.payload)
        view = record.view
        assert (view.state, view.seq, record.outbox) == (JobState.COMPLETED, 6, ())
        assert view.created_ms == 1_800_000_000_000 + number
        assert (view.updated_ms, view.expires_ms) == (
            view.created_ms + 500,
            view.created_ms + 3_600_000,
        )
        assert entry.subject == f"$KV.jobs.{view.job_id}"
        events = [cloudevents.read_job(one.headers or {}, one.payload) for one in told]
        assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
        assert {event.job_id for event in events} == {view.job_id}
        assert [one.subject for one in told] == [
            cloudevents.subject_of(event, DEFAULT_TENANT) for event in events
        ]
        seen |= {view.job_id, view.enclave_id, view.manifest_digest}
    assert len(seen) == 6


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    found = [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)]
    assert found == [50.0, 90.0, 99.0, 100.0]
    assert percentile([3.0], 0.01) == 3.0
