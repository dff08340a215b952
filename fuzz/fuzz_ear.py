"""Fuzz the target "ear" of `targets.py`; see README.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz.harness import main

if __name__ == "__main__":
    main("ear")
