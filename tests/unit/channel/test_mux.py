"""Two sides of a session over a pipe that delivers when it likes: nothing lost, nothing stuck."""

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.channel import frames
from atoll.channel.frames import MAX_DATA, WINDOW, Frame, Type
from atoll.channel.mux import MAX_WORDS, Closed, Ended, Mux, Opened, Received
from atoll.errors import MessageError


@dataclass
class Side:
    """One side with an application that sends and that reads slowly."""

    mux: Mux
    to_send: dict[int, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    held: dict[int, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    got: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    ended: set[int] = field(default_factory=set)
    torn: set[int] = field(default_factory=set)
    opened: dict[int, str] = field(default_factory=dict)
    most_held: int = 0

    def receive(self, raw: bytes) -> None:
        for event in self.mux.receive(raw):
            match event:
                case Opened():
                    self.opened[event.stream] = event.service
                case Received():
                    assert event.stream not in self.ended
                    self.held[event.stream].append(event.data)
                    held = sum(map(len, self.held[event.stream]))
                    self.most_held = max(self.most_held, held)
                case Ended():
                    self.ended.add(event.stream)
                case Closed():
                    if event.torn:
                        self.torn.add(event.stream)

    def read_one(self, number: int) -> bool:
        if not self.held[number]:
            return False
        piece = self.held[number].popleft()
        self.got[number] += piece
        self.mux.consumed(number, len(piece))
        return True

    def send_one(self, number: int) -> bool:
        """As an application that waits until what it sent went out."""
        if not self.to_send[number] or self.mux.pending(number):
            return False
        piece = self.to_send[number].popleft()
        if piece:
            self.mux.send(number, piece)
        if not self.to_send[number]:
            self.mux.end(number)
        return True


@dataclass
class World:
    """Both sides and the bytes under way."""

    guest: Side = field(default_factory=lambda: Side(Mux(opens=True, max_streams=8)))
    host: Side = field(default_factory=lambda: Side(Mux(opens=False, max_streams=8)))
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)

    def settle(self, turn: random.Random, *, read: bool = True) -> None:
        """Let everything happen that can, in any order, until nothing more can."""
        while self.round(turn, read=read):
            pass

    def round(self, turn: random.Random, *, read: bool = True) -> int:
        """Each thing that can happen once, in any order; how many did."""
        steps = []
        ways = ((self.guest, self.up, self.down), (self.host, self.down, self.up))
        for side, mine, theirs in ways:
            steps += [
                partial(output, side, mine, turn.choice((1, 100, 1 << 16))),
                partial(deliver, side, theirs, turn.choice((1, 9, 5000, 1 << 17))),
                *(partial(side.send_one, number) for number in list(side.to_send)),
                *(partial(side.read_one, number) for number in list(side.held) if read),
            ]
        turn.shuffle(steps)
        return sum(step() for step in steps)


def output(side: Side, wire: bytearray, size: int) -> bool:
    made = side.mux.output(size)
    wire += made
    return bool(made)


def deliver(side: Side, wire: bytearray, size: int) -> bool:
    raw = bytes(wire[:size])
    del wire[:size]
    side.receive(raw)
    return bool(raw)


def pieces(turn: random.Random) -> list[bytes]:
    return [turn.randbytes(turn.choice((1, 100, 70_000))) for _ in range(turn.randrange(5))] + [b""]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_all_that_is_sent_comes_in_order_on_its_stream_and_all_is_forgotten(seed: int) -> None:
    turn = random.Random(seed)
    world = World()
    sent: dict[tuple[bool, int], bytes] = {}
    for count in range(turn.randrange(1, 9)):
        number = world.guest.mux.open(f"service-{count}")
        for side in (world.guest, world.host):
            parts = pieces(turn)
            sent[side is world.guest, number] = b"".join(parts)
            if side is world.guest:
                side.to_send[number].extend(parts)
    world.settle(turn, read=False)  # the streams are open, and nobody reads for now
    for is_guest, number in sent:
        if not is_guest:
            assert number in world.host.opened
            data = sent[False, number]
            cut = turn.randrange(len(data) + 1)
            world.host.to_send[number].extend([data[:cut], data[cut:]])
    world.settle(turn)
    for (is_guest, number), data in sent.items():
        other = world.host if is_guest else world.guest
        assert bytes(other.got[number]) == data
        assert number in other.ended
        assert number not in other.torn
    assert world.guest.mux.streams == world.host.mux.streams == 0
    assert max(world.guest.most_held, world.host.most_held) <= WINDOW


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_streams_that_are_torn_off_at_any_moment_leave_the_others_alone(seed: int) -> None:
    turn = random.Random(seed)
    world = World()
    torn = [world.guest.mux.open("bus") for _ in range(3)]
    kept = world.guest.mux.open("device")
    data = turn.randbytes(3 * WINDOW)
    world.guest.to_send[kept].extend([data, b""])
    for number in torn:
        world.guest.to_send[number].extend([turn.randbytes(200_000), b""])
    for number in torn:
        for _ in range(turn.randrange(5)):
            world.round(turn)
        turn.choice((world.guest, world.host)).mux.close(number)
    world.settle(turn)
    for number in (*torn, kept):  # one that was not open yet could not be torn off
        world.host.mux.end(number)
    world.settle(turn)
    assert bytes(world.host.got[kept]) == data
    assert world.guest.mux.streams == world.host.mux.streams == 0


def test_who_does_not_read_holds_up_only_its_own_stream() -> None:
    turn = random.Random(1)
    world = World()
    slow, fast = world.guest.mux.open("slow"), world.guest.mux.open("fast")
    world.guest.to_send[slow].extend([bytes(4 * WINDOW), b""])
    world.settle(turn, read=False)
    assert sum(map(len, world.host.held[slow])) == WINDOW
    world.guest.to_send[fast].extend([b"at once", b""])
    world.settle(turn, read=False)
    assert b"".join(world.host.held[fast]) == b"at once"
    assert world.guest.mux.pending(slow) == 3 * WINDOW
    world.settle(turn)
    assert len(world.host.got[slow]) == 4 * WINDOW


def test_streams_take_turns() -> None:
    mux = Mux(opens=True, max_streams=2)
    for number in (mux.open("one"), mux.open("two")):
        mux.send(number, bytes(3 * MAX_DATA))
    out = [frame for frame in frames.Reader().feed(mux.output(1 << 20)) if frame.type is Type.DATA]
    assert [frame.stream for frame in out] == [1, 2, 1, 2, 1, 2]


def met(**changes: int) -> Mux:
    """A host that has heard hello."""
    mux = Mux(opens=False, max_streams=changes.get("max_streams", 8))
    assert not list(mux.receive(frames.hello().to_bytes()))
    return mux


OPEN = frames.opening(1, "bus").to_bytes()
DATA = Frame(Type.DATA, 1, bytes(MAX_DATA)).to_bytes()
END, CLOSE = Frame(Type.END, 1).to_bytes(), Frame(Type.CLOSE, 1).to_bytes()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "channel.frame"),
        (frames.hello().to_bytes(), "channel.state"),
        (DATA, "channel.state"),
        (frames.opening(2, "bus").to_bytes(), "channel.state"),
        (OPEN + OPEN, "channel.state"),
        (OPEN + DATA * (WINDOW // MAX_DATA + 1), "channel.credit"),
        (OPEN + END + DATA, "channel.state"),
        (OPEN + END + END, "channel.state"),
        (OPEN + CLOSE + CLOSE, "channel.state"),
        (OPEN + frames.credit(1, 1).to_bytes(), "channel.credit"),
        (b"".join(frames.opening(n, "x").to_bytes() for n in range(1, 10)), "channel.streams"),
        (
            b"".join(
                frames.opening(n, "x").to_bytes() + Frame(Type.CLOSE, n).to_bytes()
                for n in range(1, MAX_WORDS + 9)
            ),
            "channel.flood",
        ),
    ],
)
def test_a_guest_that_breaks_the_protocol_is_named_for_it(raw: bytes, code: str) -> None:
    with pytest.raises(MessageError) as caught:
        list(met().receive(raw))
    assert caught.value.code == code


def test_before_hello_nothing_is_taken() -> None:
    with pytest.raises(MessageError) as caught:
        list(Mux(opens=False, max_streams=1).receive(OPEN))
    assert caught.value.code == "channel.state"


def test_a_stream_that_was_refused_takes_no_more_than_its_credit() -> None:
    mux = met()
    list(mux.receive(OPEN))
    mux.close(1)
    assert list(mux.receive(DATA * (WINDOW // MAX_DATA))) == []
    with pytest.raises(MessageError):
        list(mux.receive(DATA))


def test_a_host_cannot_open_streams() -> None:
    guest = Mux(opens=True, max_streams=1)
    list(guest.receive(frames.hello().to_bytes()))
    with pytest.raises(MessageError):
        list(guest.receive(OPEN))


def test_a_guest_is_told_when_it_opens_too_many() -> None:
    guest = Mux(opens=True, max_streams=1)
    guest.open("bus")
    with pytest.raises(MessageError) as caught:
        guest.open("bus")
    assert caught.value.code == "channel.streams"
    assert guest.streams == 1


@given(raw=st.binary(max_size=200), opens=st.booleans())
def test_whatever_comes_is_an_event_or_the_one_error(raw: bytes, *, opens: bool) -> None:
    mux = Mux(opens=opens, max_streams=2)
    list(mux.receive(frames.hello().to_bytes()))
    try:
        list(mux.receive(raw))
    except MessageError as error:
        assert error.code.startswith("channel.")  # noqa: PT017
