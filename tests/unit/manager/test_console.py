"""What a guest writes to its console is kept within bounds, and away from terminals."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll_manager.bodies import console
from atoll_manager.bodies.console import Console


def test_the_first_and_the_last_are_kept_of_what_is_too_much(tmp_path: Path) -> None:
    kept = Console(tmp_path / "console")
    kept.write(b"[    0.000000] Linux version 6.12\n")
    for number in range(100_000):
        kept.write(b"line %d of a flood\n" % number)
    kept.write(b"Kernel panic - not syncing\n")
    text = (tmp_path / "console").read_text()
    assert text.startswith("[    0.000000] Linux version 6.12\n")
    assert text.endswith("line 99999 of a flood\nKernel panic - not syncing\n")
    assert "left out by the keeper" in text
    assert (tmp_path / "console").stat().st_size <= console.MAX
    assert kept.tail().endswith("not syncing\n")
    kept.close()


def test_what_would_move_a_cursor_becomes_a_question_mark(tmp_path: Path) -> None:
    kept = Console(tmp_path / "console")
    kept.write(b"\x1b[2J\x07ok\r\n\xff\x00\x9b")
    kept.close()
    assert (tmp_path / "console").read_bytes() == b"?[2J?ok\n???"


def test_it_is_the_operator_s_alone(tmp_path: Path) -> None:
    Console(tmp_path / "console").close()
    assert (tmp_path / "console").stat().st_mode & 0o777 == 0o600


@settings(max_examples=20)
@given(st.lists(st.integers(min_value=0, max_value=3 * console.MAX), max_size=6))
def test_it_is_never_longer_than_its_limit(sizes: list[int]) -> None:
    folder = tempfile.mkdtemp()
    path = Path(folder) / "console"
    kept = Console(path)
    try:
        for size in sizes:
            kept.write(b"x" * size)
            assert path.stat().st_size <= console.MAX
            assert len(kept.tail()) <= console.TAIL
    finally:
        kept.close()
        path.unlink()
        path.parent.rmdir()
