"""What reaches a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from atoll_cli import text


@given(st.text())
def test_everything_printed_is_printable(value: str) -> None:
    assert text.printable(value).isprintable()


@given(st.binary(max_size=200))
def test_output_is_printable_lines_or_not_shown(raw: bytes) -> None:
    lines = text.lines(raw)
    assert lines is None or all(line.isprintable() for line in lines)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5))
def test_a_table_has_a_printable_line_for_each_row(rows: list[tuple[str, str]]) -> None:
    lines = text.table(rows)
    assert len(lines) == len(rows)
    assert all(line.isprintable() for line in lines)


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    assert text.printable("a\x1b[2Jb\r\u202ec") == "a\\x1b[2Jb\\x0d\\u202ec"


def test_ordinary_text_stays_as_it_is() -> None:
    assert text.printable("Grüße, 世界 100%") == "Grüße, 世界 100%"
    assert text.lines(b"eins\n\tzwei\n") == ["eins", "        zwei"]


def test_binary_and_large_output_is_not_shown() -> None:
    assert text.lines(b"\0\x01") is None
    assert text.lines(b"\xff\xfe") is None
    assert text.lines(b"a" * (text.MAX_SHOWN + 1)) is None


def test_sizes_have_units() -> None:
    assert [text.size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip
