"""A request to the proxy: CONNECT and nothing else. Pure.

RFC 9110, section 9.3.6 (CONNECT), and RFC 9112, sections 2 to 5 (the form of a message):

    CONNECT host:port HTTP/1.1 CRLF *( name ":" value CRLF ) CRLF

HTTP/1.0 is taken too, which some libraries say here. Lines end with CRLF, names are tokens, no
line is folded, and there is no body: a length or an encoding is refused. Fields are not looked at
otherwise and go nowhere.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from atoll.egress.words import REFUSED, UNREACHABLE
from atoll.errors import AtollError, InputError, RefusedError
from atoll.wire.egress import MAX_PORT, is_host

END: Final = b"\r\n\r\n"
MAX_HEAD: Final = 8 << 10
"""Bytes of a request, its end included."""
MAX_FIELDS: Final = 64
MALFORMED: Final = "egress.request"
METHOD: Final = "egress.method"
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]{1,2048}) HTTP/1\.[01]")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[\t\x20-\x7e\x80-\xff]*")
_AUTHORITY: Final = re.compile(r"([!-9;-~]{1,253}):([1-9][0-9]{0,4})")
_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
_STATUS: Final = {
    MALFORMED: (400, "Bad Request"),
    METHOD: (405, "Method Not Allowed"),
    REFUSED: (403, "Forbidden"),
    UNREACHABLE: (502, "Bad Gateway"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to be connected to; the host in lower case."""

    host: str
    port: int

    @property
    def place(self) -> str:
        """`host:port`, as a manifest has it."""
        return f"{self.host}:{self.port}"


def parse_request(head: bytes) -> Target:
    """Where a request wants to, from its first byte to the empty line.

    Raises:
        InputError: `egress.request`: it is no request, or too large.
        RefusedError: `egress.method`: of another method than CONNECT.
    """
    if len(head) > MAX_HEAD or not head.endswith(END):
        raise _malformed(f"want a head of at most {MAX_HEAD} bytes")
    first, *fields = head[: -len(END)].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise _malformed("the first line is no request of HTTP/1.1")
    _require_fields(fields)
    if line[1] != b"CONNECT":
        raise RefusedError("this proxy takes CONNECT and nothing else", code=METHOD)
    authority = _AUTHORITY.fullmatch(line[2].decode("ascii"))
    if authority is None or int(authority[2]) > MAX_PORT:
        raise _malformed("CONNECT wants host:port")
    return Target(authority[1].lower(), int(authority[2]))


def require_listed(target: Target, places: Collection[str]) -> None:
    """Return if it stands in the manifest, literally: nothing is resolved to decide this.

    Raises:
        RefusedError: `network.refused`.
    """
    if not is_host(target.host) or target.place not in places:
        raise RefusedError(f"the manifest does not list {target.place}", code=REFUSED)


def refusal(error: AtollError) -> bytes:
    """The answer that stands for an error, with its code first in the text."""
    status, reason = _STATUS.get(error.code, (502, "Bad Gateway"))
    text = f"{error.code}: {error.message}\n".encode("ascii", "replace")
    lines = [
        f"HTTP/1.1 {status} {reason}",
        "Content-Type: text/plain; charset=us-ascii",
        f"Content-Length: {len(text)}",
        "Connection: close",
    ]
    if error.code == METHOD:
        lines.append("Allow: CONNECT")
    return "\r\n".join(lines).encode("ascii") + END + text


def _require_fields(fields: list[bytes]) -> None:
    if len(fields) > MAX_FIELDS:
        raise _malformed(f"more than {MAX_FIELDS} fields")
    for field in fields:
        match = _FIELD.fullmatch(field)
        if match is None:
            raise _malformed("a line is no field")
        if match[1].lower() in _BODY:
            raise _malformed("CONNECT has no body")


def _malformed(why: str) -> InputError:
    return InputError(why, code=MALFORMED)
