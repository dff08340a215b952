"""Fuzz the target "intel_revocation_list" of `targets.py`; see README.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz.harness import main

if __name__ == "__main__":
    main("intel_revocation_list")
