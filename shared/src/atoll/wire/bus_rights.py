"""What one must be allowed to publish in order to read, to take work, to bury it. Pure.

Rows of the table in `atoll.wire.topology`: subjects of the JetStream API, and whose they are.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from atoll.wire.endpoints import Role
from atoll.wire.topology_types import Consumer

Rows = dict[str, frozenset[Role]]
Workers = dict[str, tuple[frozenset[Role], tuple[Consumer, ...]]]
"""By stream: who takes messages, and from which of its consumers."""

_READ: Final = ("CREATE", "MSG.NEXT", "DELETE")


def reading(readers: Mapping[str, frozenset[Role]]) -> Rows:
    """To follow a stream with nameless consumers of one's own."""
    return {
        f"$JS.API.CONSUMER.{verb}.{stream}.>": roles
        for stream, roles in readers.items()
        for verb in _READ
    }


def working(workers: Workers, changing: AbstractSet[str]) -> Rows:
    """To take messages from the consumers of a stream, and settle them.

    Args:
        workers: who, by stream.
        changing: streams of which all consumers are alike, those that come and go too.
    """
    rows: Rows = {}
    for stream, (roles, consumers) in workers.items():
        for name in _names(stream, consumers, changing):
            rows[f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"] = roles
            rows[f"$JS.ACK.{stream}.{name}.>"] = roles
            # The form with domain and account (ADR-15), as long as it is. One of nine tokens, as in
            # `$JS.ACK.REPORTS.ledger.SPAWN.7.7.7.0`, acknowledges a message of another queue.
            rows[f"$JS.ACK.*.*.{stream}.{name}.*.*.*.*.>"] = roles
    return rows


def burying(
    undertaker: frozenset[Role], dead: str, queues: Workers, changing: AbstractSet[str]
) -> Rows:
    """To see what the consumers of queues left, and to erase from the queues what was kept,
    and dead letters."""
    rows = {f"$JS.API.STREAM.MSG.DELETE.{stream}": undertaker for stream in (*queues, dead)}
    for stream, (_, consumers) in queues.items():
        for name in _names(stream, consumers, changing):
            rows[f"$JS.API.CONSUMER.INFO.{stream}.{name}"] = undertaker
    return rows


def _names(
    stream: str, consumers: tuple[Consumer, ...], changing: AbstractSet[str]
) -> tuple[str, ...]:
    return ("*",) if stream in changing else tuple(consumer.name for consumer in consumers)
