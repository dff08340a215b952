"""Make Iris.csv from the copy of Fisher's data that scikit-learn ships.

    python -m pip install scikit-learn && python examples/iris/make_dataset.py

Needed only to check where the file comes from; Iris.csv itself is checked in. The layout
(header, `Id` column, LF after every line) is the one in which the data is usually passed
around. scikit-learn follows Fisher's paper; the widespread file follows the UCI copy,
which differs in two rows. `SHA256` is the digest of that file, so a match means that
nothing was made up here.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any, Final

SHA256: Final = "600ac44f23c2e6e0ae37daac8ceb2baba4df963efa580eb31b3b576b28e34c55"
HEADER: Final = "Id,SepalLengthCm,SepalWidthCm,PetalLengthCm,PetalWidthCm,Species"
SPECIES: Final = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
UCI_ROWS: Final = {35: (4.9, 3.1, 1.5, 0.1), 38: (4.9, 3.1, 1.5, 0.1)}
"""By Id. scikit-learn has 4.9,3.1,1.5,0.2 and 4.9,3.6,1.4,0.1."""


def render(measures: list[list[float]], labels: list[int]) -> bytes:
    """The CSV file of the 150 flowers."""
    lines = [HEADER]
    for number, (row, label) in enumerate(zip(measures, labels, strict=True), start=1):
        cells = UCI_ROWS.get(number, tuple(row))
        lines.append(",".join([str(number), *map(str, cells), SPECIES[label]]))
    return ("\n".join(lines) + "\n").encode("ascii")


def main() -> int:
    """Write Iris.csv beside this script, if it is the file it should be."""
    from sklearn.datasets import load_iris  # noqa: PLC0415 - not a dependency of the project

    data: Any = load_iris()
    raw = render(data.data.tolist(), data.target.tolist())
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SHA256:
        print(f"error: made {digest}, want {SHA256}", file=sys.stderr)
        return 1
    Path(__file__).with_name("Iris.csv").write_bytes(raw)
    print(f"Iris.csv: {len(raw)} bytes, SHA-256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
