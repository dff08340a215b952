"""The one place where failures of the bus become errors of Atoll.

Three sources: exceptions of nats-py, error objects of the JetStream API
(`{"error": {"code", "err_code", "description"}}`, nats-server errors.json), and
errors of our own services, which travel as ADR-32 headers and a small payload.

    bus.unreachable    no connection, or it was lost while waiting; try again
    bus.timeout        no answer in time; it may still have been carried out
    bus.unconfirmed    a change is neither won nor lost yet: the servers have not agreed on it
    bus.no_responders  nobody serves this subject now, or no stream stores it
    bus.conflict       compare-and-set lost, or the name exists with other contents
    bus.not_found      no such stream, consumer, bucket, key or object
    bus.no_message     the stream holds no such message
    bus.full           a limit of the stream or account is reached
    bus.too_large      larger than the server or the stream accepts
    bus.permission     the server does not let this user do that
    bus.refused        anything else that the server refused
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from nats import errors as nats_errors

from atoll import canonical
from atoll.ascii_text import printable
from atoll.errors import (
    AtollError,
    ConfigError,
    ConflictError,
    EvidenceError,
    InputError,
    ManifestError,
    MessageError,
    NotFoundError,
    ReceiptError,
    RefusedError,
    SealError,
    UnreachableError,
    UnsupportedError,
)
from atoll.wire import codec, media

ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"

MAX_ERROR: Final = 8192
"""Bytes of the largest error payload that is looked at."""

MAX_ERROR_TEXT: Final = 1024
"""Characters of an error's message on the wire."""

MAX_ERROR_LINE: Final = 256
"""Characters of the same in a header."""

_CONFLICT: Final = frozenset({10071, 10164, 10058, 10148, 10013, 10105})
_NOT_FOUND: Final = frozenset({10059, 10014, 10043})
_FULL: Final = frozenset({10077, 10047, 10023, 10002, 10028, 10122})
_TOO_LARGE: Final = frozenset({10054, 10097})
_NO_JETSTREAM: Final = frozenset({10039, 10076, 10035})
_ELECTING: Final = frozenset({10008, 10009, 10119, 10158, 10167})
"""No leader yet, not the leader any more, a server that starts has not caught up, the same message
id is on its way to the replicas, too much at once: the same request later gets an answer. (10158
has the status of a conflict.)"""

_NO_MESSAGE: Final = 10037
_UNAVAILABLE: Final = 503
_MISSING: Final = 404


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn any exception of nats-py or the socket into an `AtollError` about `what`."""
    try:
        yield
    except nats_errors.MaxPayloadError as error:
        raise InputError(f"{what}: larger than the server accepts", code="bus.too_large") from error
    except (nats_errors.BadSubjectError, nats_errors.BadHeaderError) as error:
        raise InputError(f"{what}: {error}", code="bus.subject") from error
    except nats_errors.AuthorizationError as error:
        raise RefusedError(f"{what}: {error}", code="bus.permission") from error
    except nats_errors.TimeoutError as error:
        raise UnreachableError(f"{what}: no answer in time", code="bus.timeout") from error
    except (nats_errors.Error, OSError) as error:
        raise UnreachableError(f"{what}: {error}", code="bus.unreachable") from error


def from_api(error: Any, what: str) -> AtollError:
    """The error for an error object of the JetStream API."""
    fields = error if isinstance(error, dict) else {}
    number, status = fields.get("err_code"), fields.get("code")
    text = f"{what}: {str(fields.get('description', 'refused'))[:MAX_ERROR_TEXT]}"
    if number in _ELECTING:
        return UnreachableError(text, code="bus.unreachable")
    if number == _NO_MESSAGE:
        return NotFoundError(text, code="bus.no_message")
    if number in _CONFLICT:
        return ConflictError(text, code="bus.conflict")
    if number in _NOT_FOUND or status == _MISSING:
        return NotFoundError(text, code="bus.not_found")
    if number in _FULL:
        return RefusedError(text, code="bus.full")
    if number in _TOO_LARGE:
        return InputError(text, code="bus.too_large")
    if number in _NO_JETSTREAM:
        return ConfigError(text, code="bus.no_jetstream")
    if status == _UNAVAILABLE:
        return UnreachableError(text, code="bus.unreachable")
    return RefusedError(f"{text} ({number})", code="bus.refused")


_STATUS: Final[tuple[tuple[type[AtollError], str], ...]] = (
    (UnsupportedError, "400"),
    (ManifestError, "400"),
    (MessageError, "400"),
    (InputError, "400"),
    (SealError, "422"),
    (EvidenceError, "422"),
    (ReceiptError, "422"),
    (RefusedError, "403"),
    (NotFoundError, "404"),
    (ConflictError, "409"),
    (UnreachableError, "503"),
)
"""ADR-32 wants a number in the header; it names the class, the payload the exact code."""

_NO_SUCH_THING: Final = "404"
_BY_STATUS: Final[dict[str, type[AtollError]]] = {
    "400": InputError,
    "403": RefusedError,
    "404": NotFoundError,
    "409": ConflictError,
    "422": EvidenceError,
    "503": UnreachableError,
}
_BY_PREFIX: Final[dict[str, type[AtollError]]] = {
    "manifest": ManifestError,
    "message": MessageError,
    "seal": SealError,
    "evidence": EvidenceError,
    "receipt": ReceiptError,
}


def to_wire(
    error: AtollError, error_id: str, *, json: bool = False
) -> tuple[bytes, dict[str, str]]:
    """Payload and headers that carry `error` to a caller, who may read JSON only.

    A plain `AtollError` and a `ConfigError` are our own trouble: the caller learns
    that it was internal and the id under which we logged it, nothing else.
    """
    for cls, status in _STATUS:
        if isinstance(error, cls):
            text = error.message[:MAX_ERROR_TEXT]
            return _payload(error.code, text, error_id, status, json=json)
    return internal(error_id, json=json)


def internal(error_id: str, *, json: bool = False) -> tuple[bytes, dict[str, str]]:
    """What a caller sees of an unexpected error: code, id and nothing else."""
    return _payload("internal", "internal error", error_id, "500", json=json)


def _payload(
    code: str, message: str, error_id: str, status: str, *, json: bool
) -> tuple[bytes, dict[str, str]]:
    fields = {"code": code, "message": message, "error_id": error_id}
    # The header is for other tools; it must stay one line of printable ASCII.
    line = printable(f"{code}: {message}", MAX_ERROR_LINE)
    headers = {ERROR_HEADER: line, ERROR_CODE_HEADER: status}
    if json:
        # Messages quote input; a lone surrogate would have no UTF-8 form.
        fields["message"] = message.encode("utf-8", "replace").decode()
        return canonical.dumps(fields), {**headers, media.CONTENT_TYPE: media.JSON}
    return codec.packb(fields), headers


def from_wire(payload: bytes, headers: Mapping[str, str]) -> AtollError | None:
    """The error that a service sent, or None when the reply is not an error.

    Total: a reply that claims to be an error and is not one of ours (another
    service, a hostile one) is still an error, made from its headers.
    """
    if ERROR_CODE_HEADER not in headers and ERROR_HEADER not in headers:
        return None
    status = headers.get(ERROR_CODE_HEADER, "500")
    fields = _fields(payload)
    code = fields.get("code", "") or "internal"
    message = fields.get("message") or headers.get(ERROR_HEADER, "") or "the service failed"
    # That there is no such evidence or manifest says nothing against one.
    named = None if status == _NO_SUCH_THING else _BY_PREFIX.get(code.partition(".")[0])
    cls = named or _BY_STATUS.get(status, AtollError)
    error = cls(message[:MAX_ERROR_TEXT], code=code)
    error.error_id = fields.get("error_id")
    return error


def _fields(payload: bytes) -> dict[str, str]:
    try:
        value = codec.unpackb(payload, limit=MAX_ERROR)
    except MessageError:
        return {}
    if not isinstance(value, dict):
        return {}
    known = ("code", "message", "error_id")
    return {key: value[key] for key in known if isinstance(value.get(key), str)}
