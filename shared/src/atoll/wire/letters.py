"""Requests about dead letters, and what is answered."""

from typing import Annotated, Final

from atoll.wire.schema import Code, Range, Size, Text, Timestamp, Token, message

MAX_SHOWN: Final = 256 << 10
"""Bytes of a dead message that are shown; more is only counted."""

MAX_LISTED: Final = 500

Number = Annotated[int, Range(0, (1 << 53) - 1)]


@message
class LetterView:
    """A dead message and why it is dead, without its payload."""

    id: Number
    stream: Token
    """The queue it was in."""
    sequence: Number
    """Its number in that queue."""
    subject: Annotated[str, Size(1, 512)]
    deliveries: Number
    """0: unknown."""
    reason: Code
    text: Text
    message_id: Annotated[str, Size(0, 4096)]
    stored_ms: Timestamp
    buried_ms: Timestamp
    size: Number
    state: Annotated[str, Size(1, 16)]
    """`whole`, `cut` or `lost` (`atoll.bus.dead_letter`)."""


@message
class LettersRequest:
    stream: Token | None = None
    after: Number = 0
    """Only letters with a greater number."""
    limit: Annotated[int, Range(1, MAX_LISTED)] = 100


@message
class Letters:
    letters: Annotated[tuple[LetterView, ...], Size(0, MAX_LISTED)]
    more: bool
    """Whether further ones follow."""
    malformed: Annotated[tuple[Number, ...], Size(0, MAX_LISTED)] = ()
    """Numbers of what is kept here and is no letter."""


@message
class LetterRequest:
    id: Annotated[int, Range(1, (1 << 53) - 1)]


@message
class Header:
    name: Annotated[str, Size(1, 128)]
    value: Annotated[str, Size(0, 4096)]


@message
class LetterContents:
    letter: LetterView
    headers: Annotated[tuple[Header, ...], Size(0, 64)]
    """Of the original."""
    payload: Annotated[bytes, Size(0, MAX_SHOWN)]
    """Its beginning."""


@message
class RedriveRequest:
    id: Annotated[int, Range(1, (1 << 53) - 1)]
    force: bool = False
    """Although it will fail again for all we know."""


@message
class Redriven:
    letter: LetterView
    sequence: Number
    """The message's new number in its queue."""
