"""Arguments and environment of a run; they travel sealed, like any asset. Pure.

Canonical JSON {"args": [text, ...], "env": {name: value}}.
"""

from typing import Annotated, Self

from atoll import canonical
from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.schema import Size, message

MAX_INVOCATION = 1 << 20
MAX_ITEMS = 256
MAX_TEXT = 65_536


@message
class Invocation:
    args: Annotated[
        tuple[Annotated[str, Size(0, MAX_TEXT)], ...],
        Size(0, MAX_ITEMS),
    ] = ()
    env: Annotated[dict[str, Annotated[str, Size(0, MAX_TEXT)]], Size(0, MAX_ITEMS)]

    def to_bytes(self) -> bytes:
        """The content of the asset `invocation`.

        Raises:
            InputError: `invocation.invalid`, what `from_bytes` would refuse: a text that is not
                Unicode, too many or too long ones; `invocation.too_large`, all together.
        """
        try:
            plain = schema.to_plain(self, json=True)
            schema.from_plain(type(self), plain, json=True)
            raw = canonical.dumps(plain)
        except InputError as error:
            raise InputError(f"invocation: {error.message}", code="invocation.invalid") from error
        if len(raw) > MAX_INVOCATION:
            raise InputError(
                f"arguments and environment are {len(raw)} bytes, want at most {MAX_INVOCATION}",
                code="invocation.too_large",
            )
        return raw

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises: InputError `invocation.invalid`; the message quotes nothing of the content."""
        try:
            if len(raw) > MAX_INVOCATION:
                raise InputError("too large")
            return schema.from_plain(cls, canonical.loads(raw), json=True)
        except InputError:
            raise InputError("invocation is malformed", code="invocation.invalid") from None
