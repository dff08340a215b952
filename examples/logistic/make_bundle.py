"""Make build/bundle.zip: scikit-learn and what it needs, as wheels with their lock.

    python examples/logistic/make_bundle.py

`pip download` fetches the wheels of requirements.txt for this interpreter from wherever pip is
configured to look, and refuses what has another hash. The zip holds the lock and the wheels,
sorted and without times: the same wheels give the same bytes. Nothing is done if it is there
already for this lock and interpreter.

Exit status: 0 made or up to date, 1 pip could not get the wheels.
"""

import hashlib
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
LOCK: Final = HERE / "requirements.txt"
WHEELS: Final = HERE / "build" / "wheels"
BUNDLE: Final = HERE / "build" / "bundle.zip"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""


def wanted() -> str:
    """A digest of what decides which wheels are in the bundle."""
    platform = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}\n"
    return hashlib.sha256(platform.encode() + LOCK.read_bytes()).hexdigest()


def fetch() -> str:
    """Download the wheels; what pip said if it could not."""
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(WHEELS), "--requirement", str(LOCK)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() if done.returncode else ""


def pack() -> None:
    """Lock and wheels in one zip; wheels are compressed already."""
    made = BUNDLE.with_suffix(".tmp")
    members = [LOCK, *sorted(WHEELS.glob("*.whl"))]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for path in members:
            name = path.name if path == LOCK else f"wheels/{path.name}"
            archive.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes())
    made.replace(BUNDLE)


def main() -> int:
    """Make the bundle unless it is up to date."""
    stamp = BUNDLE.with_suffix(".stamp")
    key = wanted()
    fresh = not (BUNDLE.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == key)
    if fresh:
        WHEELS.mkdir(parents=True, exist_ok=True)
        if why := fetch():
            print(f"error: pip could not get the wheels:\n{why}", file=sys.stderr)
            return 1
        pack()
        stamp.write_text(key, encoding="ascii")
    said = "built" if fresh else "up to date"
    print(f"examples/logistic/build/bundle.zip: {said}, {BUNDLE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
