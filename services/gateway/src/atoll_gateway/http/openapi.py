"""The OpenAPI 3.1 document, made from the table of operations and the wire messages."""

import json
from typing import Any, Final

from atoll.wire import cloudevents, schema
from atoll.wire.access import AccessRole
from atoll.wire.messages import EventType, JobEvent
from atoll.wire.submission import SubmissionEvent, SubmissionOutcome
from atoll_gateway.http import body, events, faults, stream
from atoll_gateway.http.operation import Answer, Body, Operation, Parameter
from atoll_gateway.http.routes import OPERATIONS

VERSION: Final = "3.1.0"

_STATUS_TEXT: Final = {
    400: "The request is not legal; fix it and send it again.",
    401: "No valid bearer token.",
    403: "Understood, and the answer is no: by what the token may do, or by what is asked.",
    404: "There is no such thing.",
    405: "The path has no such method.",
    408: "The body stopped coming.",
    409: "Somebody else was first, or it stands for something else.",
    413: "The body is too large.",
    415: "The content type is not the one that is taken.",
    429: "Too much at a time, or too fast; try again after `Retry-After` seconds.",
    500: "A mistake on this side; `error_id` is in the log.",
    503: "The bus does not answer, or the gateway is busy; see `Retry-After`.",
    faults.FULL: "There is no room; nothing was stored. Try again after `Retry-After` seconds.",
}
_TRACE: Final = Parameter(
    name="traceparent",
    place="header",
    schema={"type": "string", "maxLength": 256},
    text="W3C Trace Context; one that is not legal starts a new trace.",
)
_EVENT: Final = {"$ref": "#/components/schemas/CloudEvent"}
_BODIES: Final[dict[str, dict[str, Any]]] = {
    stream.SSE: {
        "description": "One event of the stream.",
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {
                "type": "string",
                "enum": [kind.value for kind in (*EventType, *SubmissionOutcome)],
            },
            "data": {
                "type": "string",
                "contentMediaType": cloudevents.STRUCTURED,
                "contentSchema": _EVENT,
            },
        },
    },
    cloudevents.STRUCTURED: _EVENT,
    cloudevents.BATCH: {"type": "array", "maxItems": events.MAX_PAGE, "items": _EVENT},
}


def document(version: str) -> dict[str, Any]:
    """The whole document, as plain JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for row in OPERATIONS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Atoll gateway",
            "version": version,
            "description": "Jobs over sealed assets. Bytes in JSON are unpadded base64url.",
        },
        "paths": paths,
        "webhooks": {"event": {"post": _webhook()}},
        "components": {
            "schemas": {
                "CloudEvent": cloudevents.json_schema(JobEvent, SubmissionEvent),
                **{cls.__name__: schema.json_schema(cls) for cls in _messages()},
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "atoll_<id>_<secret>",
                    "description": "Roles, each with all of the one before it: "
                    + ", ".join(role.value for role in AccessRole),
                }
            },
        },
    }


def _webhook() -> dict[str, Any]:
    """What a registered address gets (OpenAPI 3.1, `webhooks`)."""
    names = {
        "webhook-id": "The event's id; the same at every try.",
        "webhook-timestamp": "Of this try, seconds since 1970.",
        "webhook-signature": "`v1,` and base64 of HMAC-SHA256 (Standard Webhooks 1.0).",
    }
    return {
        "operationId": "onEvent",
        "summary": "An event, signed. Any answer but 2xx is tried again; 410 ends it for good.",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
                "description": text,
            }
            for name, text in names.items()
        ],
        "requestBody": {
            "required": True,
            "content": {cloudevents.STRUCTURED: {"schema": _EVENT}},
        },
        "responses": {"2XX": {"description": "Taken."}, "410": {"description": "Never again."}},
        "security": [],
    }


def encoded(version: str) -> bytes:
    """The document as it is served."""
    return json.dumps(document(version), indent=1, sort_keys=True).encode()


def error_statuses(row: Operation) -> tuple[int, ...]:
    """Every status other than success that this operation may answer."""
    found = {400, 429, 500, 503, *row.errors}
    if row.secured:
        found |= {401, 403}
    if row.body is not None:
        found |= {408, 413, 415}
    if row.method not in {"GET", "HEAD"}:
        found.add(faults.FULL)
    return tuple(sorted(found))


def _operation(row: Operation) -> dict[str, Any]:
    result: dict[str, Any] = {
        "operationId": row.id,
        "summary": row.summary,
        "parameters": [_parameter(item) for item in (*row.parameters, _TRACE)],
        "responses": {
            **{str(status): _answer(item) for status, item in row.answers.items()},
            **{str(status): _error(status, row) for status in error_statuses(row)},
        },
        # OpenAPI 3.1: for a scheme of type http, the roles that are required.
        "security": [{"bearer": [row.role.value]}] if row.role else [],
    }
    if row.body is not None:
        result["requestBody"] = {"required": True, "content": _content(row.body)}
    return result


def _parameter(item: Parameter) -> dict[str, Any]:
    return {
        "name": item.name,
        "in": item.place,
        "required": item.place == "path",
        "schema": item.schema,
        "description": item.text,
    }


def _answer(item: Answer) -> dict[str, Any]:
    result: dict[str, Any] = {"description": item.text}
    if item.message is not None:
        result["content"] = {body.JSON: {"schema": _reference(item.message)}}
    elif item.media == body.JSON:
        result["content"] = {body.JSON: {"schema": {"type": "object"}}}
    elif item.media is not None:
        result["content"] = {
            media: {"schema": _BODIES.get(media, {"type": "string"})}
            for media in (item.media, *item.also)
        }
    return result


def _error(status: int, row: Operation) -> dict[str, Any]:
    result: dict[str, Any] = {"description": _STATUS_TEXT[status]}
    if row.method != "HEAD":
        result["content"] = {body.JSON: {"schema": _reference(faults.HttpError)}}
    if status == 401:  # noqa: PLR2004
        result["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    elif status in {429, 503, faults.FULL}:
        result["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return result


def _content(item: Body) -> dict[str, Any]:
    if item.message is not None:
        return {body.JSON: {"schema": _reference(item.message)}}
    return {body.BYTES: {"schema": {"type": "string", "format": "binary"}}}


def _reference(cls: type) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def _messages() -> list[type]:
    found: dict[str, type] = {cls.__name__: cls for cls in (faults.HttpError,)}
    for row in OPERATIONS:
        bodies = [row.body.message] if row.body else []
        for cls in [*bodies, *(item.message for item in row.answers.values())]:
            if cls is not None:
                found[cls.__name__] = cls
    return [found[name] for name in sorted(found)]
