"""Arguments and environment of a run; they travel sealed, like any asset. Pure.

Canonical JSON {"args": [text, ...], "env": {name: value}}.
"""

from typing import Annotated, Self

from atoll import canonical
from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.schema import Size, message

MAX_INVOCATION = 1 << 20


@message
class Invocation:
    args: Annotated[
        tuple[Annotated[str, Size(0, 65_536)], ...],
        Size(0, 256),
    ] = ()
    env: Annotated[dict[str, Annotated[str, Size(0, 65_536)]], Size(0, 256)]

    def to_bytes(self) -> bytes:
        """The content of the asset `invocation`.

        Raises:
            InputError: `invocation.invalid`: a text that is not Unicode.
        """
        try:
            return canonical.dumps(schema.to_plain(self, json=True))
        except InputError as error:
            raise InputError(f"invocation: {error.message}", code="invocation.invalid") from error

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises: InputError `invocation.invalid`; the message quotes nothing of the content."""
        try:
            if len(raw) > MAX_INVOCATION:
                raise InputError("too large")
            return schema.from_plain(cls, canonical.loads(raw), json=True)
        except InputError:
            raise InputError("invocation is malformed", code="invocation.invalid") from None
