"""What is said about hosts: a manager's word about its own, and an operator's orders."""

from enum import Enum
from typing import Annotated, Final

from atoll.wire.egress import MAX_RULES, Rule
from atoll.wire.level import Since
from atoll.wire.messages import Tee
from atoll.wire.schema import Range, Size, Text, Timestamp, Token, message

MAX_HOSTS: Final = 4096
"""In one list."""

Bytes = Annotated[int, Range(0, 1 << 50)]


class HostState(Enum):
    ACTIVE = "active"
    DRAINING = "draining"
    """Takes no new job; those that run go on."""
    DRAINED = "drained"
    """Takes no new job, and none runs."""


class HostWish(Enum):
    """What an operator wants of a host."""

    ACTIVE = "active"
    DRAIN = "drain"
    DRAIN_NOW = "drain_now"
    """What runs is handed back, and begins again on another host."""


@message
class HostRecord:
    """A manager's word about its host, and its lease on the host's id (bucket `hosts`,
    expires unless renewed)."""

    host_id: Token
    instance: Token
    """The data directory that serves this id. Another one may not, while this lives."""
    machine: Annotated[str, Size(0, 255)]
    """The machine's own name, for people."""
    tees: Annotated[tuple[Tee, ...], Size(1, 8)]
    state: HostState
    slots: Annotated[int, Range(0, 4096)]
    busy: Annotated[int, Range(0, 8192)]
    """Enclaves; more than slots only after a restart with fewer."""
    cpus: Annotated[int, Range(0, 1 << 16)]
    memory_bytes: Bytes
    has_room: bool
    """Whether it has the memory to take a job now."""
    labels: Annotated[dict[Token, Token], Size(0, 16)]
    """What the operator says of the host, by name."""
    started_ms: Timestamp
    version: Annotated[str, Size(1, 32)]
    measurement: Annotated[bytes, Size(0, 64)] = b""
    """Launch measurement of the agent image this host starts."""
    tenants: Annotated[tuple[Token, ...], Size(0, 64), Since(2)] = ()
    """Whom it is dedicated to: it starts jobs of theirs that ask for that, and no others. Empty:
    it is everybody's."""
    taken_bytes: Annotated[Bytes, Since(2)] = 0
    """Memory that its jobs have claimed, as they asked."""
    taken_cpus: Annotated[int, Range(0, 1 << 20), Since(2)] = 0
    """Processors likewise."""
    warm: Annotated[int, Range(0, 8192), Since(2)] = 0
    """Enclaves that wait, started, for jobs that may come."""
    keeps_room_for: Annotated[Token | None, Since(2)] = None
    """The queue of large jobs for which it takes no smaller ones at present."""
    egress: Annotated[tuple[Rule, ...], Size(0, MAX_RULES), Since(2)] = ()
    """Where its operator lets jobs connect to, as `atoll.wire.egress` has it; empty: nowhere."""


@message
class HostOrder:
    """What an operator wants of a host (bucket `host_orders`, key: host id); it stands until
    the next one, also while the host is away."""

    version: Annotated[int, Range(1, 1)] = 1
    host_id: Token
    wish: HostWish
    since_ms: Timestamp
    reason: Text = ""
    """For other operators."""


@message
class HostOrderRequest:
    host_id: Token
    wish: HostWish
    reason: Text = ""


@message
class HostWishRequest:
    """`HostOrderRequest` where the address names the host (HTTP)."""

    wish: HostWish
    reason: Text = ""


@message
class HostList:
    """Those that live, by id."""

    hosts: Annotated[tuple[HostRecord, ...], Size(0, MAX_HOSTS)]
