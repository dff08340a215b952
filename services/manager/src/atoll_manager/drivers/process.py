"""Driver `process`: an enclave is a process under the simulated TEE, and has a keeper.

For development. The process is measured and gets genuine-format evidence, but the
host can read its memory: nothing here protects against the host.
"""

from typing import Any

from atoll_manager.drivers.bodies import NoPart
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.kept import KeptDriver


class ProcessDriver(KeptDriver):
    """Starts `python -I -m atoll_agent.main`, under a keeper, with nothing but its settings.

    Args:
        python: the interpreter of the agent.
        common: as of `KeptDriver`.
    """

    def __init__(self, *, python: str, **common: Any) -> None:
        super().__init__(_Processes(python), **common)


class _Processes(NoPart):
    def __init__(self, python: str) -> None:
        self._python = python

    async def order(self, spec: EnclaveSpec) -> dict[str, Any]:  # noqa: ARG002 - all are alike
        return {"kind": "process", "python": self._python}
