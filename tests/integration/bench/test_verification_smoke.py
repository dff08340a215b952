"""The verification benchmark runs, at sizes whose numbers mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

ENTRY = Path(__file__).resolve().parents[3] / "bench" / "run.py"


def test_verification_stands_beside_bare_signatures_and_another_verifier(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ENTRY), "verification", "--tiny", "--json"],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # noqa: TID251 - as a user runs it
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    (found,) = json.loads(done.stdout)["benchmarks"]
    snp, tdx, attestor, split = (table["rows"] for table in found["tables"])
    assert [row["what"] for row in snp][:2] == ["bare P-384", "Atoll, warm chain"]
    assert {"Atoll, warm collateral", "Atoll, nothing warm"} <= {row["what"] for row in tdx}
    assert len(attestor) == len(split) == 7
    assert all({"attestor", "nats-server", "clients", "together"} <= row.keys() for row in split)
    assert all(row["in a second"] > 0 for row in (*snp, *tdx, *attestor))
