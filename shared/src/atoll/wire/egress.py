"""What a host lets its jobs connect to: its operator's list. Pure.

    example.org:443         one host and one TCP port
    *.example.org:443       every name below example.org, not example.org itself
    10.0.0.5:5432           an address; only so may one be reached that is not public

Names are compared as they stand, in lower case: nothing is resolved to decide what is on a list.
Addresses are IPv4; what looks like a number and is no address in its one usual form is a name.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Self

from atoll.errors import InputError
from atoll.wire.schema import Pattern, Size

HOST: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*"
"""A DNS name in lower case, or an IPv4 address (RFC 1123, section 2.1)."""
PORT: Final = r"[1-9][0-9]{0,4}"
MAX_HOST: Final = 253
MAX_PORT: Final = 65_535
MAX_PLACES: Final = 32
"""In one manifest."""
MAX_RULES: Final = 64
"""In one host's list."""
MAX_TEXT: Final = MAX_HOST + 8

Host = Annotated[str, Size(1, MAX_HOST), Pattern(HOST)]
Place = Annotated[str, Size(3, MAX_TEXT), Pattern(rf"{HOST}:{PORT}")]
"""`host:port` of a destination."""
Rule = Annotated[str, Size(3, MAX_TEXT), Pattern(rf"(?:\*\.)?{HOST}:{PORT}")]
"""What may stand in a host's list."""

_RULE: Final = re.compile(rf"(\*\.)?({HOST}):({PORT})")
_HOST: Final = re.compile(HOST)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A list; the empty one lets nothing out."""

    rules: tuple[str, ...] = ()

    @classmethod
    def parse(cls, rules: Iterable[str]) -> Self:
        """A list out of its rules, in any case.

        Raises:
            InputError: `egress.rule`.
        """
        found = tuple(dict.fromkeys(rule.strip().lower() for rule in rules))
        if len(found) > MAX_RULES:
            raise InputError(f"{len(found)} rules, at most {MAX_RULES}", code="egress.rule")
        for rule in found:
            match = _RULE.fullmatch(rule)
            if match is None or len(match[2]) > MAX_HOST or int(match[3]) > MAX_PORT:
                raise InputError(
                    f"{rule[:80]!r} is no destination",
                    code="egress.rule",
                    hint="want host:port or *.suffix:port; an address is of IPv4",
                )
            if match[1] and is_address(match[2]):
                raise InputError(
                    f"{rule[:80]!r}: there is nothing below an address", code="egress.rule"
                )
        return cls(found)

    def permits(self, host: str, port: int) -> bool:
        """Whether this name or address, as it stands, is on the list with this port."""
        if self.names(host, port):
            return True
        # An address has no names above it.
        parts = [] if is_address(host) else host.split(".")[1:]
        return any(f"*.{'.'.join(parts[at:])}:{port}" in self.rules for at in range(len(parts)))

    def names(self, host: str, port: int) -> bool:
        """Whether it is on the list by itself, not by a name above it."""
        return f"{host}:{port}" in self.rules

    def first_refused(self, places: Iterable[str]) -> str | None:
        """The first of these `host:port` that the list does not let out; None: it lets all."""
        for place in places:
            host, _, port = place.rpartition(":")
            if not self.permits(host, int(port)):
                return place
        return None


def is_host(text: str) -> bool:
    """Whether it can be a destination's host, in lower case."""
    return len(text) <= MAX_HOST and _HOST.fullmatch(text) is not None


def is_address(host: str) -> bool:
    """Whether it is an IPv4 address in its usual form."""
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False
