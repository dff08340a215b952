"""Make the project's own vectors: `python tests/vectors/generate.py [--check]`.

Writes `manifest.json` and `files/` beside this script, or with --check only says what
differs from what is there. Exit status: 0 the same or written, 1 different.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support import keystone  # noqa: E402 - the path is set above
from vectors import cases_intel, cases_other, cases_snp, cases_within  # noqa: E402 - the path is set above
from vectors.bundle import Bundle  # noqa: E402 - the path is set above
from vectors.reproducible import reproducible  # noqa: E402 - the path is set above

MANIFEST = "manifest.json"


def build() -> dict[str, bytes]:
    """Every generated file by its path in this folder; the same in every run."""
    bundle = Bundle()
    with reproducible():
        for cases in (cases_snp, cases_intel, cases_other, cases_within):
            cases.add_all(bundle)
        trust = {
            "amd_ark_spki_sha256": cases_snp.ROOTS,
            "intel_sgx_root_spki_sha256": cases_intel.root_spki(),
            "keystone_test_device_public_key": keystone.DEVICE.public.hex(),
        }
    manifest = {
        "format": 1,
        "description": "attestation vectors under the project's own keys; see README.md",
        "generated_by": "tests/vectors/generate.py",
        "trust": trust,
        "vectors": bundle.cases,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    return {MANIFEST: text.encode()} | bundle.files


def stored() -> dict[str, bytes]:
    """What is there."""
    paths = [HERE / MANIFEST, *sorted((HERE / "files").glob("*"))]
    return {str(one.relative_to(HERE)): one.read_bytes() for one in paths if one.is_file()}


def main(arguments: list[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="generate.py")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    made, there = build(), stored()
    differ = sorted(
        path for path in made.keys() | there.keys() if made.get(path) != there.get(path)
    )
    for path in differ:
        print(f"differs: {path}" if options.check else path)  # noqa: T201 - a script
        if options.check:
            continue
        target = HERE / path
        if path in made:
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(made[path])
        else:
            target.unlink()
    return 1 if options.check and differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
