"""Logistic regression on Iris with scikit-learn; a guest of the kind python with a bundle.

reads   /data/iris              Iris.csv
writes  /results/model.json     coefficients and intercepts as plain numbers, no pickle:
                                whoever opens it runs nothing
        /results/metrics.json   accuracy on either half, and the confusion matrix

It learns from petal length and width of one half of the flowers and is measured on the other;
the split is drawn with a fixed seed and keeps the species in proportion.
"""

import csv
import json
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

FEATURES = ("PetalLengthCm", "PetalWidthCm")
SEED = 42


def main() -> None:
    """Read, fit, measure, write."""
    with Path("/data/iris").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = [[float(row[name]) for name in FEATURES] for row in rows]
    species = [row["Species"] for row in rows]
    x_train, x_test, y_train, y_test = train_test_split(
        sizes, species, test_size=0.5, random_state=SEED, stratify=species
    )
    model = LogisticRegression(random_state=SEED).fit(x_train, y_train)
    written = {
        "format": "logistic-regression/1",
        "features": FEATURES,
        "classes": model.classes_.tolist(),
        "coefficients": model.coef_.tolist(),
        "intercepts": model.intercept_.tolist(),
    }
    metrics = {
        "train_size": len(x_train),
        "test_size": len(x_test),
        "train_accuracy": round(float(model.score(x_train, y_train)), 4),
        "test_accuracy": round(float(model.score(x_test, y_test)), 4),
        "confusion": confusion_matrix(y_test, model.predict(x_test)).tolist(),
    }
    Path("/results/model.json").write_text(json.dumps(written), encoding="ascii")
    Path("/results/metrics.json").write_text(json.dumps(metrics), encoding="ascii")


if __name__ == "__main__":
    main()
