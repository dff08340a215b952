"""What a span may carry out of a process. Everything else is dropped.

Spans leave the enclave in the clear, so they are a way out for data. This is the whole
list of what may pass: names from a closed set, and per attribute key a rule on its
value. There is no rule for free text. Sizes are rounded up to a power of two; ids must
be tokens; an error is a stable code.

The agent applies it before export; whatever reads the bus applies it again, because it
need not believe that the sender did.

What it does NOT do: start and end times pass as they are (the host sees when an enclave
is busy anyway), and an id passes if it has the form of an id. Code that put 64
characters of a secret into a field made for an id would not be stopped here.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from atoll.telemetry import names
from atoll.telemetry.span import AttributeValue, Span, is_int
from atoll.wire import names as wire_names
from atoll.wire.messages import JobState, Tee

MAX_LINKS: Final = 8
MAX_COUNT: Final = 65_535
MAX_SIZE: Final = 1 << 50

Rule = Callable[[AttributeValue], AttributeValue | None]
"""The value that may pass in place of the given one, or None for none."""


def one_of(*values: str) -> Rule:
    """Exactly one of these words."""
    allowed = frozenset(values)
    return lambda value: value if isinstance(value, str) and value in allowed else None


def matching(pattern: str, limit: int) -> Rule:
    """A string of at most `limit` characters that matches as a whole."""
    regex = re.compile(pattern)

    def rule(value: AttributeValue) -> AttributeValue | None:
        if isinstance(value, str) and len(value) <= limit and regex.fullmatch(value):
            return value
        return None

    return rule


def count(value: AttributeValue) -> AttributeValue | None:
    """A small whole number, as it is."""
    return value if is_int(value) and 0 <= int(value) <= MAX_COUNT else None


def size(value: AttributeValue) -> AttributeValue | None:
    """A number of bytes, rounded up to a power of two; 0 stays 0."""
    if not is_int(value) or not 0 <= int(value) <= MAX_SIZE:
        return None
    return 1 << (int(value) - 1).bit_length() if value else 0


def flag(value: AttributeValue) -> AttributeValue | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def status_code(value: AttributeValue) -> AttributeValue | None:
    """An HTTP status code."""
    return value if is_int(value) and 100 <= int(value) <= 599 else None  # noqa: PLR2004


token: Final = matching(wire_names.TOKEN, 64)
code: Final = matching(wire_names.CODE, wire_names.MAX_CODE)

RULES: Final[Mapping[str, Rule]] = {
    names.ERROR_TYPE: code,
    names.MESSAGING_SYSTEM: one_of("nats"),
    names.MESSAGING_OPERATION_NAME: one_of(*names.OPERATIONS),
    names.MESSAGING_OPERATION_TYPE: one_of(*names.OPERATIONS),
    names.MESSAGING_DESTINATION_TEMPLATE: one_of(*names.DESTINATIONS),
    names.MESSAGING_MESSAGE_ID: token,
    names.MESSAGING_CONVERSATION_ID: token,
    names.MESSAGING_BODY_SIZE: size,
    names.HTTP_METHOD: one_of("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    names.HTTP_STATUS: status_code,
    names.JOB_ID: token,
    names.JOB_STATE: one_of(*(state.value for state in JobState)),
    names.JOB_ATTEMPT: count,
    names.ENCLAVE_ID: token,
    names.HOST_ID: token,
    names.ASSET_ID: token,
    names.ASSET_ROLE: one_of("algorithm", "dataset", "invocation", "result"),
    names.ASSET_SIZE: size,
    names.ASSET_COUNT: count,
    names.PARTY_COUNT: count,
    names.RESULT_SIZE: size,
    names.EVIDENCE_SIZE: size,
    names.TEE: one_of(*(tee.value for tee in Tee)),
    names.SIMULATED: flag,
    names.VERDICT: one_of("pass", "fail"),
    names.CHECK_COUNT: count,
    names.DRIVER: one_of("process", "docker", "libvirt"),
    names.DELIVERY_COUNT: count,
}
"""Every attribute that may leave a process. An exit code is not among them."""


def sanitise(span: Span) -> Span:
    """`span` with nothing in it that the list does not allow. Idempotent; never raises."""
    return dataclasses.replace(
        span,
        service=span.service if span.service in names.SERVICES else names.OTHER,
        instance=span.instance if token(span.instance) is not None else "",
        name=span.name if span.name in names.SPAN_NAMES else names.OTHER,
        attributes=tuple(_allowed(span.attributes)),
        links=span.links[:MAX_LINKS],
    )


def _allowed(
    attributes: Iterable[tuple[str, AttributeValue]],
) -> Iterable[tuple[str, AttributeValue]]:
    for key, value in attributes:
        rule = RULES.get(key)
        passed = rule(value) if rule is not None else None
        if passed is not None:
            yield key, passed
