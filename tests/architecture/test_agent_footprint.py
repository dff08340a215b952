"""What the agent brings into the trust boundary, written down.

A new line here is a decision to trust more code. It belongs in the review, not in a
lock file nobody reads.
"""

import subprocess
import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

TRUSTED_DISTRIBUTIONS = {
    "atoll",
    "atoll-agent",
    "cffi",  # by cryptography
    "cryptography",  # HPKE, AES-GCM, Ed25519
    "msgpack",  # the bus's encoding
    "nats-py",  # the bus
    "pycparser",  # by cffi, at build time only
    "wasmtime",  # runs the guest, in the worker process only
}
FORBIDDEN_MODULES = {
    "click",
    "ctypes",
    "docker",
    "http.server",
    "jwt",
    "multiprocessing",
    "opentelemetry",
    "pickle",
    "starlette",
    "wasmtime",
}


def closure(distribution: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Every distribution that installing this one installs here."""
    found = {distribution.lower()}
    for line in requires(distribution) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            found |= closure(requirement.name, frozenset(requirement.extras))
    return found


def test_the_agent_installs_only_trusted_distributions() -> None:
    assert closure("atoll-agent") == TRUSTED_DISTRIBUTIONS


def test_the_agent_loads_no_forbidden_module() -> None:
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", "import atoll_agent.main, sys; print(*sorted(sys.modules))"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()

    assert not FORBIDDEN_MODULES & set(loaded)
