"""Frames of a channel: what there is has one form, and anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.channel import frames
from atoll.channel.frames import HEADER, MAX_DATA, WINDOW, Frame, Reader, Type
from atoll.errors import MessageError

FRAMES = st.one_of(
    st.just(frames.hello()),
    st.builds(
        frames.opening,
        st.integers(1, frames.MAX_STREAM),
        st.from_regex(r"[a-z][a-z0-9.-]{0,31}", fullmatch=True),
    ),
    st.builds(Frame, st.just(Type.DATA), st.integers(1, frames.MAX_STREAM), st.binary(min_size=1)),
    st.builds(frames.credit, st.integers(1, frames.MAX_STREAM), st.integers(1, WINDOW)),
    st.builds(Frame, st.sampled_from([Type.END, Type.CLOSE]), st.integers(1, 9)),
)


def test_a_frame_by_hand() -> None:
    assert frames.opening(3, "bus").to_bytes() == b"\x02\x00\x00\x03\x00\x00\x00\x03bus"
    assert frames.credit(1, 258).to_bytes() == b"\x04\0\0\x04\0\0\0\x01\0\0\x01\x02"
    assert list(Reader().feed(b"\x05\0\0\0\0\0\1\0")) == [Frame(Type.END, 256)]


@given(sent=st.lists(FRAMES, max_size=8), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_as_they_were_sent_however_they_are_cut(
    sent: list[Frame], cuts: list[int]
) -> None:
    raw = b"".join(frame.to_bytes() for frame in sent)
    reader, came, turn = Reader(), [], 0
    while raw:
        size = cuts[turn % len(cuts)]
        came += list(reader.feed(raw[:size]))
        raw, turn = raw[size:], turn + 1
    assert came == sent


@given(raw=st.binary(max_size=300))
def test_arbitrary_bytes_are_frames_or_the_one_error(raw: bytes) -> None:
    reader = Reader()
    try:
        for frame in reader.feed(raw):
            assert frame.to_bytes() in raw
    except MessageError as error:
        assert error.code in {"channel.frame", "channel.service"}  # noqa: PT017
    assert len(reader._held) < HEADER + MAX_DATA


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x00\0\0\0\0\0\0\1", "type 0"),
        (b"\x07\0\0\0\0\0\0\1", "type 7"),
        (b"\x05\1\0\0\0\0\0\1", "reserved"),
        (b"\x05\0\0\1\0\0\0\1x", "end of 1 bytes"),
        (b"\x05\0\0\0\0\0\0\0", "stream 0"),
        (b"\x03\0\0\0\0\0\0\1", "data of 0 bytes"),
        (b"\x03\0\x40\x01\0\0\0\1", "data of 16385 bytes"),
        (b"\x04\0\0\4\0\0\0\1\0\0\0\0", "credit of 0 bytes"),
        (b"\x04\0\0\4\0\0\0\1\0\4\0\1", "credit of 262145 bytes"),
        (b"\x02\0\0\x21\0\0\0\1" + b"a" * 33, "open of 33 bytes"),
        (b"\x02\0\0\3\0\0\0\1a/b", "no name"),
        (b"\x02\0\0\3\0\0\0\1a\xffb", "no name"),
        (b"\x01\0\0\x0f\0\0\0\0atoll.channel 2", "another protocol"),
        (b"\x01\0\0\x0f\0\0\0\1atoll.channel 1", "hello of stream 1"),
    ],
)
def test_what_is_no_frame_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(MessageError, match=why):
        list(Reader().feed(raw))


def test_a_frame_too_long_is_refused_by_its_header_alone() -> None:
    with pytest.raises(MessageError):
        list(Reader().feed(b"\x03\0\xff\xff\0\0\0\1"))
