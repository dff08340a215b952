"""Every stream, consumer and bucket, and which role may write where.

`WRITERS` is the table from which each role's bus permissions are made: what a role is
not named for, it may not publish to.
"""

from collections.abc import Iterable
from typing import Final

from atoll.wire import bus_rights, subjects
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.endpoints import ENDPOINTS, ROLES, Role
from atoll.wire.messages import Tee
from atoll.wire.names import require_token
from atoll.wire.topology_types import Bucket, Consumer, ObjectBucket, Source, Stream

_MIB: Final = 1 << 20
_DAY_S: Final = 86_400.0

SPAWN: Final = Stream(
    name="SPAWN",
    subjects=(subjects.SPAWN.wildcard, subjects.SPAWN_CLASS.wildcard),
    retention="workqueue",
    max_bytes=64 * _MIB,
    # A spawn request is published again until the ledger knows that it was, and a letter
    # redriven again after a crash: the server must remember it that long.
    duplicate_window_s=600.0,
    description="Enclaves wanted, one message a job.",
)
ENCLAVE: Final = Stream(
    name="ENCLAVE",
    subjects=(subjects.ASSIGN.wildcard, subjects.RELEASE.wildcard),
    max_bytes=1024 * _MIB,
    max_age_s=7 * _DAY_S,
    discard="old",
    description="What one enclave must receive: its assignment, then key releases.",
)
INTAKE: Final = Stream(
    name="INTAKE",
    subjects=(subjects.of_tenants(subjects.INTAKE).wildcard,),
    retention="workqueue",
    max_bytes=64 * _MIB,
    max_msg_size=512 << 10,
    description="Submissions of publishers that wait for no answer.",
)
DELIVERIES: Final = Stream(
    name="DELIVERIES",
    subjects=(subjects.DELIVERY.wildcard,),
    retention="workqueue",
    max_bytes=256 * _MIB,
    max_age_s=2 * _DAY_S,
    duplicate_window_s=600.0,
    # The history has them all; new ones matter more than those that wait for a dead address.
    discard="old",
    description="Events to be posted to webhooks.",
)
REPORTS: Final = Stream(
    name="REPORTS",
    subjects=(subjects.REPORT.wildcard,),
    retention="workqueue",
    max_bytes=256 * _MIB,
    duplicate_window_s=600.0,
    description="What managers and enclaves tell the ledger.",
)
EVENTS: Final = Stream(
    name="EVENTS",
    subjects=(subjects.HISTORY.wildcard, subjects.GUEST.wildcard),
    max_bytes=1024 * _MIB,
    max_age_s=90 * _DAY_S,
    duplicate_window_s=600.0,
    description="The history of every job, in order.",
)


def events_of(tenant: str) -> Stream:
    """A tenant's own history: what of `EVENTS` is about its jobs, or a copy for it as a guest."""
    return Stream(
        name=f"EVENTS_{require_token(tenant, 'tenant')}",
        subjects=(),
        source=Source(
            stream=EVENTS.name,
            renamed=tuple(
                (each.under(tenant).replace(".*.*.*", ".>"), "atoll.v1.event.>")
                for each in (subjects.HISTORY, subjects.GUEST)
            ),
        ),
        max_bytes=512 * _MIB,
        max_age_s=90 * _DAY_S,
        # It follows `EVENTS`, and must not stop doing so for being full.
        discard="old",
        # Its tenant may make consumers here: bounded, and forgotten when unused.
        max_consumers=4096,
        consumer_idle_s=30 * _DAY_S,
        consumer_pending=10_000,
        description="The history of a tenant's jobs, in order.",
    )


TELEMETRY: Final = Stream(
    name="TELEMETRY",
    subjects=(subjects.TELEMETRY_TRACES.wildcard,),
    max_bytes=256 * _MIB,
    max_age_s=7 * _DAY_S,
    discard="old",
    description="Spans, OTLP protobuf, by trace.",
)
DEAD: Final = Stream(
    name="DEAD",
    subjects=(subjects.DEAD.wildcard,),
    max_bytes=64 * _MIB,
    max_age_s=90 * _DAY_S,
    description="Messages nobody could process, with the reason.",
)
QUEUES: Final = (SPAWN, INTAKE, DELIVERIES, REPORTS)
"""The work queues: a message of theirs ends by being worked off or as a dead letter."""
ADVISORIES: Final = Stream(
    name="ADVISORIES",
    # Advisories are told once, to whoever listens; kept here, they wait for a gateway.
    subjects=tuple(
        told.under(queue.name)
        for queue in QUEUES
        for told in (subjects.EXHAUSTED, subjects.TERMINATED)
    ),
    max_bytes=16 * _MIB,
    max_age_s=7 * _DAY_S,
    discard="old",
    description="Which messages of the work queues are not delivered any more.",
)
APPRAISALS: Final = Stream(
    name="APPRAISALS",
    subjects=(subjects.APPRAISAL.wildcard,),
    max_bytes=1024 * _MIB,
    max_age_s=90 * _DAY_S,
    discard="old",
    description="Past appraisals with all that they followed from, to be replayed.",
)
AUDIT: Final = Stream(
    name="AUDIT",
    subjects=(subjects.AUDIT.wildcard,),
    max_bytes=512 * _MIB,
    max_age_s=400 * _DAY_S,
    # A full stream is an error: what cannot be recorded must not happen unseen.
    discard="new",
    deny_delete=True,
    deny_purge=True,
    description="Who did what, in chains by writer.",
)
STREAMS: Final = (
    SPAWN,
    ENCLAVE,
    INTAKE,
    DELIVERIES,
    REPORTS,
    EVENTS,
    events_of(DEFAULT_TENANT),
    TELEMETRY,
    DEAD,
    ADVISORIES,
    APPRAISALS,
    AUDIT,
)

MAX_ATTEMPTS: Final = 5
HANDOVER_S: Final = 20.0
"""By so long after a job was leased again nothing is left of an enclave of an earlier attempt whose
host lives and hears the bus, or whose manager was killed: at most half of it passes until such an
enclave has ended, the rest is for hearing of the lease."""
"""How often a job is tried before it fails for good."""

SPARE_DELIVERIES: Final = 3
"""Deliveries beyond the attempts, for whoever then says that there is no further one: a manager
that dies in the last attempt leaves a job that nobody else would end."""

MAX_RUNNING: Final = 10_000
"""Jobs of one kind that run at a time: each holds its spawn request while it does."""


MAX_WAITING: Final = 16_384
"""Hosts that wait for a job of one kind at a time."""


def spawn_consumer(tee: Tee) -> Consumer:
    """The queue of jobs of this kind that need nothing special of a host. Those of others, which
    come and go, are like it (`atoll.wire.placement`)."""
    return Consumer(
        stream=SPAWN.name,
        name=f"managers-{tee.value}",
        filter=subjects.SPAWN.of(tee.value),
        # Redelivery is how a dead manager's jobs move on: short, with in-progress
        # acks while the manager lives. No backoff: silence means the same at each attempt.
        # A manager that gives a job back names the pause itself.
        ack_wait_s=15.0,
        max_deliver=MAX_ATTEMPTS + SPARE_DELIVERIES,
        max_ack_pending=MAX_RUNNING,
        max_waiting=MAX_WAITING,
    )


INTAKE_CONSUMER: Final = Consumer(
    stream=INTAKE.name, name="gateways", ack_wait_s=15.0, max_deliver=20
)
DELIVERY_CONSUMER: Final = Consumer(
    stream=DELIVERIES.name,
    name="webhooks",
    ack_wait_s=30.0,
    # Gateways give up by age (`atoll_gateway.webhooks.retrying`).
    max_deliver=-1,
    # What waits for its next try counts too: a dead address must not stop the others.
    max_ack_pending=200_000,
)
LEDGER_CONSUMER: Final = Consumer(
    stream=REPORTS.name,
    name="ledger",
    ack_wait_s=15.0,
    # About an hour: a full disk or a bus without a leader must not cost a report.
    max_deliver=130,
    retry_s=(1.0, 2.0, 5.0, 10.0, 30.0),
)
FORWARDER_CONSUMER: Final = Consumer(
    stream=TELEMETRY.name,
    name="forwarder",
    ack_wait_s=30.0,
    max_deliver=10,
    retry_s=(10.0,),
    max_ack_pending=256,
)
UNDERTAKER_CONSUMER: Final = Consumer(
    stream=ADVISORIES.name,
    name="undertaker",
    ack_wait_s=15.0,
    max_deliver=1000,
    retry_s=(1.0, 5.0, 30.0, 60.0),
    max_ack_pending=64,
)
CONSUMERS: Final = (
    *(spawn_consumer(tee) for tee in Tee),
    INTAKE_CONSUMER,
    DELIVERY_CONSUMER,
    LEDGER_CONSUMER,
    FORWARDER_CONSUMER,
    UNDERTAKER_CONSUMER,
)

JOBS: Final = Bucket(name="jobs", history=1, description="The ledger.")
MANIFESTS: Final = Bucket(name="manifests", description="Agreed manifests by digest.")
WITHDRAWALS: Final = Bucket(name="withdrawals", description="Consents taken back, by manifest.")
EVIDENCE: Final = Bucket(name="evidence", ttl_s=30 * _DAY_S, description="By enclave.")
OUTCOMES: Final = Bucket(name="outcomes", description="Result records and receipts by attempt.")
HOSTS: Final = Bucket(name="hosts", ttl_s=30.0, description="Managers that are alive.")
SPAWN_CLASSES: Final = Bucket(
    name="spawn_classes", max_bytes=4 * _MIB, description="Queues for jobs with further needs."
)
HOST_ORDERS: Final = Bucket(name="host_orders", description="What operators want of hosts.")
SESSIONS: Final = Bucket(name="sessions", ttl_s=_DAY_S, description="Admitted, by enclave.")
REVOCATIONS: Final = Bucket(name="revocations", description="Who is turned away, and why.")
POLICIES: Final = Bucket(name="policies", history=16, description="What is in force, by name.")
WEBHOOKS: Final = Bucket(name="webhooks", description="Where events are pushed to.")
COLLATERAL: Final = Bucket(name="collateral", description="What vendors sign, by kind.")
PROTOCOL: Final = Bucket(name="protocol", history=16, description="The protocol level in force.")
SPEAKERS: Final = Bucket(name="speakers", ttl_s=30.0, description="The levels of living services.")
TOKENS: Final = Bucket(name="tokens", description="Access tokens' digests and roles, by id.")
BUCKETS: Final = (
    *(WEBHOOKS, JOBS, MANIFESTS, WITHDRAWALS, EVIDENCE, OUTCOMES, HOSTS, HOST_ORDERS),
    *(SPAWN_CLASSES, SESSIONS, REVOCATIONS, POLICIES, COLLATERAL, PROTOCOL, SPEAKERS, TOKENS),
)

ASSETS: Final = ObjectBucket(name="assets", description="Sealed assets.")
RESULTS: Final = ObjectBucket(name="results", description="Sealed results.")
OBJECT_BUCKETS: Final = (ASSETS, RESULTS)

READERS: Final[dict[str, frozenset[Role]]] = {
    EVENTS.name: frozenset({"gateway"}),
    ENCLAVE.name: frozenset({"enclave"}),
    DEAD.name: frozenset({"gateway"}),
    "KV_policies": frozenset({"attestor"}),
    "KV_sessions": frozenset({"attestor"}),
    "KV_revocations": frozenset({"attestor"}),
    "KV_collateral": frozenset({"attestor"}),
    "KV_jobs": frozenset({"gateway", "manager"}),
    "KV_tokens": frozenset({"gateway"}),
    "KV_evidence": frozenset({"manager"}),
    "KV_hosts": frozenset({"gateway"}),
    "KV_spawn_classes": frozenset({"gateway", "manager"}),
    "KV_webhooks": frozenset({"gateway"}),
    "KV_host_orders": frozenset({"manager"}),
    "OBJ_assets": frozenset({"enclave", "gateway"}),
    # An enclave whose upload was interrupted looks at how much of it is stored.
    "OBJ_results": frozenset({"enclave", "gateway"}),
}
"""Who may follow which stream with nameless consumers of its own. Who may do that on a
work queue could also take from it, so the queues are not here."""

WORKERS: Final[bus_rights.Workers] = {
    SPAWN.name: (frozenset({"manager"}), tuple(spawn_consumer(tee) for tee in Tee)),
    INTAKE.name: (frozenset({"gateway"}), (INTAKE_CONSUMER,)),
    DELIVERIES.name: (frozenset({"gateway"}), (DELIVERY_CONSUMER,)),
    REPORTS.name: (frozenset({"gateway"}), (LEDGER_CONSUMER,)),
    TELEMETRY.name: (frozenset({"gateway"}), (FORWARDER_CONSUMER,)),
    ADVISORIES.name: (frozenset({"gateway"}), (UNDERTAKER_CONSUMER,)),
}
"""Who takes messages from which durable consumers, and settles them."""

CHANGING: Final = frozenset({SPAWN.name})
"""Queues that have consumers beside these, made by gateways and alike in what one may do."""

_SERVICES: Final[frozenset[Role]] = frozenset(ROLES) - {"client"}

WRITERS: Final[dict[str, frozenset[Role]]] = {
    **{row.subject.template: row.callers - {"client"} for row in ENDPOINTS if not row.is_tenants},
    subjects.SPAWN.wildcard: frozenset({"gateway"}),
    subjects.SPAWN_CLASS.wildcard: frozenset({"gateway"}),
    subjects.ASSIGN.wildcard: frozenset({"manager"}),
    subjects.RELEASE.wildcard: frozenset({"gateway"}),
    subjects.DELIVERY.wildcard: frozenset({"gateway"}),
    "$KV.webhooks.>": frozenset({"gateway"}),
    subjects.of_tenants(subjects.INTAKE).wildcard: frozenset({"gateway"}),
    # The gateway to redrive one: it writes the ledger, which is all that a report can do.
    subjects.REPORT.wildcard: frozenset({"manager", "enclave", "gateway"}),
    subjects.HISTORY.wildcard: frozenset({"gateway"}),
    subjects.GUEST.wildcard: frozenset({"gateway"}),
    subjects.DEAD.wildcard: frozenset({"gateway", "manager"}),
    subjects.AUDIT.wildcard: frozenset({"gateway", "attestor"}),
    subjects.TELEMETRY_TRACES.wildcard: _SERVICES,
    "$KV.jobs.>": frozenset({"gateway"}),
    "$KV.manifests.>": frozenset({"gateway"}),
    "$KV.withdrawals.>": frozenset({"gateway"}),
    "$KV.evidence.>": frozenset({"attestor"}),
    "$KV.tokens.>": frozenset({"gateway"}),
    "$KV.outcomes.>": frozenset({"enclave"}),
    "$KV.hosts.>": frozenset({"manager"}),
    "$KV.host_orders.>": frozenset({"gateway"}),
    "$KV.speakers.>": frozenset({"gateway", "attestor", "manager"}),
    subjects.APPRAISAL.wildcard: frozenset({"attestor"}),
    "$KV.policies.>": frozenset({"attestor"}),
    "$KV.sessions.>": frozenset({"attestor"}),
    "$KV.revocations.>": frozenset({"attestor"}),
    "$KV.collateral.>": frozenset({"attestor"}),
    "$O.assets.>": frozenset({"gateway"}),
    # A failed upload takes its chunks away again.
    "$JS.API.STREAM.PURGE.OBJ_assets": frozenset({"gateway"}),
    # A lost connection may leave chunks out of order. Who may purge can do no more with it.
    "$JS.API.STREAM.MSG.DELETE.OBJ_assets": frozenset({"gateway"}),
    "$O.results.>": frozenset({"enclave"}),
    "$JS.API.STREAM.MSG.DELETE.OBJ_results": frozenset({"enclave"}),
    # Reading what streams and buckets hold by subject: ciphertext and states.
    "$JS.API.INFO": _SERVICES,
    "$JS.API.STREAM.INFO.>": _SERVICES,
    "$JS.API.STREAM.MSG.GET.>": _SERVICES,
    "$JS.API.DIRECT.GET.>": _SERVICES,
    **bus_rights.reading(READERS),
    **bus_rights.working(WORKERS, CHANGING),
    **bus_rights.burying(
        frozenset({"gateway"}),
        DEAD.name,
        {queue.name: WORKERS[queue.name] for queue in QUEUES},
        CHANGING,
    ),
    # Gateways make the consumers of classes, and no others: the server holds them to a subject of
    # one. Managers see how many jobs wait there.
    f"$JS.API.CONSUMER.CREATE.{SPAWN.name}.*.{subjects.SPAWN_CLASS.wildcard}": frozenset(
        {"gateway"}
    ),
    f"$JS.API.CONSUMER.NAMES.{SPAWN.name}": frozenset({"gateway"}),
    f"$JS.API.CONSUMER.INFO.{SPAWN.name}.*": frozenset({"gateway", "manager"}),
    "$KV.spawn_classes.>": frozenset({"gateway"}),
}
"""Who may publish where in the account of the services. What stands in no row is closed to all;
clients have an account of their tenant, and a table of their own (`atoll.wire.tenancy`)."""


def may_publish(role: Role) -> tuple[str, ...]:
    """The subjects that `role` may publish to."""
    return tuple(subject for subject, writers in WRITERS.items() if role in writers)


def in_domain(rows: Iterable[str], domain: str) -> tuple[str, ...]:
    """The same rights for one who is connected through a leaf node with a domain of its own:
    the API of the streams at the hub, and below it their buckets, have other names there."""
    known = tuple(rows)
    return (
        *known,
        *(
            row.replace("$JS.API.", f"$JS.{domain}.API.", 1)
            for row in known
            if row.startswith("$JS.API.")
        ),
        *(f"$JS.{domain}.API.{row}" for row in known if row.startswith("$KV.")),
    )


def may_subscribe(role: Role) -> tuple[str, ...]:
    """The subjects that `role` may subscribe to: its inbox, and what it answers."""
    owned = [endpoint.served for endpoint in ENDPOINTS if endpoint.owner == role]
    return (f"{inbox(role)}.>", *owned, *(("$SRV.>",) if owned else ()))


def inbox(role: Role) -> str:
    """The prefix of the subjects on which `role` is answered."""
    return f"_INBOX_{role}"
