"""What the object store says about an object (ADR-20, "ObjectInfo"): JSON, untrusted.

    name, bucket, nuid   text; chunks lie on `$O.<bucket>.C.<nuid>`
    size, chunks         integers
    digest               `SHA-256=` and base64url with padding
    headers              object of arrays of text (Go writes arrays, nats-py plain text)
    options              `max_chunk_size`; `link` to another object is refused here
    deleted              true in the mark of a deletion

`mtime` is ignored: the server's time of the message is better.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from atoll.bus.message import StreamMessage
from atoll.errors import InputError, MessageError
from atoll.wire.names import TOKEN, require_token

MAX_INFO: Final = 64 << 10
MAX_SIZE: Final = 1 << 50
MAX_NAME: Final = 255
MAX_HEADERS: Final = 64
_DIGEST: Final = "SHA-256="
_SHA256_SIZE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object of a bucket."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str
    """SHA-256 of the whole, lower-case hex; empty when deleted."""
    mtime: datetime
    """When the server stored this (server's clock)."""
    headers: Mapping[str, str]
    deleted: bool = False
    revision: int = 0
    """Sequence of this metadata in the bucket's stream."""

    @classmethod
    def parse(cls, message: StreamMessage) -> Self:
        """Read a metadata message.

        Raises:
            MessageError: `bus.object_info`.
        """
        fields = _load(message.payload)
        nuid = _text(fields, "nuid", 64)
        try:
            require_token(nuid, "nuid")
        except InputError as error:
            raise _bad(f"nuid does not match {TOKEN}") from error
        options = fields.get("options")
        if isinstance(options, dict) and options.get("link"):
            raise _bad("it is a link, which Atoll never makes")
        deleted = fields.get("deleted") is True
        return cls(
            name=_text(fields, "name", MAX_NAME),
            bucket=_text(fields, "bucket", 64),
            nuid=nuid,
            size=_count(fields, "size"),
            chunks=_count(fields, "chunks"),
            digest="" if deleted else _digest(fields.get("digest")),
            mtime=message.time,
            headers=_headers(fields.get("headers")),
            deleted=deleted,
            revision=message.seq,
        )


def to_json(
    *,
    name: str,
    bucket: str,
    nuid: str,
    size: int,
    chunks: int,
    sha256: bytes | None,
    chunk_size: int,
    headers: Mapping[str, str],
    mtime: datetime,
) -> bytes:
    """The metadata that readers of ADR-20 expect; `sha256` None marks a deletion."""
    fields: dict[str, Any] = {
        "name": name,
        "bucket": bucket,
        "nuid": nuid,
        "size": size,
        "chunks": chunks,
        "mtime": mtime.isoformat().replace("+00:00", "Z"),
        "options": {"max_chunk_size": chunk_size},
    }
    if headers:
        fields["headers"] = {key: [value] for key, value in headers.items()}
    if sha256 is None:
        fields["deleted"] = True
    else:
        fields["digest"] = _DIGEST + base64.urlsafe_b64encode(sha256).decode()
    return json.dumps(fields).encode()


def _bad(why: str) -> MessageError:
    return MessageError(f"object metadata: {why}", code="bus.object_info")


def _load(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_INFO:
        raise _bad(f"{len(raw)} bytes, at most {MAX_INFO} are taken")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad("not JSON") from error
    if not isinstance(value, dict):
        raise _bad("not an object")
    return value


def _text(fields: dict[str, Any], key: str, limit: int) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise _bad(f"{key} is not a text of 1 to {limit} characters")
    return value


def _count(fields: dict[str, Any], key: str) -> int:
    value = fields.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
        raise _bad(f"{key} is not an integer of 0 to {MAX_SIZE}")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(_DIGEST):
        raise _bad(f"digest does not start with {_DIGEST}")
    text = value.removeprefix(_DIGEST)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("digest is not base64url") from error
    if len(raw) != _SHA256_SIZE:
        raise _bad("digest is not 32 bytes")
    return raw.hex()


def _headers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise _bad(f"headers are not an object of at most {MAX_HEADERS}")
    result: dict[str, str] = {}
    for key, item in value.items():
        first = item[0] if isinstance(item, list) and item else item
        if not isinstance(first, str):
            raise _bad("a header is not text")
        result[key] = first
    return result
