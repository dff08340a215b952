"""Every benchmark runs, at sizes whose numbers mean nothing, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atoll.computation.steps import WorkloadKind
from atoll_agent.sandbox.kinds import available
from examples.harness import engine
from support.libvirt import binding, qemu
from support.short import tmp_path as short_path

__all__ = ["short_path"]

ROOT = Path(__file__).resolve().parents[3]
ENTRY = str(ROOT / "bench" / "run.py")


def bench(*arguments: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ENTRY, *arguments],
        env={**os.environ, "TMPDIR": str(scratch)},  # noqa: TID251 - as a user runs it
        capture_output=True,
        text=True,
        check=False,
    )


def tiny(name: str, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of one benchmark, by the beginning of their titles."""
    tables = bench_tables(name, scratch)
    return {title.partition(",")[0]: rows for title, rows in tables.items()}


def bench_tables(name: str, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """The tables of one benchmark by their titles."""
    done = bench(name, "--tiny", "--json", scratch=scratch)
    assert done.returncode == 0, done.stderr
    assert not list(scratch.iterdir())
    document = json.loads(done.stdout)
    assert document["scale"] == "tiny"
    assert document["machine"]["cores"] == str(os.cpu_count())
    (found,) = document["benchmarks"]
    assert found["name"] == name
    return {table["title"]: table["rows"] for table in found["tables"]}


def test_dataset_throughput_compares_both_directions_and_sees_every_process(
    tmp_path: Path,
) -> None:
    tables = tiny("dataset_throughput", tmp_path)
    compared = [(row["direction"], row["contender"]) for row in tables["2 MiB"]]
    assert compared[0] == ("seal and upload", "Atoll")
    assert compared[1] == ("seal and upload", "raw JetStream publish")
    assert compared[4] == ("fetch and open", "Atoll")
    assert all(row["MB/s"] > 0 for row in tables["2 MiB"])
    watched = {row["process"] for row in tables["peak resident memory"]}
    assert watched == {
        "client",
        "agent",
        "atoll up",
        "attestor",
        "gateway",
        "keeper",
        "manager",
        "nats-server",
        "worker (the guest)",
    }


def test_jobs_per_second_stands_beside_three_raw_limits(tmp_path: Path) -> None:
    (rows,) = tiny("jobs_per_second", tmp_path).values()
    assert rows[0]["what"] == "Atoll jobs, 2 slots, 4 clients"
    assert len(rows) == 4
    assert all(row["median"] > 0 for row in rows)


def test_stages_of_a_job_add_up_to_the_whole(tmp_path: Path) -> None:
    tables = tiny("submit_to_result", tmp_path)
    *stages, whole = tables["stages"]
    assert whole["stage"] == "whole job"
    # One run: its medians are its values.
    assert sum(row["median ms"] for row in stages) == pytest.approx(whole["median ms"])
    assert len(tables["raw limits"]) == 4


def test_an_enclave_that_is_ready_stands_beside_one_that_is_started(tmp_path: Path) -> None:
    (rows,) = tiny("warm_start", tmp_path).values()
    assert [row["what"] for row in rows] == ["the enclave's start", "all else", "whole job"]
    for column in ("cold ms", "warm ms"):
        start, rest, whole = (row[column] for row in rows)
        assert start + rest == pytest.approx(whole)  # one run: its medians are its values
    assert all(row["cold / warm"] > 0 for row in rows)


@pytest.mark.timeout(900)
def test_machines_stand_beside_a_process(short_path: Path) -> None:
    binding()
    qemu()
    jobs, image = tiny("machines", short_path).values()
    assert [row["what"] for row in jobs][-1] == "whole job"
    for row in jobs:
        assert row["machine, measured"] > row["process"] > 0
    assert jobs[2]["machine, ready"] < jobs[2]["machine"]
    assert image[1]["value"] < 100


def test_walls_stand_beside_the_bare_program_and_a_kept_module_beside_a_compiled_one(
    tmp_path: Path,
) -> None:
    walled, kept = tiny("walls", tmp_path).values()
    without = {
        "wasm": None,
        "binary": available(WorkloadKind.BINARY),
        "python": available(WorkloadKind.PYTHON),
        "docker": engine.missing(),
    }
    measured = {row["program"].partition(",")[0] for row in walled}
    assert measured == {kind for kind, why in without.items() if why is None}
    assert all(row["bare ms"] > 0 for row in walled)
    assert [row["what"] for row in kept][2] == "loaded from what was kept"


def test_durability_compares_copies_and_the_disk(tmp_path: Path) -> None:
    (rows,) = tiny("durability", tmp_path).values()
    assert [row["setting"].partition(",")[0] for row in rows] == [
        *["one copy"] * 3,
        *["three copies"] * 2,
    ]
    assert rows[0]["x first"] == 1
    assert all(row["first / it"] > 0 for row in rows)


@pytest.mark.timeout(300)
def test_a_fleet_is_measured_by_hosts_and_all_alive_at_once(tmp_path: Path) -> None:
    document = bench_tables("fleet", tmp_path)
    by_hosts = document["processor ms of a job beyond idling, by hosts"]
    assert [row["hosts"] for row in by_hosts] == [1, 3]
    assert by_hosts[0]["all / first"] == 1
    (live,) = document["enclaves that are all alive at once"]
    assert (live["hosts"], live["alive"]) == (2, 4)


@pytest.mark.timeout(300)
def test_a_ledger_is_measured_by_stored_jobs_and_by_the_start_of_a_gateway(tmp_path: Path) -> None:
    document = bench_tables("ledger", tmp_path)
    by_stored = document["processor ms of a job beyond idling, by jobs in the ledger"]
    assert [row["jobs in the ledger"] for row in by_stored] == [2, 20]
    assert by_stored[0]["all / first"] == 1
    assert all(row["managers"] > 0 for row in by_stored)
    for row in document["start of a gateway"]:
        assert row["list s"] >= row["first answer s"] > 0


def test_an_unknown_benchmark_is_a_usage_error(tmp_path: Path) -> None:
    done = bench("no_such", scratch=tmp_path)
    assert done.returncode == 2
    assert "submit_to_result" in done.stderr
