"""W3C Trace Context: which span a message belongs to, as one header.

    traceparent: 00-<32 hex trace id>-<16 hex span id>-<2 hex flags>

Source: W3C Recommendation "Trace Context" (level 1), section 3.2. NATS header names
are case-sensitive, so only the lower-case name is written and read. `tracestate` and
`baggage` are neither written nor read: both carry free text of any origin.
"""

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "traceparent"
MAX_HEADER: Final = 256
"""Characters of the longest header looked at; version 00 has 55."""

TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")
_HEADER: Final = re.compile(
    r"([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_INVALID_VERSION: Final = "ff"
_OUR_VERSION: Final = "00"
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanContext:
    """The part of a span that travels: lower-case hex ids, never all zeros."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __post_init__(self) -> None:
        if not TRACE_ID.fullmatch(self.trace_id):
            raise ValueError(f"trace id {self.trace_id[:40]!r} is not 32 hex digits")
        if not SPAN_ID.fullmatch(self.span_id):
            raise ValueError(f"span id {self.span_id[:40]!r} is not 16 hex digits")


def parse(header: str) -> SpanContext | None:
    """The context in a `traceparent` value, or None when it is not a legal one.

    Never raises: a bad header starts a new trace, it does not fail the request
    (section 3.2.2.3). A later version than 00 may have more fields, which are not read.
    """
    if len(header) > MAX_HEADER:
        return None
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _INVALID_VERSION or (version == _OUR_VERSION and rest is not None):
        return None
    sampled = bool(int(flags, 16) & _SAMPLED)
    return SpanContext(trace_id=trace_id, span_id=span_id, sampled=sampled)


def render(context: SpanContext) -> str:
    """The `traceparent` value of `context`, version 00."""
    return f"{_OUR_VERSION}-{context.trace_id}-{context.span_id}-{int(context.sampled):02x}"


def inject(headers: MutableMapping[str, str], context: SpanContext | None) -> None:
    """Write `context` into `headers`; without a context, leave them as they are."""
    if context is not None:
        headers[TRACEPARENT] = render(context)


def extract(headers: Mapping[str, str] | None) -> SpanContext | None:
    """The context that `headers` carry, or None. Never raises."""
    value = headers.get(TRACEPARENT) if headers else None
    return parse(value) if isinstance(value, str) else None
