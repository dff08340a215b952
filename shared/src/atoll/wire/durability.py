"""How many copies of each stream are kept. Pure.

Two classes. The ledger is all that a promise depends on: jobs, work, reports, events, manifests,
consents taken back, policies, evidence, outcomes, sealed assets and results, dead letters,
appraisals, and the hosts, without which nothing runs. It has as many replicas as the operator
asks. What is expendable has one copy and is acknowledged before it is written: traces.

A stream that is not named expendable belongs to the ledger. When the disk is told to keep what
was written (`sync_interval`) is a setting of a server for all its streams, not of a stream;
`docs/reliability.md` says what follows from both.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeVar

from atoll.errors import ConfigError
from atoll.wire import topology
from atoll.wire.topology_types import Bucket, Layout, ObjectBucket, Stream

REPLICAS: Final = (1, 3, 5)
"""An even number survives no more than the odd one below it, and elects no better."""

EXPENDABLE: Final = frozenset({topology.TELEMETRY.name})

_T = TypeVar("_T", Stream, Bucket, ObjectBucket)


def layout(replicas: int, tenants: Iterable[str] = ()) -> Layout:
    """All of `atoll.wire.topology` with `replicas` of what belongs to the ledger, and the histories
    of these tenants.

    Raises:
        ConfigError: `config.invalid`: not 1, 3 or 5.
    """
    if replicas not in REPLICAS:
        raise ConfigError(
            f"{replicas} replicas: want {', '.join(map(str, REPLICAS))}", code="config.invalid"
        )
    streams = dict.fromkeys((*topology.STREAMS, *map(topology.events_of, tenants)))
    return Layout(
        streams=tuple(
            replace(stream, replicas=1, persist="async")
            if stream.name in EXPENDABLE
            else replace(stream, replicas=replicas)
            for stream in streams
        ),
        consumers=topology.CONSUMERS,
        buckets=_with(topology.BUCKETS, replicas),
        object_buckets=_with(topology.OBJECT_BUCKETS, replicas),
    )


def _with(items: Iterable[_T], replicas: int) -> tuple[_T, ...]:
    return tuple(replace(item, replicas=replicas) for item in items)
