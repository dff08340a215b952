"""Every metric, once. Exporter, documentation, dashboards and alerts are held to this table."""

from typing import Final

from atoll.evidence.document import Tee
from atoll.telemetry.metrics.metric import Kind, Label, Metric
from atoll.wire import topology
from atoll.wire.admission_messages import RevokedKind
from atoll.wire.hosts import HostState
from atoll.wire.messages import JobState, ReportKind

GATEWAY: Final = "gateway"
ATTESTOR: Final = "attestor"
MANAGER: Final = "manager"
SERVICES: Final = (GATEWAY, ATTESTOR, MANAGER)

_QUICK_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_BOOT_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)

CODE: Final = Label("code")
"""`ok`, a code of an error, or `other`."""
_CONNECTION: Final = Label("connection", ("services", "door"))
_STREAM: Final = Label("stream", tuple(stream.name for stream in topology.STREAMS))
_QUEUE: Final = Label("queue", tuple(queue.name for queue in topology.QUEUES))
_LIVING: Final = Label("state", tuple(state.value for state in JobState if not state.terminal))
_ENDED: Final = Label("state", tuple(state.value for state in JobState if state.terminal))

_TEE: Final = Label("tee", tuple(tee.value for tee in Tee))

# Every service.
BUILD: Final = Metric(
    name="atoll_build_info",
    kind=Kind.GAUGE,
    text="Always 1; which release this is, and the newest protocol level that it knows.",
    services=SERVICES,
    labels=(Label("version"), Label("protocol")),
)
BUS_CONNECTED: Final = Metric(
    name="atoll_bus_connected",
    kind=Kind.GAUGE,
    text="Whether there is a connection to the bus; attestors have one more, at the door.",
    services=SERVICES,
    labels=(_CONNECTION,),
)
BUS_LOST: Final = Metric(
    name="atoll_bus_lost_total",
    kind=Kind.COUNTER,
    text="Connections to the bus that were lost. Each comes back by itself.",
    services=SERVICES,
    labels=(_CONNECTION,),
)
REQUESTS: Final = Metric(
    name="atoll_requests_total",
    kind=Kind.COUNTER,
    text="Requests on the bus that were answered, by endpoint and by the answer's code.",
    services=(GATEWAY, ATTESTOR),
    labels=(Label("endpoint"), CODE),
)
REQUEST_TIME: Final = Metric(
    name="atoll_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    text="From a request on the bus to its answer, waiting for a free handler aside.",
    services=(GATEWAY, ATTESTOR),
    labels=(Label("endpoint"),),
    unit="seconds",
    buckets=_QUICK_S,
)

# Gateways.
HTTP_REQUESTS: Final = Metric(
    name="atoll_http_requests_total",
    kind=Kind.COUNTER,
    text="Requests over HTTP, by operation (none: it came to none) and status "
    "(000: the client was gone before there was one).",
    services=(GATEWAY,),
    labels=(Label("operation"), Label("status")),
)
HTTP_TIME: Final = Metric(
    name="atoll_http_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    text="From a request over HTTP to the end of its answer; of event streams, as long as they "
    "are followed.",
    services=(GATEWAY,),
    labels=(Label("operation"),),
    unit="seconds",
    buckets=_QUICK_S,
)
SUBMISSIONS: Final = Metric(
    name="atoll_submissions_total",
    kind=Kind.COUNTER,
    text="Submissions, by whatever way: accepted, repeated (the job was there), refused.",
    services=(GATEWAY,),
    labels=(Label("outcome", ("accepted", "repeated", "refused")), CODE),
)
JOB_CHANGES: Final = Metric(
    name="atoll_job_changes_total",
    kind=Kind.COUNTER,
    text="Changes of the ledger by which a job came into a state. Each is counted by the one "
    "gateway that made it.",
    services=(GATEWAY,),
    labels=(Label("state", tuple(state.value for state in JobState)),),
)
JOBS_ENDED: Final = Metric(
    name="atoll_jobs_ended_total",
    kind=Kind.COUNTER,
    text="Jobs that ended, by how and why (ok: completed).",
    services=(GATEWAY,),
    labels=(_ENDED, CODE),
)
JOBS: Final = Metric(
    name="atoll_jobs",
    kind=Kind.GAUGE,
    text="Jobs that have not ended, of all tenants. Every gateway says the same.",
    services=(GATEWAY,),
    labels=(_LIVING,),
)
OUTBOX: Final = Metric(
    name="atoll_outbox_jobs",
    kind=Kind.GAUGE,
    text="Jobs of which an event or a spawn request is decided and not on the bus yet.",
    services=(GATEWAY,),
)
SURVEYED: Final = Metric(
    name="atoll_survey_timestamp_seconds",
    kind=Kind.GAUGE,
    text="When this gateway last had the bus say what follows, since 1970. Each look asks for all "
    "of it; a look that fails leaves the older figures.",
    services=(GATEWAY,),
    unit="seconds",
)
STREAM_BYTES: Final = Metric(
    name="atoll_stream_bytes",
    kind=Kind.GAUGE,
    text="What a stream holds.",
    services=(GATEWAY,),
    labels=(_STREAM,),
    unit="bytes",
)
STREAM_LIMIT: Final = Metric(
    name="atoll_stream_limit_bytes",
    kind=Kind.GAUGE,
    text="What it may hold at most; not there when there is no limit.",
    services=(GATEWAY,),
    labels=(_STREAM,),
    unit="bytes",
)
STORE_BYTES: Final = Metric(
    name="atoll_store_bytes",
    kind=Kind.GAUGE,
    text="What all streams and buckets of the services take of the servers' stores.",
    services=(GATEWAY,),
    unit="bytes",
)
STORE_LIMIT: Final = Metric(
    name="atoll_store_limit_bytes",
    kind=Kind.GAUGE,
    text="What they may take; not there when the account has no limit.",
    services=(GATEWAY,),
    unit="bytes",
)
QUEUE_MESSAGES: Final = Metric(
    name="atoll_queue_messages",
    kind=Kind.GAUGE,
    text="Messages of a work queue that are not worked off, those included that somebody holds: "
    "of `SPAWN`, jobs that run.",
    services=(GATEWAY,),
    labels=(_QUEUE,),
)
QUEUE_PENDING: Final = Metric(
    name="atoll_queue_pending",
    kind=Kind.GAUGE,
    text="Messages of a work queue that nobody has taken yet.",
    services=(GATEWAY,),
    labels=(_QUEUE,),
)
QUEUE_HELD: Final = Metric(
    name="atoll_queue_held",
    kind=Kind.GAUGE,
    text="Messages of a work queue that somebody works on, or that wait to be tried again.",
    services=(GATEWAY,),
    labels=(_QUEUE,),
)
QUEUE_REPEATED: Final = Metric(
    name="atoll_queue_redelivered",
    kind=Kind.GAUGE,
    text="Those of them that were delivered more than once.",
    services=(GATEWAY,),
    labels=(_QUEUE,),
)
DEAD_LETTERS: Final = Metric(
    name="atoll_dead_letters",
    kind=Kind.GAUGE,
    text="Messages that nobody could process and nobody has looked after (`atoll dead list`).",
    services=(GATEWAY,),
)
HOSTS: Final = Metric(
    name="atoll_hosts",
    kind=Kind.GAUGE,
    text="Hosts that live, by state.",
    services=(GATEWAY,),
    labels=(Label("state", tuple(state.value for state in HostState)),),
)

# Attestors.
APPRAISALS: Final = Metric(
    name="atoll_appraisals_total",
    kind=Kind.COUNTER,
    text="Evidence of enclaves that was appraised, by kind, verdict and the check that failed "
    "(ok: none).",
    services=(ATTESTOR,),
    labels=(_TEE, Label("verdict", ("pass", "fail")), CODE),
)
APPRAISAL_TIME: Final = Metric(
    name="atoll_appraisal_duration_seconds",
    kind=Kind.HISTOGRAM,
    text="From evidence to a signed result that is kept; collateral that is fetched included.",
    services=(ATTESTOR,),
    labels=(_TEE,),
    unit="seconds",
    buckets=_QUICK_S,
)
ADMISSIONS: Final = Metric(
    name="atoll_admissions_total",
    kind=Kind.COUNTER,
    text="Enclaves that asked for admission, renewals included, by what they got.",
    services=(ATTESTOR,),
    labels=(Label("outcome", ("admitted", "refused")), CODE),
)
CONNECTIONS: Final = Metric(
    name="atoll_door_connections_total",
    kind=Kind.COUNTER,
    text="Connections that servers asked about, applicants' included, by the answer.",
    services=(ATTESTOR,),
    labels=(Label("outcome", ("allowed", "refused")), CODE),
)
CUT: Final = Metric(
    name="atoll_door_cut_total",
    kind=Kind.COUNTER,
    text="Connections of enclaves that this attestor ended, for a revocation or another policy.",
    services=(ATTESTOR,),
)
REVOCATIONS: Final = Metric(
    name="atoll_revocations",
    kind=Kind.GAUGE,
    text="Revocations that hold.",
    services=(ATTESTOR,),
    labels=(Label("kind", tuple(kind.value for kind in RevokedKind)),),
)
POLICY: Final = Metric(
    name="atoll_policy_in_force",
    kind=Kind.GAUGE,
    text="Whether a policy is in force; without one nothing is admitted.",
    services=(ATTESTOR,),
)

# Managers.
SLOTS: Final = Metric(
    name="atoll_host_slots",
    kind=Kind.GAUGE,
    text="Enclaves that may run here at once.",
    services=(MANAGER,),
)
SLOTS_BUSY: Final = Metric(
    name="atoll_host_slots_busy",
    kind=Kind.GAUGE,
    text="Slots with a job in them.",
    services=(MANAGER,),
)
WARM: Final = Metric(
    name="atoll_host_warm_enclaves",
    kind=Kind.GAUGE,
    text="Enclaves that wait for a job.",
    services=(MANAGER,),
)
MEMORY: Final = Metric(
    name="atoll_host_memory_bytes",
    kind=Kind.GAUGE,
    text="Memory that jobs may claim.",
    services=(MANAGER,),
    unit="bytes",
)
MEMORY_CLAIMED: Final = Metric(
    name="atoll_host_memory_claimed_bytes",
    kind=Kind.GAUGE,
    text="Memory that jobs have claimed.",
    services=(MANAGER,),
    unit="bytes",
)
CPUS: Final = Metric(
    name="atoll_host_cpus",
    kind=Kind.GAUGE,
    text="Processors that jobs may claim.",
    services=(MANAGER,),
)
CPUS_CLAIMED: Final = Metric(
    name="atoll_host_cpus_claimed",
    kind=Kind.GAUGE,
    text="Processors that jobs have claimed.",
    services=(MANAGER,),
)
DRAINING: Final = Metric(
    name="atoll_host_draining",
    kind=Kind.GAUGE,
    text="Whether this host takes no new jobs.",
    services=(MANAGER,),
)
STARTS: Final = Metric(
    name="atoll_enclave_starts_total",
    kind=Kind.COUNTER,
    text="Enclaves started for a job, warm ones that got one included, by whether it worked.",
    services=(MANAGER,),
    labels=(CODE,),
)
ENDS: Final = Metric(
    name="atoll_enclave_ends_total",
    kind=Kind.COUNTER,
    text="Enclaves of jobs that ended: said all (clean), failed, or killed, by a signal or by us.",
    services=(MANAGER,),
    labels=(Label("cause", ("clean", "failed", "killed")),),
)
EVIDENCE_TIME: Final = Metric(
    name="atoll_enclave_evidence_duration_seconds",
    kind=Kind.HISTOGRAM,
    text="From the order to start an enclave to its evidence: boot, keys, quote, appraisal.",
    services=(MANAGER,),
    unit="seconds",
    buckets=_BOOT_S,
)
TOLD: Final = Metric(
    name="atoll_attempt_reports_total",
    kind=Kind.COUNTER,
    text="What attempts at jobs had this manager report, with the reason where there is one.",
    services=(MANAGER,),
    labels=(Label("report", tuple(kind.value for kind in ReportKind)), CODE),
)

METRICS: Final = (
    *(BUILD, BUS_CONNECTED, BUS_LOST, REQUESTS, REQUEST_TIME),
    *(HTTP_REQUESTS, HTTP_TIME, SUBMISSIONS, JOB_CHANGES, JOBS_ENDED, JOBS, OUTBOX),
    *(SURVEYED, STREAM_BYTES, STREAM_LIMIT, STORE_BYTES, STORE_LIMIT),
    *(QUEUE_MESSAGES, QUEUE_PENDING, QUEUE_HELD, QUEUE_REPEATED, DEAD_LETTERS, HOSTS),
    *(APPRAISALS, APPRAISAL_TIME, ADMISSIONS, CONNECTIONS, CUT, REVOCATIONS, POLICY),
    *(SLOTS, SLOTS_BUSY, WARM, MEMORY, MEMORY_CLAIMED, CPUS, CPUS_CLAIMED, DRAINING),
    *(STARTS, ENDS, EVIDENCE_TIME, TOLD),
)
STANDARD: Final = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""What every exporter says of its process (Prometheus, "Writing client libraries")."""
