"""Requests over NATS at next to no cost of their own, for measuring who answers them.

One blocking socket, no event loop and no task for each request: what a load generator uses of
the machine, those that are measured do not have. It speaks as much of the client protocol as
that takes: CONNECT, SUB, PUB, MSG and HMSG, PING and PONG.
"""

import json
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from atoll.bus import BusConfig
from bench.report import BenchError

READ: Final = 256 << 10
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What became of requests that were sent a few at a time, in the order of the requests."""

    seconds: float
    cpu_seconds: float
    """Processor time that sending and receiving took here."""
    latencies: tuple[float, ...]
    replies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent where."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] | None = None

    def frame(self, reply: bytes) -> bytes:
        """As the client protocol has it."""
        subject, payload = self.subject.encode(), self.payload
        if not self.headers:
            return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
        lines = "".join(f"{key}: {value}\r\n" for key, value in self.headers.items())
        head = b"NATS/1.0\r\n%b\r\n" % lines.encode()
        sizes = (len(head), len(head) + len(payload))
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, *sizes, head, payload)


class LoadClient:
    """A connection that only asks; made in a `with` block."""

    def __init__(self, config: BusConfig) -> None:
        self._config = config
        self._inbox = f"{config.inbox_prefix}.{secrets.token_hex(8)}"
        self._rest = b""

    def __enter__(self) -> Self:
        parts = urlsplit(self._config.url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        options = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "protocol": 1,
            "lang": "python",
            "version": "0",
            "name": self._config.name,
            **self._login(),
        }
        self._socket.sendall(
            b"CONNECT %b\r\nSUB %b.* 1\r\n" % (json.dumps(options).encode(), self._inbox.encode())
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def _login(self) -> dict[str, str]:
        """The fields of CONNECT that say who we are; the server's greeting is read for that."""
        while b"\r\n" not in self._rest:
            read = self._socket.recv(READ)
            if not read:
                raise BenchError("the server closed the connection")
            self._rest += read
        greeting, _, self._rest = self._rest.partition(b"\r\n")
        known = self._config.who.options()
        if "user_jwt_cb" not in known:
            return {"user": known["user"], "pass": known["password"]}
        nonce = json.loads(greeting.removeprefix(b"INFO "))["nonce"]
        return {
            "jwt": known["user_jwt_cb"]().decode(),
            "sig": known["signature_cb"](nonce).decode(),
        }

    def ask(self, subject: str, requests: Sequence[bytes], flying: int) -> Load:
        """Send all, `flying` under way at a time, and wait for every answer.

        Raises:
            BenchError: the server or the service answered an error, or nothing in time.
        """
        return self.send([Message(subject, payload) for payload in requests], flying)

    def send(self, messages: Sequence["Message"], flying: int) -> Load:
        """As `ask`, for messages on subjects of their own; what stores them answers."""
        inbox = self._inbox.encode()
        frames = [message.frame(b"%b.%d" % (inbox, at)) for at, message in enumerate(messages)]
        count = len(frames)
        sent_at, latencies, replies = [0.0] * count, [0.0] * count, [b""] * count
        began, cpu_began = time.perf_counter(), time.process_time()
        sent = min(flying, count)
        sent_at[:sent] = [began] * sent
        self._socket.sendall(b"".join(frames[:sent]))
        left = count
        while left:
            arrived = list(self._messages())
            now = time.perf_counter()
            for number, payload in arrived:
                latencies[number] = now - sent_at[number]
                replies[number] = payload
            left -= len(arrived)
            more = min(count, sent + len(arrived))
            if more > sent:
                sent_at[sent:more] = [now] * (more - sent)
                self._socket.sendall(b"".join(frames[sent:more]))
                sent = more
        return Load(
            seconds=time.perf_counter() - began,
            cpu_seconds=time.process_time() - cpu_began,
            latencies=tuple(latencies),
            replies=tuple(replies),
        )

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """What came with the next read: numbers of requests, and the answers to them."""
        try:
            read = self._socket.recv(READ)
        except OSError as error:
            raise BenchError(f"the bus does not answer: {error}") from error
        if not read:
            raise BenchError("the bus closed the connection")
        raw = self._rest + read
        at = 0
        while (end := raw.find(b"\r\n", at)) >= 0:
            words = raw[at:end].split()
            match words[0]:
                case b"MSG":
                    start, stop = end + 2, end + 2 + int(words[-1])
                    if len(raw) < stop + 2:
                        break
                    yield int(words[1].rpartition(b".")[2]), raw[start:stop]
                    at = stop + 2
                case b"HMSG":
                    start, stop = end + 2, end + 2 + int(words[-1])
                    if len(raw) < stop + 2:
                        break
                    body = start + int(words[-2])
                    head = raw[start:body]
                    # A status line says that nobody serves it, such a header that it was refused.
                    if not head.startswith(b"NATS/1.0\r\n") or b"Nats-Service-Error" in head:
                        raise BenchError(f"the bus says {raw[at : at + 200]!r}")
                    yield int(words[1].rpartition(b".")[2]), raw[body:stop]
                    at = stop + 2
                case b"PING":
                    self._socket.sendall(b"PONG\r\n")
                    at = end + 2
                case b"INFO" | b"PONG":
                    at = end + 2
                case _:
                    raise BenchError(f"the bus says {raw[at : at + 200]!r}")
        self._rest = raw[at:]
