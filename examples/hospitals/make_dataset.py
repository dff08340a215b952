"""Split scikit-learn's breast-cancer data among three hospitals: build/{north,south,east}.csv.

    python examples/build.py hospitals

The data are the Diagnostic Wisconsin Breast Cancer Database (Wolberg, Street, Mangasarian 1993,
UCI, CC BY 4.0): 569 tumours, 30 measurements each. scikit-learn ships them as a CSV file inside its
wheel, which the bundle of examples/logistic holds by its hash; nothing of scikit-learn is run.
Of every ten rows, in the order of the file, five go to the north, three to the south, two east.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
WHEELS: Final = HERE.parent / "logistic" / "build" / "wheels"
SOURCE: Final = "sklearn/datasets/data/breast_cancer.csv"
SHARES: Final = {"north": range(5), "south": range(5, 8), "east": range(8, 10)}
ROWS, COLUMNS = 569, 30
DIAGNOSES: Final = ("malignant", "benign")
SIZES: Final = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave_points", "symmetry", "fractal_dimension"),
)
HEADER: Final = tuple(f"{kind}_{size}" for kind in ("mean", "error", "worst") for size in SIZES)


def tumours() -> list[list[str]]:
    """The rows: measurements, then the diagnosis by name."""
    wheel = next(WHEELS.glob("scikit_learn-*.whl"), None)
    if wheel is None:
        raise SystemExit("error: there is no wheel of scikit-learn (logistic/make_bundle.py)")
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(SOURCE).decode("ascii")
    rows = list(csv.reader(io.StringIO(text)))[1:]
    if len(rows) != ROWS or any(len(row) != COLUMNS + 1 for row in rows):
        raise SystemExit(f"error: {SOURCE} has not {ROWS} rows of {COLUMNS + 1}")
    return [[*row[:COLUMNS], DIAGNOSES[int(row[COLUMNS])]] for row in rows]


def main() -> int:
    """Write one file for each hospital."""
    rows = tumours()
    (HERE / "build").mkdir(exist_ok=True)
    for hospital, places in SHARES.items():
        own = [row for number, row in enumerate(rows) if number % 10 in places]
        path = HERE / "build" / f"{hospital}.csv"
        with path.open("w", encoding="ascii", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([[*HEADER, "diagnosis"], *own])
        print(f"examples/hospitals/build/{path.name}: made, {len(own)} tumours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
