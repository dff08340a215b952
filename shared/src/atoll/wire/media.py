"""The two encodings of a message, and the header that says which one it is.

Our own processes write MessagePack and name no type. JSON is for everybody else: whoever
asks in JSON is answered in JSON, and what is published for others is JSON.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from atoll import canonical
from atoll.errors import InputError, MessageError
from atoll.wire import codec, schema

T = TypeVar("T")

CONTENT_TYPE: Final = "content-type"
JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"

_MAX_HEADER: Final = 128
_CHARSETS: Final = ("charset=utf-8", 'charset="utf-8"')


def of(headers: Mapping[str, str]) -> str:
    """The encoding that a message's headers name; MessagePack when they name none.

    Names of headers are case-sensitive on NATS (ADR-4), and people write this one in both ways.

    Raises:
        MessageError: `message.media_type`: it is neither of the two.
    """
    values = [value for name, value in headers.items() if name.lower() == CONTENT_TYPE]
    if not values:
        return MSGPACK
    found, *parameters = [
        part.strip().lower() for part in ",".join(values)[:_MAX_HEADER].split(";")
    ]
    if found == MSGPACK and not parameters:
        return MSGPACK
    if found == JSON and all(part in _CHARSETS for part in parameters):
        return JSON
    raise MessageError(
        f"content type is {values[0][:80]!r}, want {JSON} or {MSGPACK}", code="message.media_type"
    )


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the sender reads JSON. Total: what names no known type does not."""
    try:
        return of(headers) == JSON
    except MessageError:
        return False


def encode(value: object, media: str) -> bytes:
    """A message in one of the two encodings; JSON in canonical form."""
    if media == JSON:
        return canonical.dumps(schema.to_plain(value, json=True))
    return schema.encode(value)


def decode(cls: type[T], raw: bytes, media: str, *, limit: int = codec.MAX_MESSAGE) -> T:
    """A legal message of type `cls` from one of the two encodings.

    Raises:
        MessageError: too large, malformed, or not legal; names the field.
    """
    if media != JSON:
        return schema.decode(cls, raw, limit=limit)
    if len(raw) > limit:
        raise MessageError(
            f"message is {len(raw)} bytes, at most {limit} are taken", code="message.too_large"
        )
    try:
        plain = canonical.parse(raw)
    except InputError as error:
        raise MessageError(error.message, code="message.malformed") from error
    return schema.from_plain(cls, plain, json=True)
