"""The table of parity names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_names_is_there() -> None:
    text = (ROOT / "docs" / "parity.md").read_text("utf-8")
    named = set(re.findall(r"`(tests/[^`]+)`", text))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_every_row_is_in_it() -> None:
    text = (ROOT / "docs" / "parity.md").read_text("utf-8")
    first = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| "))
    rows = {"A": 15, "B": 8, "C": 12, "D": 6, "E": 8, "F": 9, "G": 15, "J": 19, "K": 3, "O": 10}
    for letter, last in rows.items():
        numbers = {int(n) for n in re.findall(rf"{letter}(\d+)", first)}
        for low, high in re.findall(rf"{letter}(\d+) to {letter}(\d+)", first):
            numbers |= set(range(int(low), int(high) + 1))
        assert numbers == set(range(1, last + 1)), letter
