"""One example: what it needs, what it finds, what it should find."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.client.profile import Profile
from atoll_agent.sandbox.wall import bubblewrap
from examples.harness import engine
from examples.harness.party import Party, party

EXAMPLES = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a case runs: a stack, and a folder for what its parties get."""

    profile: Profile
    folder: Path

    @asynccontextmanager
    async def parties(self, *names: str) -> AsyncIterator[tuple[Party, ...]]:
        """New key holders, each connected for itself."""
        async with AsyncExitStack() as stack:
            yield tuple(
                [
                    await stack.enter_async_context(party(name, self.profile, self.folder))
                    for name in names
                ]
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An example; `run` gives what it found, which must be `expected`, key by key."""

    name: str
    files: tuple[Path, ...]
    """What must have been built."""
    run: Callable[[Place], Awaitable[Mapping[str, Any]]]
    expected: Mapping[str, Any]
    native: bool = False
    """Whether it has a program of the kind binary or python."""
    docker: bool = False

    def missing(self) -> str | None:
        """What keeps it from running here, or None."""
        if absent := [path for path in self.files if not path.is_file()]:
            shown = absent[0].relative_to(EXAMPLES.parent)
            return f"{shown} is not built (run `python examples/build.py {self.name}`)"
        if self.native and (why := bubblewrap.missing()):
            return why
        return engine.missing() if self.docker else None

    def faults(self, found: Mapping[str, Any]) -> list[str]:
        """How what was found differs from what is right; empty if it does not."""
        keys = sorted(self.expected.keys() | found.keys())
        return [
            f"{key}: found {found.get(key)!r}, expected {self.expected.get(key)!r}"
            for key in keys
            if found.get(key) != self.expected.get(key)
        ]
