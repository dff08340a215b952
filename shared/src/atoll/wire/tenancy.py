"""What a tenant's account takes from the account of the services, and what its clients may do.

Each tenant has an account of its own, in which its clients are. An account reaches nothing but
its own subjects and what it imports: the rows here. Where a request arrives as
`atoll.v1.tenant.<tenant>...`, the import put the tenant in. The operator signs the import, and the
account of the services signs an activation for that tenant's key and for those subjects, which
servers check: a client can neither name another tenant nor leave its own out.

A tenant's history (`topology.events_of`) is the one stream that its clients use themselves. Its
API has the name of a JetStream domain, because an account without streams answers the plain name
itself, that it has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from atoll.wire import subjects, topology
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.endpoints import ENDPOINTS
from atoll.wire.subjects import of_tenants

DOMAIN: Final = "atoll"
"""What clients give as the JetStream domain."""

HOUSE: Final = DEFAULT_TENANT
"""The operator's own tenant: it is there from the start, and sees hosts, traces, policies,
appraisals and who serves, beside its own jobs."""

Answers = Literal["Singleton", "Stream"]

_API: Final = "$JS.API."
_HERE: Final = f"$JS.{DOMAIN}.API."
_FAMILIES: Final = ("jobs", "results", "assets", "webhooks")
_CHUNKS: Final = f"$O.{topology.ASSETS.name}.C.*"
_READ: Final = ("CONSUMER.CREATE", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE")
_KEEP: Final = ("CONSUMER.DURABLE.CREATE", "CONSUMER.INFO")
_HOUSE_READS: Final = (
    topology.TELEMETRY.name,
    topology.APPRAISALS.name,
    f"KV_{topology.HOSTS.name}",
    f"KV_{topology.HOST_ORDERS.name}",
)
_POLICIES: Final = f"KV_{topology.POLICIES.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One import of a tenant's account."""

    local: str
    """As its clients have it."""
    served: str
    """As it arrives in the account of the services."""

    @property
    def answers(self) -> Answers:
        """Whether one answer comes to a request, or many."""
        many = self.served.startswith(("$SRV.", f"{_API}CONSUMER.MSG.NEXT."))
        return "Stream" if many else "Singleton"


def offers(tenant: str) -> tuple[Offer, ...]:
    """All imports of a tenant's account."""
    house = _house() if tenant == HOUSE else ()
    return (*_requests(tenant), *_level(), *_history(tenant), *house)


def _requests(tenant: str) -> Iterator[Offer]:
    for family in _FAMILIES:
        local = f"atoll.v1.{family}.*"
        yield Offer(local=local, served=_in_the_name_of(tenant, local))
    intake = subjects.INTAKE.wildcard
    yield Offer(local=intake, served=_in_the_name_of(tenant, intake))
    for row in ENDPOINTS:
        if "client" in row.callers and not row.is_tenants:
            yield _same(row.subject.template)
    yield _same(subjects.TELEMETRY_TRACES.wildcard)
    yield _same(_CHUNKS)


def _level() -> Iterator[Offer]:
    """Which protocol level is in force."""
    bucket = topology.PROTOCOL.name
    yield _api(f"STREAM.INFO.KV_{bucket}")
    yield _api(f"STREAM.MSG.GET.KV_{bucket}")
    yield _api(f"DIRECT.GET.KV_{bucket}.$KV.{bucket}.>")


def _history(tenant: str) -> Iterator[Offer]:
    stream = topology.events_of(tenant).name
    yield _api(f"STREAM.INFO.{stream}")
    yield _api(f"STREAM.MSG.GET.{stream}")
    yield _api(f"DIRECT.GET.{stream}")
    yield _api(f"DIRECT.GET.{stream}.>")
    for verb in (*_READ, *_KEEP):
        yield _api(f"{verb}.{stream}.>")
    yield _same(f"$JS.ACK.{stream}.>")
    # The form with domain and account (ADR-15), as long as it is: a shorter one could be taken for
    # the acknowledgement of another stream's message.
    yield _same(f"$JS.ACK.*.*.{stream}.*.*.*.*.*.>")


def _house() -> Iterator[Offer]:
    for stream in _HOUSE_READS:
        for verb in _READ:
            yield _api(f"{verb}.{stream}.>")
    for stream in (topology.TELEMETRY.name, _POLICIES):
        yield _api(f"STREAM.MSG.GET.{stream}")
        yield _api(f"DIRECT.GET.{stream}.>")
    yield _api(f"STREAM.INFO.{topology.DEAD.name}")
    yield _same("$SRV.>")


def exports() -> tuple[tuple[str, Answers], ...]:
    """What the account of the services offers: the same for any number of tenants, and to each
    only what its activations name."""
    found: dict[str, Answers] = {}
    for offer in offers(HOUSE):
        found[_for_all(offer.served)] = offer.answers
    return tuple(found.items())


def _for_all(served: str) -> str:
    """The export that an import is a part of. No two of them overlap."""
    if served.startswith("$JS.ACK."):
        return "$JS.ACK.>"
    if served.startswith(f"{_API}DIRECT.GET."):
        return f"{_API}DIRECT.GET.>"
    for verb in (*_READ, *_KEEP):
        if served.startswith(f"{_API}{verb}."):
            return f"{_API}{verb}.>"
    for verb in ("STREAM.INFO", "STREAM.MSG.GET"):
        if served.startswith(f"{_API}{verb}."):
            return f"{_API}{verb}.*"
    own = of_tenants(subjects.Subject("atoll.v1.")).of(HOUSE)
    return served.replace(own, of_tenants(subjects.Subject("atoll.v1.")).wildcard, 1)


def may_publish(tenant: str) -> tuple[str, ...]:
    """What the clients of a tenant may publish to, in their own account."""
    requests = [row.subject.template for row in ENDPOINTS if "client" in row.callers]
    families = {f"atoll.v1.{family}.*" for family in _FAMILIES}
    others = [each.local for each in offers(tenant) if each.local not in families]
    return tuple(dict.fromkeys((*requests, *others)))


def may_subscribe() -> tuple[str, ...]:
    """And where they may listen: to what they are answered."""
    return (f"{topology.inbox('client')}.>",)


def _in_the_name_of(tenant: str, local: str) -> str:
    return of_tenants(subjects.Subject(local)).of(tenant)


def _same(subject: str) -> Offer:
    return Offer(local=subject, served=subject)


def _api(verb: str) -> Offer:
    return Offer(local=_HERE + verb, served=_API + verb)
