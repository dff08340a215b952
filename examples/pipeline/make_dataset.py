"""Make build/raw.csv: the flowers of Iris.csv as if several people had typed them.

    python examples/pipeline/make_dataset.py

Every third flower is in millimetres, names of species are spelled in four ways, every tenth
flower stands twice, and some rows lack a field or say impossible things. Nothing is drawn at
random. A program that cleans this well gets the 150 flowers back.
"""

import csv
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
FLOWERS: Final = HERE.parent / "iris" / "Iris.csv"
RAW: Final = HERE / "build" / "raw.csv"
HEADER: Final = "flower,species,sepal_length,sepal_width,petal_length,petal_width,unit"
MILLIMETRES, TWICE, WITHOUT, IMPOSSIBLE = 3, 10, 13, 29
"""Every how many-th flower is in millimetres, stands twice, and is followed by a bad row."""


def rows() -> Iterator[str]:
    """The lines below the header."""
    with FLOWERS.open(encoding="ascii", newline="") as file:
        flowers = list(csv.reader(file))[1:]
    for number, (flower, *cm, species) in enumerate(flowers, start=1):
        bare = species.removeprefix("Iris-")
        spelled = (species, bare, bare.capitalize(), f" {species.upper()} ")[number % 4]
        unit = "mm" if number % MILLIMETRES == 0 else "cm"
        sizes = [str(int(Decimal(size) * 10)) if unit == "mm" else size for size in cm]
        yield ",".join([flower, spelled, *sizes, unit])
        if number % TWICE == 0:
            yield ",".join([flower, species, *sizes, unit])
        if number % WITHOUT == 0:
            yield ",".join([str(number + 1000), species, *sizes[:-1], "", unit])
        if number % IMPOSSIBLE == 0:
            yield ",".join([str(number + 2000), species, "999", *sizes[1:], "cm"])


def main() -> int:
    """Write the file."""
    text = "\n".join([HEADER, *rows()]) + "\n"
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(text, encoding="ascii")
    print(f"examples/pipeline/build/raw.csv: made, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
