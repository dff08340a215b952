"""What a job needs of a host, and the queue in which jobs of like needs wait. Pure.

A manager must not take a job that it cannot start: a delivery is an attempt. So jobs are sorted
when they are submitted. A *class* stands for all jobs of one kind of TEE that need no more than
its memory and processors, the same labels, dedication and destinations. It has a subject and a
consumer of its own, and a manager asks only those classes that it can start one more of.

Memory is rounded up to 2, 3, 4, 6, 8, 12 ... GiB, processors to 1, 2, 3, 4, 6, 8, 12 ...: at most
half again as much as is needed, in few classes. The class of the smallest jobs without further
needs is *plain*: it is the queue that every deployment has (`topology.spawn_consumer`). The others
are made when a job first needs them and stand in the bucket `spawn_classes`.

    atoll.v1.spawn.simulated                          plain
    atoll.v1.spawn.simulated.m6c4.any                 up to 6 GiB and 4 processors
    atoll.v1.spawn.simulated.m2c0.<24 hex digits>     the other needs, by their digest
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import field, replace
from enum import Enum
from typing import Annotated, Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.wire import subjects, topology
from atoll.wire.egress import MAX_PLACES, Allowance, Place
from atoll.wire.hosts import Bytes, HostRecord
from atoll.wire.level import Since
from atoll.wire.messages import Tee
from atoll.wire.names import require_name, require_token
from atoll.wire.schema import Range, Size, Timestamp, Token, message
from atoll.wire.topology_types import Consumer

MAX_LABELS: Final = 16
MAX_CPUS: Final = 4096
MAX_CLASSES: Final = 256
"""Classes at a time, beside those that differ in memory alone."""

Labels = Annotated[dict[Token, Token], Size(0, MAX_LABELS)]
Cpus = Annotated[int, Range(0, MAX_CPUS)]

_GIB: Final = 1 << 30
_PLAIN_BYTES: Final = 2 * _GIB
_ANY: Final = "any"
_DIGEST_DIGITS: Final = 24
_SIZE: Final = re.compile(r"m([1-9][0-9]{0,6})c(0|[1-9][0-9]{0,3})")


def read_labels(items: tuple[str, ...]) -> dict[str, str]:
    """Labels as people write them: `name=value` each, each name once, `MAX_LABELS` at most.

    Raises:
        InputError: `labels.invalid`.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        try:
            # Both: the registry keeps labels by name, and a token may begin with a dash.
            require_name(require_token(name, "label"), "label")
            require_token(value, f"the value of label {name}")
        except InputError as error:
            text = f"label {item[:80]!r} is not name=value: {error.message}"
            raise InputError(text, code="labels.invalid") from error
        if not equals or name in found:
            text = f"label {item[:80]!r}: want name=value, each name once"
            raise InputError(text, code="labels.invalid")
        found[name] = value
    if len(found) > MAX_LABELS:
        raise InputError(f"{len(found)} labels, at most {MAX_LABELS}", code="labels.invalid")
    return found


@message
class Needs:
    """What a host must have for a job."""

    memory_bytes: Bytes = 0
    cpus: Cpus = 0
    """Processors for this job alone; 0: it shares what there is."""
    labels: Labels = field(default_factory=dict)
    """The host must have every one of them."""
    tenant: Token | None = None
    """The host must be dedicated to this tenant; None: to nobody."""
    destinations: Annotated[tuple[Place, ...], Size(0, MAX_PLACES), Since(2)] = ()
    """The host must let its jobs connect to every one of them. Sorted."""


@message
class SpawnClass:
    """Needs that jobs have in common (bucket `spawn_classes`, key: the consumer's name)."""

    version: Annotated[int, Range(1, 1)] = 1
    tee: Tee
    needs: Needs
    """Rounded up."""
    used_ms: Timestamp = 0
    """When a job was last put there, to the hour; 0 for a plain one."""

    @property
    def is_plain(self) -> bool:
        """Whether it is the queue that every deployment has."""
        return _tokens(self) == (self.tee.value,)

    @property
    def is_sized(self) -> bool:
        """Whether it differs from the plain one in memory alone: there are few of these."""
        return self.needs == Needs(memory_bytes=self.needs.memory_bytes)

    @property
    def subject(self) -> str:
        """Where its spawn requests go."""
        return subject_of(_tokens(self))

    @property
    def consumer(self) -> Consumer:
        """From which its managers pull."""
        return consumer_of(self.subject)


class Misfit(Enum):
    """Why a host can never start a job."""

    TEE = "tee"
    TENANT = "tenant"
    """It is dedicated to another tenant, or to some and the job asks for none."""
    LABELS = "labels"
    EGRESS = "egress"
    """Its operator does not let jobs connect to all of the destinations."""
    MEMORY = "memory"
    CPUS = "cpus"


def class_of(tee: Tee, needs: Needs) -> SpawnClass:
    """Where a job waits that has these needs.

    Raises:
        InputError: `placement.too_large`: more memory or processors than any host may say.
    """
    memory = _rounded(needs.memory_bytes, _PLAIN_BYTES)
    cpus = _rounded(needs.cpus, 1) if needs.cpus else 0
    if memory > 1 << 50 or cpus > MAX_CPUS:
        raise InputError(
            f"no host can have {needs.memory_bytes} bytes of memory and {needs.cpus} processors",
            code="placement.too_large",
            hint="the memory of a job follows from its limits and from the size of its assets",
        )
    return SpawnClass(tee=tee, needs=replace(needs, memory_bytes=memory, cpus=cpus))


def plain(tee: Tee) -> SpawnClass:
    """The class of the smallest jobs without further needs."""
    return class_of(tee, Needs())


def subject_of(tokens: tuple[str, ...]) -> str:
    """The subject of a class by its tokens: a kind alone, or kind, size and the rest."""
    template = subjects.SPAWN if len(tokens) == 1 else subjects.SPAWN_CLASS
    return template.of(*tokens)


def consumer_of(subject: str) -> Consumer:
    """The consumer of the class that has this subject.

    Raises:
        InputError: `name.invalid`: no class has it.
    """
    try:
        (kind,) = subjects.SPAWN.read(subject)
        tokens: tuple[str, ...] = (kind,)
    except InputError:
        tokens = subjects.SPAWN_CLASS.read(subject)
    try:
        tee = Tee(tokens[0])
    except ValueError as error:
        raise InputError(f"{subject[:80]!r}: no such TEE", code="name.invalid") from error
    name = "-".join(("managers", *tokens))
    return replace(topology.spawn_consumer(tee), name=name, filter=subject)


def size_of(subject: str) -> Needs:
    """The memory and the processors that a class has room for, by its subject.

    Raises:
        InputError: `name.invalid`: no class has it.
    """
    try:
        subjects.SPAWN.read(subject)
    except InputError:
        _, size, _ = subjects.SPAWN_CLASS.read(subject)
    else:
        return Needs(memory_bytes=_PLAIN_BYTES)
    if (found := _SIZE.fullmatch(size)) is None:
        raise InputError(f"{subject[:80]!r}: {size!r} is no size", code="name.invalid")
    return Needs(memory_bytes=int(found[1]) * _GIB, cpus=int(found[2]))


def misfit(tee: Tee, needs: Needs, host: HostRecord) -> Misfit | None:
    """Why this host could not even start a job with these needs if it were empty; None: it can."""
    if tee not in host.tees:
        return Misfit.TEE
    if needs.tenant not in (host.tenants or (None,)):
        return Misfit.TENANT
    if any(host.labels.get(name) != value for name, value in needs.labels.items()):
        return Misfit.LABELS
    if Allowance(host.egress).first_refused(needs.destinations) is not None:
        return Misfit.EGRESS
    if needs.memory_bytes > host.memory_bytes:
        return Misfit.MEMORY
    if needs.cpus > host.cpus:
        return Misfit.CPUS
    return None


def _tokens(it: SpawnClass) -> tuple[str, ...]:
    needs = it.needs
    size = f"m{needs.memory_bytes // _GIB}c{needs.cpus}"
    rest = _rest(needs)
    if rest == _ANY and not needs.cpus and needs.memory_bytes <= _PLAIN_BYTES:
        return (it.tee.value,)
    return it.tee.value, size, rest


def _rest(needs: Needs) -> str:
    if not needs.labels and needs.tenant is None and not needs.destinations:
        return _ANY
    asked: dict[str, Any] = {"labels": dict(needs.labels), "tenant": needs.tenant}
    if needs.destinations:
        asked["destinations"] = list(needs.destinations)
    agreed = canonical.dumps(asked)
    return hashlib.sha256(b"atoll spawn class v1\n" + agreed).hexdigest()[:_DIGEST_DIGITS]


def _rounded(number: int, unit: int) -> int:
    return next(step for step in _ladder(unit) if step >= number)


def _ladder(unit: int) -> Iterator[int]:
    """`unit` times 1, 1.5, 2, 3, 4, 6 ..., as far as these are whole."""
    yield unit
    step = unit
    while True:
        if step % 2 == 0:
            yield step // 2 * 3
        step *= 2
        yield step
