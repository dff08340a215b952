"""What an enclave says on a stream `egress` of its channel, and what it is told. Pure.

    to the host       "may HOST:PORT\\n"     would you connect there?
                      "dial HOST:PORT\\n"    connect there; what follows an "ok" is carried
    to the enclave    "ok\\n"
                      "no CODE\\n"           and the end

CODE is `network.refused` (the host's list, or an address that is not public) or
`network.unreachable`. Neither side believes the other a length: a line is `MAX_LINE` at most.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from atoll.errors import MessageError
from atoll.wire.egress import HOST, MAX_HOST, MAX_PORT, PORT

SERVICE: Final = "egress"
"""The name of the service on the channel."""
REFUSED: Final = "network.refused"
UNREACHABLE: Final = "network.unreachable"
MAX_LINE: Final = 512

_ASKED: Final = re.compile(rf"(may|dial) ({HOST}):({PORT})\n")
_ANSWERS: Final = {
    b"ok\n": "",
    **{f"no {code}\n".encode(): code for code in (REFUSED, UNREACHABLE)},
}


class Verb(Enum):
    MAY = "may"
    DIAL = "dial"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question."""

    verb: Verb
    host: str
    port: int

    def to_bytes(self) -> bytes:
        """As it travels."""
        return f"{self.verb.value} {self.host}:{self.port}\n".encode("ascii")


def decode_asked(line: bytes) -> Asked:
    """A question, with its line's end.

    Raises:
        MessageError: `egress.word`.
    """
    match = _ASKED.fullmatch(line.decode("latin-1")) if len(line) <= MAX_LINE else None
    if match is None or len(match[2]) > MAX_HOST or int(match[3]) > MAX_PORT:
        raise MessageError("an enclave asks for no destination", code="egress.word")
    return Asked(Verb(match[1]), match[2], int(match[3]))


def answer(code: str = "") -> bytes:
    """The answer; without a code: yes."""
    return f"no {code}\n".encode("ascii") if code else b"ok\n"


def decode_answer(line: bytes) -> str:
    """The code of a refusal, or empty: yes.

    Raises:
        MessageError: `egress.word`: another answer.
    """
    try:
        return _ANSWERS[line]
    except KeyError:
        raise MessageError("the host says neither yes nor no", code="egress.word") from None
