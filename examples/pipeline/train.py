"""Fit a softmax regression to clean flowers; a guest of the kind python without dependencies.

reads   /data/flowers         flowers in the layout of Iris.csv
writes  /results/model.json   a model as examples/iris has it (`iris-softmax/1`)

Nothing is drawn at random. Numbers go out as they are, so that who reads the model computes with
the same ones.
"""

import csv
import json
import math
from pathlib import Path

SPECIES = ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
SIZES = ("SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm")
ROUNDS, RATE, DECAY = 300, 0.5, 1e-3


def read(path: str) -> tuple[list[list[float]], list[int]]:
    """Sizes, and numbers of species."""
    with Path(path).open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = [[float(row[name]) for name in SIZES] for row in rows]
    return sizes, [SPECIES.index(row["Species"]) for row in rows]


def standardised(sizes: list[list[float]]) -> tuple[list[float], list[float], list[list[float]]]:
    """Mean and scale of each column, and the rows without both; 1 behind them for the bias."""
    columns = list(zip(*sizes, strict=True))
    mean = [math.fsum(column) / len(column) for column in columns]
    scale = [
        math.sqrt(math.fsum((x - m) ** 2 for x in column) / len(column))
        for column, m in zip(columns, mean, strict=True)
    ]
    rows = [
        [*((x - m) / s for x, m, s in zip(row, mean, scale, strict=True)), 1.0] for row in sizes
    ]
    return mean, scale, rows


def probabilities(weights: list[list[float]], row: list[float]) -> list[float]:
    """Of each species."""
    scores = [sum(w * x for w, x in zip(some, row, strict=True)) for some in weights]
    grown = [math.exp(score - max(scores)) for score in scores]
    return [one / sum(grown) for one in grown]


def fit(rows: list[list[float]], labels: list[int]) -> list[list[float]]:
    """Weights and bias for each species, by gradient descent."""
    width = len(SIZES) + 1
    weights = [[0.0] * width for _ in SPECIES]
    for _ in range(ROUNDS):
        gradient = [[0.0] * width for _ in SPECIES]
        for row, label in zip(rows, labels, strict=True):
            for species, chance in enumerate(probabilities(weights, row)):
                error = chance - (species == label)
                for place, value in enumerate(row):
                    gradient[species][place] += error * value
        for some, slope in zip(weights, gradient, strict=True):
            for place in range(width):
                decay = DECAY * some[place] if place < len(SIZES) else 0.0
                some[place] -= RATE * (slope[place] / len(rows) + decay)
    return weights


def main() -> None:
    """Read, fit, write."""
    sizes, labels = read("/data/flowers")
    mean, scale, rows = standardised(sizes)
    weights = dict(zip(SPECIES, fit(rows, labels), strict=True))
    model = {"format": "iris-softmax/1", "mean": mean, "scale": scale, **weights}
    Path("/results/model.json").write_text(json.dumps(model), encoding="ascii")


if __name__ == "__main__":
    main()
