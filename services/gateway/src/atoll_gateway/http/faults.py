"""Which error has which status, and the one shape in which all are answered."""

import math
from collections.abc import Mapping
from typing import Annotated, Final

from starlette.responses import Response

from atoll import canonical
from atoll.errors import (
    AtollError,
    ConfigError,
    ConflictError,
    EvidenceError,
    InputError,
    NotFoundError,
    ReceiptError,
    RefusedError,
    SealError,
    UnreachableError,
)
from atoll.wire import schema
from atoll.wire.schema import Code, Size, Text, Token, message

MAX_TEXT: Final = 1024
RETRY_AFTER_S: Final = 2
FULL_RETRY_AFTER_S: Final = 60
INTERNAL: Final = 500
FULL: Final = 507

_STATUS: Final[tuple[tuple[type[AtollError], int], ...]] = (
    (InputError, 400),
    (SealError, 400),
    (EvidenceError, 400),
    (ReceiptError, 400),
    (RefusedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnreachableError, 503),
    (ConfigError, INTERNAL),
)
_STATUS_BY_CODE: Final[Mapping[str, int]] = {
    "http.unauthorized": 401,
    "http.method": 405,
    "http.timeout": 408,
    "http.media_type": 415,
    "http.rate_limited": 429,
    "http.too_many_failures": 429,
    "http.too_many_requests": 429,
    "http.too_many_streams": 429,
    "http.headers_too_large": 431,
    "http.busy": 503,
    "http.version": 505,
    # Nothing is wrong with the caller: what it asks for must be on record, and cannot be now.
    "audit.unavailable": 503,
    # The bus refusing the gateway is the operator's mistake, not the caller's.
    "bus.permission": INTERNAL,
    # Insufficient Storage (RFC 4918): nothing was stored; there may be room later.
    "bus.full": FULL,
}


class MethodError(InputError):
    """The path exists, the method does not; `allowed` are those that do."""

    default_code = "http.method"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method[:20]} is not among {allowed}")
        self.allowed = allowed


class TooManyError(RefusedError):
    """Later the answer may be another one; `retry_after_s` says when. `headers` say which limit."""

    default_code = "http.rate_limited"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retry_after_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, hint="slow down, or try again later")
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


@message
class HttpError:
    """What a failed request gets. `error_id` stands in the gateway's log as well."""

    code: Code
    message: Text
    hint: Annotated[str, Size(0, MAX_TEXT)] | None = None
    error_id: Token


def status_of(error: AtollError) -> int:
    """The HTTP status that tells the caller what to do next."""
    if error.code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[error.code]
    if isinstance(error, InputError) and error.code.endswith(".too_large"):
        return 413
    return next((status for kind, status in _STATUS if isinstance(error, kind)), INTERNAL)


def respond(error: AtollError | None, error_id: str) -> Response:
    """The answer to a failed request; None stands for an error nobody meant to raise."""
    if error is None or status_of(error) == INTERNAL:
        internal = HttpError(code="internal", message="internal error", error_id=error_id)
        return _response(internal, INTERNAL, {})
    body = HttpError(
        code=error.code,
        message=_clean(error.message),
        hint=_clean(error.hint) if error.hint else None,
        error_id=error_id,
    )
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, MethodError):
        headers["Allow"] = error.allowed
    elif isinstance(error, TooManyError):
        headers.update(error.headers)
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    elif status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = 'Bearer realm="atoll"'
    elif status == 503:  # noqa: PLR2004
        headers["Retry-After"] = str(RETRY_AFTER_S)
    elif status == FULL:
        headers["Retry-After"] = str(FULL_RETRY_AFTER_S)
    elif status in {408, 413, 431}:
        # The rest of the body is not wanted.
        headers["Connection"] = "close"
    return _response(body, status, headers)


def _response(body: HttpError, status: int, headers: Mapping[str, str]) -> Response:
    plain = schema.to_plain(body, json=True)
    if body.hint is None:
        del plain["hint"]
    return Response(
        canonical.dumps(plain), status, headers=dict(headers), media_type="application/json"
    )


def _clean(text: str) -> str:
    # Messages quote input; a lone surrogate would have no UTF-8 form.
    return text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
