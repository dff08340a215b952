"""What the gateway needs from outside, as small as it needs it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from atoll.computation.manifest import Manifest
from atoll.wire.messages import AgreedManifest, JobEvent, JobRecord, Withdrawal
from atoll.wire.placement import SpawnClass


class Clock(Protocol):
    """Milliseconds since the epoch."""

    def __call__(self) -> int: ...


class JobStore(Protocol):
    """The ledger's entries with compare-and-set."""

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None: ...

    async def create(self, record: JobRecord) -> int:
        """Raises: ConflictError if the job exists."""
        ...

    async def update(self, record: JobRecord, revision: int) -> int:
        """Raises: ConflictError if somebody else wrote since `revision`."""
        ...

    def watch(self) -> AsyncGenerator[tuple[str, JobRecord | None, int], None]:
        """Every current entry by its job id, then every change, each with how many more wait.

        None instead of an entry: it is gone, or it cannot be read. Of an empty ledger the first
        is None under no id.
        """
        ...


class ManifestStore(Protocol):
    """Agreed manifests by digest, with the newest consents."""

    async def get(self, digest: str) -> AgreedManifest | None: ...

    async def put(self, digest: str, agreed: AgreedManifest) -> None: ...


class WithdrawalStore(Protocol):
    """The first withdrawal of each manifest."""

    async def get(self, digest: str) -> Withdrawal | None: ...

    async def put(self, digest: str, withdrawal: Withdrawal) -> None: ...


class Places(Protocol):
    """Where jobs wait for a host (`atoll_gateway.placing`)."""

    async def require(self, manifest: Manifest, digest: str, tenant: str) -> None:
        """Raises: RefusedError, ManifestError: a job has nowhere to wait."""
        ...

    async def place(self, record: JobRecord) -> SpawnClass: ...


class Outlet(Protocol):
    """Where the ledger's decisions go; each call is idempotent."""

    async def event(self, event: JobEvent, record: JobRecord) -> None:
        """Tell an event of a job, whose entry is `record`."""
        ...

    async def spawn(self, record: JobRecord) -> None: ...
