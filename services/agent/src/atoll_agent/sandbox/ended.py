"""How the worker says that a run is over: one exception for every way to end."""

from atoll_agent.sandbox.outcome import Kind


class Ended(Exception):  # noqa: N818 - one of the ways to end, not an error of ours
    """Raised where the end is known, caught where the answer is made."""

    def __init__(self, kind: Kind, *, exit_code: int | None = None, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.exit_code = exit_code
        self.detail = detail
