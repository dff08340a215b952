"""Making the server look like the topology says.

Idempotent: what is missing is created, what differs and may change is updated, and what
must not change under running services (retention, storage, the kind of a consumer)
is refused. Keys of the existing configuration that we do not set stay as they are. Replicas
are added to a stream in use; they are taken away only when that is asked for.

Needs permission for `$JS.API.STREAM.{CREATE,UPDATE,INFO}.<stream>` and
`$JS.API.CONSUMER.CREATE.<stream>.>`: run it as the administrator, not as a service.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from atoll.bus import jetstream
from atoll.bus.connection import Bus
from atoll.bus.speaking import begin, level_to_begin
from atoll.bus.subjects import require_filter
from atoll.errors import AtollError, ConflictError, NotFoundError, RefusedError, UnreachableError
from atoll.wire import topology, topology_types
from atoll.wire.names import require_token
from atoll.wire.topology_types import Bucket, Consumer, Layout, ObjectBucket, Stream

_NANOSECOND: Final = 1_000_000_000
_FIXED: Final = ("retention", "storage")
_ONCE: Final = ("max_consumers",)
_DUPLICATE_WINDOW_S: Final = 120.0
_MAX_HISTORY: Final = 64
_CREATE_OR_UPDATE: Final = ""
_FIXED_WAITING: Final = "max waiting can not be updated"
_EXPIRY_MARKER_S: Final = 1.0
_PLACING_S: Final = 20.0
"""How long a cluster may take until as many of its servers are there as replicas are asked."""
_NO_PLACE: Final = ("no suitable peers", "insufficient resources")
_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Where a stream is."""

    stream: str
    leader: str
    """Name of a server; empty: none, or the only one there is."""
    replicas: int
    """Copies that were asked for."""
    current: int
    """Copies that have everything, the leader's included."""


async def provision(
    bus: Bus,
    *,
    streams: Iterable[Stream] = (),
    consumers: Iterable[Consumer] = (),
    buckets: Iterable[Bucket] = (),
    object_buckets: Iterable[ObjectBucket] = (),
    fewer_replicas: bool = False,
) -> None:
    """Make all of it exist as described.

    Args:
        bus: connected as the administrator.
        streams: first.
        consumers: last, their streams exist then.
        buckets: key-value.
        object_buckets: for chunks.
        fewer_replicas: take copies away where more exist than are described.

    Raises:
        ConflictError: `bus.incompatible`: it exists and cannot become what is asked.
        UnreachableError: no JetStream.
    """
    for stream in streams:
        await ensure_stream(bus, stream, fewer_replicas=fewer_replicas)
    for bucket in buckets:
        await ensure_bucket(bus, bucket, fewer_replicas=fewer_replicas)
    for object_bucket in object_buckets:
        await ensure_object_bucket(bus, object_bucket, fewer_replicas=fewer_replicas)
    for consumer in consumers:
        await ensure_consumer(bus, consumer)


async def provision_all(bus: Bus, layout: Layout, *, fewer_replicas: bool = False) -> None:
    """`provision` of a whole layout, and the protocol level in force: on a new bus the newest, on
    one of a release without levels the first, until it is raised (`atoll upgrade finish`).

    Raises:
        ConfigError: `protocol.too_old`, `protocol.too_new`: a release with other levels made this
            bus; nothing was changed.
    """
    begins = await level_to_begin(bus)
    await provision(
        bus,
        streams=layout.streams,
        consumers=layout.consumers,
        buckets=layout.buckets,
        object_buckets=layout.object_buckets,
        fewer_replicas=fewer_replicas,
    )
    await begin(bus, begins)


async def ensure_stream(bus: Bus, stream: Stream, *, fewer_replicas: bool = False) -> None:
    """Make `stream` exist as described; see `provision`."""
    for subject in stream.subjects:
        require_filter(subject)
    await _ensure(
        bus,
        {
            **_limits(stream.max_bytes, stream.max_age_s, stream.max_msg_size, stream.storage),
            "name": require_token(stream.name, "stream"),
            "description": stream.description,
            **_origin(stream),
            "retention": stream.retention,
            "discard": stream.discard,
            "max_msgs_per_subject": stream.max_msgs_per_subject or -1,
            "duplicate_window": _window(stream.duplicate_window_s, stream.max_age_s),
            "num_replicas": stream.replicas,
            "allow_direct": True,
            "deny_delete": stream.deny_delete,
            "deny_purge": stream.deny_purge,
            "max_consumers": stream.max_consumers,
            "consumer_limits": _consumer_limits(stream),
        },
        # Servers before 2.12 do not know it, and it cannot change later.
        new={"persist_mode": "async"} if stream.persist == "async" else {},
        fewer_replicas=fewer_replicas,
    )


async def ensure_history(bus: Bus, tenant: str) -> None:
    """Make the history of a tenant exist, with as many copies as that of all has."""
    whole = await copies(bus, topology.EVENTS.name)
    await ensure_stream(bus, replace(topology.events_of(tenant), replicas=whole.replicas))


async def forget_history(bus: Bus, tenant: str) -> None:
    """Take away the history of a tenant, which is in that of all; nothing is no error."""
    with contextlib.suppress(NotFoundError):
        await jetstream.api(bus, f"STREAM.DELETE.{topology.events_of(tenant).name}")


async def ensure_bucket(bus: Bus, bucket: Bucket, *, fewer_replicas: bool = False) -> None:
    """Make the key-value bucket exist as described (ADR-8); see `provision`.

    With a TTL, the server leaves a marker where a key expired (ADR-48), so that those
    who watch see it go.
    """
    if not 1 <= bucket.history <= _MAX_HISTORY:
        raise ValueError(f"history of {bucket.name} is not within 1 to {_MAX_HISTORY}")
    name = require_token(bucket.name, "bucket")
    config = {
        **_limits(bucket.max_bytes, bucket.ttl_s, bucket.max_value_size, bucket.storage),
        "name": f"KV_{name}",
        "description": bucket.description,
        "subjects": [f"$KV.{name}.>"],
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": bucket.history,
        "duplicate_window": _window(_DUPLICATE_WINDOW_S, bucket.ttl_s),
        "num_replicas": bucket.replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    if bucket.ttl_s:
        config["allow_msg_ttl"] = True
        config["subject_delete_marker_ttl"] = int(_EXPIRY_MARKER_S * _NANOSECOND)
    await _ensure(bus, config, fewer_replicas=fewer_replicas)


async def ensure_object_bucket(
    bus: Bus, bucket: ObjectBucket, *, fewer_replicas: bool = False
) -> None:
    """Make the object bucket exist as described (ADR-20); see `provision`."""
    name = require_token(bucket.name, "bucket")
    await _ensure(
        bus,
        {
            **_limits(bucket.max_bytes, bucket.ttl_s, 0, bucket.storage),
            "name": f"OBJ_{name}",
            "description": bucket.description,
            "subjects": [f"$O.{name}.C.>", f"$O.{name}.M.>"],
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": -1,
            "duplicate_window": _window(_DUPLICATE_WINDOW_S, bucket.ttl_s),
            "num_replicas": bucket.replicas,
            "allow_direct": True,
            "allow_rollup_hdrs": True,
        },
        fewer_replicas=fewer_replicas,
    )


async def ensure_consumer(bus: Bus, consumer: Consumer) -> None:
    """Make the durable consumer exist as described; see `provision`."""
    stream = require_token(consumer.stream, "stream")
    name = require_token(consumer.name, "consumer")
    if 0 <= consumer.max_deliver < len(consumer.backoff_s):
        raise ValueError(f"{name} has more backoff steps than deliveries")
    config: dict[str, Any] = {
        "name": name,
        "durable_name": name,
        "description": consumer.description,
        "ack_policy": "explicit",
        **_start(consumer),
        "replay_policy": "instant",
        "ack_wait": int(consumer.ack_wait_s * _NANOSECOND),
        "max_deliver": consumer.max_deliver,
        "max_ack_pending": consumer.max_ack_pending,
        "inactive_threshold": int(consumer.idle_s * _NANOSECOND),
    }
    verb = f"CONSUMER.CREATE.{stream}.{name}"
    if consumer.backoff_s:
        config["backoff"] = [int(step * _NANOSECOND) for step in consumer.backoff_s]
    if consumer.filter:
        config["filter_subject"] = require_filter(consumer.filter)
        verb = f"{verb}.{consumer.filter}"
    if consumer.max_waiting:
        config["max_waiting"] = consumer.max_waiting
    body = {"stream_name": stream, "config": config, "action": _CREATE_OR_UPDATE}
    try:
        await _set_consumer(bus, verb, body)
    except AtollError as error:
        raise _incompatible(error, f"consumer {name}") from error


async def _set_consumer(bus: Bus, verb: str, body: dict[str, Any]) -> None:
    try:
        await jetstream.api(bus, verb, body)
    except RefusedError as error:
        # A limit that a later version has and the server cannot bring in is no reason not to start.
        config = body["config"]
        if _FIXED_WAITING not in error.message or "max_waiting" not in config:
            raise
        info = await jetstream.api(bus, f"CONSUMER.INFO.{body['stream_name']}.{config['name']}")
        kept = {**config, "max_waiting": info["config"]["max_waiting"]}
        await jetstream.api(bus, verb, {**body, "config": kept})


async def copies(bus: Bus, stream: str) -> Copies:
    """Where `stream` is.

    Raises:
        NotFoundError: `bus.not_found`.
    """
    info = await jetstream.api(bus, f"STREAM.INFO.{require_token(stream, 'stream')}")
    config, cluster = info.get("config"), info.get("cluster")
    wanted = config.get("num_replicas", 1) if isinstance(config, dict) else 1
    if not isinstance(cluster, dict) or not bus.clustered:
        return Copies(stream=stream, leader="", replicas=wanted, current=1)
    peers = [peer for peer in cluster.get("replicas") or () if isinstance(peer, dict)]
    leader = str(cluster.get("leader", ""))
    current = bool(leader) + sum(
        peer.get("current") is True and not peer.get("offline") for peer in peers
    )
    return Copies(stream=stream, leader=leader, replicas=int(wanted), current=current)


async def wait_replicated(bus: Bus, stream: str, *, timeout_s: float) -> Copies:
    """Return when every copy of `stream` has everything.

    Raises:
        UnreachableError: `bus.not_replicated`, after `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        found = await copies(bus, stream)
        if found.current >= found.replicas:
            return found
        if loop.time() > deadline:
            raise UnreachableError(
                f"stream {stream} has {found.current} of {found.replicas} copies after "
                f"{timeout_s:g} s",
                code="bus.not_replicated",
                hint="are all servers of the cluster running, and has each a place of its own?",
            )
        await asyncio.sleep(_PAUSE_S)


async def _ensure(
    bus: Bus,
    wanted: dict[str, Any],
    *,
    new: dict[str, Any] | None = None,
    fewer_replicas: bool = False,
) -> None:
    name = wanted["name"]
    try:
        existing = await _config(bus, name)
    except NotFoundError:
        try:
            await _place(bus, f"STREAM.CREATE.{name}", {**wanted, **(new or {})})
        except ConflictError:
            # Somebody was faster; what they made is compared like any other.
            existing = await _config(bus, name)
        except AtollError as error:
            raise _incompatible(error, f"stream {name}") from error
        else:
            return
    for key in _FIXED:
        if existing.get(key) != wanted[key]:
            raise ConflictError(
                f"stream {name} exists with {key} {existing.get(key)!r}, want {wanted[key]!r}",
                code="bus.incompatible",
                hint="it was made by something else; use another account or data directory",
            )
    if existing.get("num_replicas", 1) > wanted["num_replicas"] and not fewer_replicas:
        raise ConflictError(
            f"stream {name} has {existing['num_replicas']} replicas, {wanted['num_replicas']} "
            "were asked for",
            code="bus.incompatible",
            hint="fewer copies are made only when that is asked for",
        )
    # A limit that a later version has and the server cannot bring in is no reason not to start.
    wanted = {**wanted, **{key: existing[key] for key in _ONCE if key in existing}}
    # The server leaves out what is empty or false.
    changed = {key for key, value in wanted.items() if existing.get(key, type(value)()) != value}
    if not changed:
        return
    try:
        await _place(bus, f"STREAM.UPDATE.{name}", {**existing, **wanted})
    except AtollError as error:
        raise _incompatible(error, f"stream {name} ({', '.join(sorted(changed))})") from error


async def _place(bus: Bus, verb: str, config: dict[str, Any]) -> None:
    """Create or update; on a cluster patient with servers that have not joined yet."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PLACING_S
    while True:
        try:
            await jetstream.api(bus, verb, config)
        except RefusedError as error:
            waiting = bus.clustered and any(text in error.message for text in _NO_PLACE)
            if not waiting or loop.time() > deadline:
                raise
        else:
            return
        await asyncio.sleep(_PAUSE_S)


async def _config(bus: Bus, name: str) -> dict[str, Any]:
    config = (await jetstream.api(bus, f"STREAM.INFO.{name}")).get("config")
    return config if isinstance(config, dict) else {}


def _incompatible(error: AtollError, what: str) -> AtollError:
    if error.code in ("bus.refused", "bus.conflict"):
        return ConflictError(f"{what} cannot be changed: {error}", code="bus.incompatible")
    return error


def _origin(stream: Stream) -> dict[str, Any]:
    """Where its messages come from: from whoever publishes, or from another stream."""
    if stream.source is None:
        return {"subjects": list(stream.subjects)}
    renamed = [{"src": there, "dest": here} for there, here in stream.source.renamed]
    return {"sources": [{"name": stream.source.stream, "subject_transforms": renamed}]}


def _limits(max_bytes: int, max_age_s: float, max_size: int, storage: str) -> dict[str, Any]:
    return {
        "max_bytes": max_bytes or -1,
        "max_age": int(max_age_s * _NANOSECOND),
        "max_msg_size": max_size or -1,
        "max_msgs": -1,
        "max_consumers": topology_types.MANY_CONSUMERS,
        "storage": storage,
    }


def _start(consumer: Consumer) -> dict[str, Any]:
    if consumer.start_seq <= 1:
        return {"deliver_policy": "all"}
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": consumer.start_seq}


def _consumer_limits(stream: Stream) -> dict[str, int]:
    found: dict[str, int] = {}
    if stream.consumer_idle_s:
        found["inactive_threshold"] = int(stream.consumer_idle_s * _NANOSECOND)
    if stream.consumer_pending:
        found["max_ack_pending"] = stream.consumer_pending
    return found


def _window(wanted_s: float, max_age_s: float) -> int:
    # The server refuses a window longer than the messages live.
    return int(min(wanted_s, max_age_s or wanted_s) * _NANOSECOND)
