"""The Iris example: programs that train on flowers and answer, compiled if `make setup` did not."""

import json
import subprocess
import sys
from pathlib import Path

from support.stack import ROOT

FOLDER = ROOT / "examples" / "iris"
FLOWERS = FOLDER / "Iris.csv"
GOOD = 0.9


def program(name: str) -> Path:
    """`train` or `infer`, as a module of WebAssembly."""
    made = FOLDER / "build" / f"{name}.wasm"
    if not made.exists():
        subprocess.run([sys.executable, ROOT / "examples" / "build.py", "iris"], check=True)
    return made


def require_good(metrics: str | bytes) -> None:
    """Of what training says about flowers that it did not see (`results/metrics.json`)."""
    found = json.loads(metrics)
    assert found
    assert min(found.values()) > GOOD, found
