"""The driver's part in a body: what it orders of the keeper, and what it clears away after one."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.records import EnclaveRecord


class Bodies(Protocol):
    """One for each kind; `atoll_manager.bodies` has the keeper's part."""

    async def order(self, spec: EnclaveSpec) -> dict[str, Any]:
        """What the keeper is told of the body: `kind`, and what that kind needs. As JSON.

        Raises: RefusedError `enclave.start`.
        """
        ...

    def settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The agent's settings as they are where the body is."""
        ...

    async def answer(self, spec: EnclaveSpec, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the keeper asks for while it starts the body. Raises: RefusedError."""
        ...

    async def clear(self, record: EnclaveRecord) -> None:
        """Take away what is left of one whose keeper is gone; its processes have ended."""
        ...

    async def reap(self, keep: AbstractSet[str]) -> None:
        """Take away what is of this host, but for the bodies with these names; once."""
        ...


class NoPart:
    """For a body in which its driver has no part."""

    def settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        return dict(settings)

    async def answer(self, spec: EnclaveSpec, asked: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"enclave {spec.enclave_id}: nobody asks for {sorted(asked)}")

    async def clear(self, record: EnclaveRecord) -> None:
        pass

    async def reap(self, keep: AbstractSet[str]) -> None:
        pass
