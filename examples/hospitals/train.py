"""One model of the tumours of three hospitals; a guest of the kind python without dependencies.

reads   /data/north, /data/south, /data/east   what make_dataset.py wrote
writes  /results/model.json     weights on standardised measurements
        /results/metrics.json   how good it is on tumours that it did not see, by hospital

Every fourth tumour of each hospital is kept back. Logistic regression by gradient descent;
nothing is drawn at random, and what leaves is two small files without a single row in them.
"""

import csv
import json
import math
from pathlib import Path

HOSPITALS = ("north", "south", "east")
ROUNDS, RATE, DECAY, KEPT_BACK = 150, 0.5, 1e-3, 4


def read(hospital: str) -> list[tuple[list[float], int]]:
    """Measurements, and 1 for malignant."""
    with Path("/data", hospital).open(encoding="ascii", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [([float(cell) for cell in row[:-1]], int(row[-1] == "malignant")) for row in rows]


def chance(weights: list[float], row: list[float]) -> float:
    """That a tumour is malignant."""
    score = math.fsum(w * x for w, x in zip(weights, row, strict=True))
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, score))))


def fit(rows: list[tuple[list[float], int]]) -> list[float]:
    """Weights, the last of them the bias."""
    weights = [0.0] * len(rows[0][0])
    for _ in range(ROUNDS):
        gradient = [DECAY * len(rows) * weight for weight in weights[:-1]] + [0.0]
        for row, label in rows:
            error = chance(weights, row) - label
            for place, value in enumerate(row):
                gradient[place] += error * value
        weights = [w - RATE * g / len(rows) for w, g in zip(weights, gradient, strict=True)]
    return weights


def main() -> None:
    """Read, fit, measure, write."""
    rows = {hospital: read(hospital) for hospital in HOSPITALS}
    seen = [
        row
        for some in rows.values()
        for number, row in enumerate(some)
        if number % KEPT_BACK != KEPT_BACK - 1
    ]
    columns = list(zip(*(sizes for sizes, _ in seen), strict=True))
    mean = [math.fsum(column) / len(column) for column in columns]
    scale = [
        math.sqrt(math.fsum((x - m) ** 2 for x in column) / len(column))
        for column, m in zip(columns, mean, strict=True)
    ]

    def standardised(sizes: list[float]) -> list[float]:
        return [*((x - m) / s for x, m, s in zip(sizes, mean, scale, strict=True)), 1.0]

    weights = fit([(standardised(sizes), label) for sizes, label in seen])
    metrics: dict[str, dict[str, int]] = {}
    for hospital, some in rows.items():
        kept_back = some[KEPT_BACK - 1 :: KEPT_BACK]
        right = sum(
            (chance(weights, standardised(sizes)) > 1 / 2) == bool(label)
            for sizes, label in kept_back
        )
        metrics[hospital] = {"tumours": len(some), "kept_back": len(kept_back), "right": right}
    total = sum(one["kept_back"] for one in metrics.values())
    accuracy = round(sum(one["right"] for one in metrics.values()) / total, 4)
    model = {"format": "logistic-regression/1", "mean": mean, "scale": scale, "weights": weights}
    Path("/results/model.json").write_text(json.dumps(model), encoding="ascii")
    Path("/results/metrics.json").write_text(
        json.dumps({"accuracy": accuracy, "learned_from": len(seen), "hospitals": metrics}),
        encoding="ascii",
    )


if __name__ == "__main__":
    main()
