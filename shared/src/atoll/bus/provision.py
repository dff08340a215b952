"""Making the server look like the topology says.

Idempotent: what is missing is created, what differs and may change is updated, and what
must not change under running services (retention, storage, the kind of a consumer)
is refused. Keys of the existing configuration that we do not set stay as they are.

Needs permission for `$JS.API.STREAM.{CREATE,UPDATE,INFO}.<stream>` and
`$JS.API.CONSUMER.CREATE.<stream>.>`: run it as the administrator, not as a service.
"""

from collections.abc import Iterable
from typing import Any, Final

from atoll.bus import jetstream
from atoll.bus.connection import Bus
from atoll.bus.subjects import require_filter
from atoll.errors import AtollError, ConflictError, NotFoundError
from atoll.wire.names import require_token
from atoll.wire.topology_types import Bucket, Consumer, ObjectBucket, Stream

_NANOSECOND: Final = 1_000_000_000
_FIXED: Final = ("retention", "storage")
_DUPLICATE_WINDOW_S: Final = 120.0
_MAX_HISTORY: Final = 64
_CREATE_OR_UPDATE: Final = ""
_EXPIRY_MARKER_S: Final = 1.0


async def provision(
    bus: Bus,
    *,
    streams: Iterable[Stream] = (),
    consumers: Iterable[Consumer] = (),
    buckets: Iterable[Bucket] = (),
    object_buckets: Iterable[ObjectBucket] = (),
) -> None:
    """Make all of it exist as described.

    Raises:
        ConflictError: `bus.incompatible`: it exists and cannot become what is asked.
        UnreachableError: no JetStream.
    """
    for stream in streams:
        await ensure_stream(bus, stream)
    for bucket in buckets:
        await ensure_bucket(bus, bucket)
    for object_bucket in object_buckets:
        await ensure_object_bucket(bus, object_bucket)
    for consumer in consumers:
        await ensure_consumer(bus, consumer)


async def ensure_stream(bus: Bus, stream: Stream) -> None:
    """Make `stream` exist as described; see `provision`."""
    for subject in stream.subjects:
        require_filter(subject)
    await _ensure(
        bus,
        {
            **_limits(stream.max_bytes, stream.max_age_s, stream.max_msg_size, stream.storage),
            "name": require_token(stream.name, "stream"),
            "description": stream.description,
            "subjects": list(stream.subjects),
            "retention": stream.retention,
            "discard": stream.discard,
            "max_msgs_per_subject": stream.max_msgs_per_subject or -1,
            "duplicate_window": _window(stream.duplicate_window_s, stream.max_age_s),
            "num_replicas": stream.replicas,
            "allow_direct": True,
            "deny_delete": stream.deny_delete,
            "deny_purge": stream.deny_purge,
        },
    )


async def ensure_bucket(bus: Bus, bucket: Bucket) -> None:
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
    await _ensure(bus, config)


async def ensure_object_bucket(bus: Bus, bucket: ObjectBucket) -> None:
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
    )


async def ensure_consumer(bus: Bus, consumer: Consumer) -> None:
    """Make the durable consumer exist as described; see `provision`."""
    stream = require_token(consumer.stream, "stream")
    name = require_token(consumer.name, "consumer")
    if len(consumer.backoff_s) > consumer.max_deliver:
        raise ValueError(f"{name} has more backoff steps than deliveries")
    config: dict[str, Any] = {
        "name": name,
        "durable_name": name,
        "description": consumer.description,
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_wait": int(consumer.ack_wait_s * _NANOSECOND),
        "max_deliver": consumer.max_deliver,
        "max_ack_pending": consumer.max_ack_pending,
    }
    verb = f"CONSUMER.CREATE.{stream}.{name}"
    if consumer.backoff_s:
        config["backoff"] = [int(step * _NANOSECOND) for step in consumer.backoff_s]
    if consumer.filter:
        config["filter_subject"] = require_filter(consumer.filter)
        verb = f"{verb}.{consumer.filter}"
    body = {"stream_name": stream, "config": config, "action": _CREATE_OR_UPDATE}
    try:
        await jetstream.api(bus, verb, body)
    except AtollError as error:
        raise _incompatible(error, f"consumer {name}") from error


async def _ensure(bus: Bus, wanted: dict[str, Any]) -> None:
    name = wanted["name"]
    try:
        existing = await _config(bus, name)
    except NotFoundError:
        try:
            await jetstream.api(bus, f"STREAM.CREATE.{name}", wanted)
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
    # The server leaves out what is empty or false.
    changed = {key for key, value in wanted.items() if existing.get(key, type(value)()) != value}
    if not changed:
        return
    try:
        await jetstream.api(bus, f"STREAM.UPDATE.{name}", {**existing, **wanted})
    except AtollError as error:
        raise _incompatible(error, f"stream {name} ({', '.join(sorted(changed))})") from error


async def _config(bus: Bus, name: str) -> dict[str, Any]:
    config = (await jetstream.api(bus, f"STREAM.INFO.{name}")).get("config")
    return config if isinstance(config, dict) else {}


def _incompatible(error: AtollError, what: str) -> AtollError:
    if error.code in ("bus.refused", "bus.conflict"):
        return ConflictError(f"{what} cannot be changed: {error}", code="bus.incompatible")
    return error


def _limits(max_bytes: int, max_age_s: float, max_size: int, storage: str) -> dict[str, Any]:
    return {
        "max_bytes": max_bytes or -1,
        "max_age": int(max_age_s * _NANOSECOND),
        "max_msg_size": max_size or -1,
        "max_msgs": -1,
        "storage": storage,
    }


def _window(wanted_s: float, max_age_s: float) -> int:
    # The server refuses a window longer than the messages live.
    return int(min(wanted_s, max_age_s or wanted_s) * _NANOSECOND)
