"""The agent's settings, read once and never changed.

All of them come from the host and none is believed further than it can do no harm: the
bus carries only sealed bytes, and what shapes the run is in the signed manifest, whose
digest the evidence binds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.wire import level

PREFIX: Final = "ATOLL_AGENT_"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    nats_url: str
    """Where the bus is."""

    nats_domain: str = ""
    """The JetStream domain of the ledger, when the bus is reached through a leaf node."""

    nats_sentinel: str
    """The JWT that an applicant shows; it is no secret and opens nothing by itself."""

    nats_ca_file: Path | None = None
    """PEM roots by which the bus's certificate is checked; None: the system's."""

    nats_ca: str = ""
    """The roots themselves, for an enclave that shares no files with its host."""

    host_id: str
    """Who started us, as it says."""

    enclave_id: str
    """Who we are on the bus."""

    job_id: str
    attempt: int
    manifest_digest: str
    """The manifest our evidence will be bound to, hex; the assignment must match it."""

    device_fd: int | None = None
    """The inherited descriptor of the simulated guest device, if there is one."""

    channel: str = ""
    """Where the host's services are for an enclave without a network: `serial:NAME`,
    `vsock:PORT`, `unix:/PATH` or `tcp:HOST:PORT`. Empty: the bus is reached over TCP."""

    tee: str = ""
    """What to make evidence with: `auto`, `sev-snp`, `tdx`, `vtpm`, `keystone`, `simulated`. Unset:
    the simulated device, if one was handed in or there is a channel, else as `auto`, which never
    takes a simulated one."""

    vtpm_certificates: str = ""
    """The chain of the vTPM's attestation key, PEM. It proves itself, or is refused by whoever
    appraises the evidence."""

    launch_settings: str = ""
    """The digests of the settings that this guest was given (`atoll.measure.launch_settings`), by
    our own first process, never by the host. Hardware evidence then has to name them. Empty: we
    were started by something else, and there is nothing to compare."""

    docker_host: str = "unix:///var/run/docker.sock"
    """The container engine at our side, for workloads of the kind docker; only asked then."""

    egress: tuple[str, ...] = ()
    """Where the host lets us connect to for a workload, for an enclave without a channel; over a
    channel the host sees to it itself."""

    traceparent: str = ""
    """The trace that our boot belongs to."""

    protocol_newest: int = level.NEWEST
    """Read no newer protocol level than this."""

    protocol_level: int = level.OLDEST
    """The level that was in force when we were started, which we write to our end: whoever reads
    a later one reads it too."""

    assign_timeout_s: float = 60.0
    """How long to wait for work after the evidence was published."""
