"""What a row of the table of operations says; the table is `atoll_gateway.http.routes`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from atoll.wire import names
from atoll.wire.access import AccessRole
from atoll_gateway.http.operations import Operations

Call = Callable[[Operations, Request], Awaitable[Response]]

TOKEN_PATTERN: Final = f"^{names.TOKEN}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    place: str
    schema: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request body: a message in JSON, or bytes as they are."""

    message: type | None
    limit: int | None
    """None: the deployment's limit for assets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer. `message` None and `media` None: no body.

    `also` are further media types, for those who ask for them (`Accept`).
    """

    text: str
    message: type | None = None
    media: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row. `errors` are the statuses beyond those that every operation may answer; `role` is
    what a token must have, and None opens the path to all."""

    method: str
    path: str
    id: str
    summary: str
    call: Call
    answers: dict[int, Answer]
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    role: AccessRole | None

    @property
    def secured(self) -> bool:
        """Whether it takes a token."""
        return self.role is not None
