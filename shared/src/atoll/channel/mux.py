"""Several streams over one: a session as one side sees it. Pure.

    mux = Mux(opens=True, max_streams=8)        # the guest
    number = mux.open("bus"); mux.send(number, b"...")
    mux.output(65536)                           # bytes for the wire
    for event in mux.receive(raw): ...

The owner tells what it passed on (`consumed`), for only then may more come: what is held here of
each stream is at most `frames.WINDOW`, and as much as the owner gave to `send`.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from atoll.channel import frames
from atoll.channel.credit import Stream
from atoll.channel.frames import Frame, Type
from atoll.errors import MessageError

MAX_WORDS: Final = 1024
"""Frames that are no data, and that a peer which reads nothing may let pile up."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side wants a stream to this service."""

    stream: int
    service: str


@dataclass(frozen=True, slots=True)
class Received:
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """No more data comes on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The other side sends nothing more on this stream and takes nothing."""

    stream: int
    torn: bool
    """It was closed before its end."""


Event = Opened | Received | Ended | Closed


class Mux:
    """One side of a session.

    Args:
        opens: whether this side opens streams, and not the other one.
        max_streams: at once; one more from the other side is a breach of the protocol.
    """

    def __init__(self, *, opens: bool, max_streams: int) -> None:
        self._opens = opens
        self._max_streams = max_streams
        self._reader = frames.Reader()
        self._streams: dict[int, Stream] = {}
        self._last = 0
        self._met = False
        self._words: deque[bytes] = deque([frames.hello().to_bytes()])
        self._turns: deque[int] = deque()
        """Streams that may have data to send, each once, in turn."""

    @property
    def streams(self) -> int:
        """How many there are, those included whose close was not answered yet."""
        return len(self._streams)

    def open(self, service: str) -> int:
        """A new stream's number.

        Raises:
            MessageError: `channel.service`: no name; `channel.streams`: there are too many.
        """
        if not self._opens:
            raise AssertionError("this side opens no streams")
        if len(self._streams) >= self._max_streams or self._last >= frames.MAX_STREAM:
            raise MessageError(
                f"{len(self._streams)} streams are open, at most {self._max_streams}",
                code="channel.streams",
            )
        frame = frames.opening(self._last + 1, service)
        self._last += 1
        self._streams[self._last] = Stream(self._last, service)
        self._words.append(frame.to_bytes())
        return self._last

    def send(self, number: int, data: bytes) -> None:
        """Let `data` go out when it may. Dropped when the stream is closed on either side."""
        stream = self._streams.get(number)
        if stream is None or stream.closed or stream.gone:
            return
        if stream.ending:
            raise AssertionError("data after its end")
        stream.waiting += data
        self._turn(stream)

    def pending(self, number: int) -> int:
        """Bytes that wait to be sent on a stream; 0 when it is closed."""
        stream = self._streams.get(number)
        return 0 if stream is None else len(stream.waiting)

    def end(self, number: int) -> None:
        """No more data from us, behind what waits."""
        stream = self._streams.get(number)
        if stream is not None and not stream.closed:
            stream.ending = True
            self._turn(stream)

    def close(self, number: int) -> None:
        """Nothing more from us on this stream, at once; what waits is dropped."""
        stream = self._streams.get(number)
        if stream is not None:
            self._close(stream)

    def consumed(self, number: int, size: int) -> None:
        """So much of what was received was passed on."""
        stream = self._streams.get(number)
        if stream is not None and (given := stream.consumed(size)):
            self._words.append(frames.credit(number, given).to_bytes())

    def receive(self, raw: bytes) -> Iterator[Event]:
        """What came.

        Raises:
            MessageError: `channel.frame`, `channel.service`, `channel.state`, `channel.credit`,
                `channel.streams`, `channel.flood`: a breach of the protocol; the session must end.
        """
        for frame in self._reader.feed(raw):
            event = self._take(frame)
            if len(self._words) > MAX_WORDS:
                raise MessageError("it sends and does not read", code="channel.flood")
            if event is not None:
                yield event

    def output(self, size: int) -> bytes:
        """What is to be sent next: whole frames, `size` bytes or one frame more; may be empty."""
        made = bytearray()
        while self._words and len(made) < size:
            made += self._words.popleft()
        while self._turns and len(made) < size:
            stream = self._streams.get(self._turns.popleft())
            if stream is None or not stream.has_work:
                continue
            if piece := stream.take():
                made += Frame(Type.DATA, stream.number, piece).to_bytes()
            if stream.ending and not stream.waiting:
                stream.ended = True
                made += Frame(Type.END, stream.number).to_bytes()
                if stream.over:
                    self._close(stream)
            self._turn(stream)
        return bytes(made)

    def _take(self, frame: Frame) -> Event | None:
        if (frame.type is Type.HELLO) == self._met:
            raise _out_of_turn(frame)
        self._met = True
        if frame.type is Type.HELLO:
            return None
        if frame.type is Type.OPEN:
            return self._opened(frame)
        stream = self._streams.get(frame.stream)
        if stream is None or stream.gone:
            raise _out_of_turn(frame)
        match frame.type:
            case Type.DATA:
                stream.arrived(len(frame.payload))
                if stream.closed:
                    return None  # it was under way
                return Received(frame.stream, frame.payload)
            case Type.CREDIT:
                stream.credited(frame.credit)
                self._turn(stream)
                return None
            case Type.END:
                return self._ended(stream)
            case _:
                return self._gone(stream)

    def _opened(self, frame: Frame) -> Event:
        if self._opens or frame.stream != self._last + 1:
            raise _out_of_turn(frame)
        if len(self._streams) >= self._max_streams:
            raise MessageError(
                f"more than {self._max_streams} streams at once", code="channel.streams"
            )
        self._last = frame.stream
        self._streams[frame.stream] = Stream(frame.stream, frame.service)
        return Opened(frame.stream, frame.service)

    def _ended(self, stream: Stream) -> Event | None:
        if stream.over:
            raise _out_of_turn(Frame(Type.END, stream.number))
        stream.over = True
        if stream.closed:
            return None
        if stream.ended:
            self._close(stream)
        return Ended(stream.number)

    def _gone(self, stream: Stream) -> Event | None:
        stream.gone = True
        told = stream.closed
        torn = not stream.over or not stream.ended
        self._close(stream)
        del self._streams[stream.number]
        # Whoever closed it knows that it is closed.
        return None if told else Closed(stream.number, torn)

    def _close(self, stream: Stream) -> None:
        """Send our close, once; the stream is forgotten when theirs came as well."""
        if stream.closed:
            return
        stream.closed = True
        stream.waiting.clear()
        self._words.append(Frame(Type.CLOSE, stream.number).to_bytes())

    def _turn(self, stream: Stream) -> None:
        if stream.has_work and stream.number not in self._turns:
            self._turns.append(stream.number)


def _out_of_turn(frame: Frame) -> MessageError:
    return MessageError(
        f"{frame.type.name.lower()} of stream {frame.stream} out of turn", code="channel.state"
    )
