"""`python fuzz/run.py TARGET [libFuzzer options] [corpus folders]`; see README.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzz.harness import main

if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        sys.exit("usage: python fuzz/run.py TARGET [libFuzzer options] [corpus folders]")
    main(sys.argv.pop(1))
