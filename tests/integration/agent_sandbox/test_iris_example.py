"""The Iris example does what its README says, in the real sandbox."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from integration.agent_sandbox.rig import Ran, ran

EXAMPLES = Path(__file__).parents[3] / "examples"
CSV = (EXAMPLES / "iris" / "Iris.csv").read_bytes()
FLOWER = '{"sepal_length": 7.0, "sepal_width": 3.2, "petal_length": 4.7, "petal_width": 1.4}'


@pytest.fixture(scope="module")
def programs() -> dict[str, bytes]:
    command = [sys.executable, str(EXAMPLES / "build.py"), "iris"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = EXAMPLES / "iris" / "build"
    return {name: (folder / f"{name}.wasm").read_bytes() for name in ("train", "infer")}


async def trained(programs: dict[str, bytes], csv: bytes = CSV) -> Ran:
    return await ran(programs["train"], data={"iris": csv})


async def test_training_learns_and_inference_names_the_species(programs: dict[str, bytes]) -> None:
    first = await trained(programs)
    assert first.outcome.succeeded, first.stderr
    assert first.stdout.startswith(b"150 flowers: 120 to learn from, 30 held back\n")
    metrics = json.loads(first.results["metrics.json"])
    assert metrics["train_accuracy"] >= 0.93
    assert metrics["validation_accuracy"] >= 0.93
    assert (metrics["train_size"], metrics["validation_size"]) == (120, 30)
    model = first.results["model.json"]
    assert json.loads(model)["format"] == "iris-softmax/1"

    second = await ran(programs["infer"], data={"model": model}, args=[FLOWER])
    assert second.outcome.succeeded, second.stderr
    assert second.stdout == b"Iris-versicolor\n"
    assert second.results == {"results.txt": b"Iris-versicolor\n"}


async def test_the_same_flowers_give_the_same_model_with_either_line_end(
    programs: dict[str, bytes],
) -> None:
    first = await trained(programs)
    second = await trained(programs, CSV.replace(b"\n", b"\r\n"))
    assert first.results == second.results


@pytest.mark.parametrize(
    ("csv", "line"),
    [
        (b"", b"line 1"),
        (CSV.replace(b"Species", b"Kind"), b"line 1"),
        (CSV.replace(b"5.1,", b"abc,", 1), b"line 2"),
        (CSV.replace(b"5.1,", b"nan,", 1), b"line 2"),
        (CSV.replace(b"5.1,", b"-5.1,", 1), b"line 2"),
        (CSV.replace(b"5.1,", b"1e9,", 1), b"line 2"),
        (CSV.replace(b"Iris-setosa", b"Rose", 1), b"line 2"),
        (CSV.replace(b"\n2,", b"\nx,", 1), b"line 3"),
        (CSV + b"\n", b"line 152"),
        (CSV[:100], b"line 3"),
        (CSV + b"\0", b"NUL"),
        (CSV + b"x" * (1 << 20), b"1 MiB"),
    ],
)
async def test_malformed_flowers_are_refused_by_line(
    programs: dict[str, bytes], csv: bytes, line: bytes
) -> None:
    done = await trained(programs, csv)
    assert (done.code, done.outcome.exit_code) == ("workload.exit_nonzero", 1)
    assert done.stderr.startswith(b"error: ")
    assert line in done.stderr
    assert done.results == {}


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "{}",
        "[]",
        FLOWER[:-1],
        FLOWER + "x",
        FLOWER.replace("7.0", "07.0"),
        FLOWER.replace("7.0", "Infinity"),
        FLOWER.replace("7.0", "0x7"),
        FLOWER.replace("7.0", "1e999"),
        FLOWER.replace("7.0", "7."),
        FLOWER.replace("7.0", '"7.0"'),
        FLOWER.replace("7.0", "-7.0"),
        FLOWER.replace("petal_width", "petal_length"),
        FLOWER.replace("petal_width", "stem_length"),
        FLOWER.replace("petal_width", "x" * 100),
        FLOWER.replace("}", ', "more": 1}'),
    ],
)
async def test_an_argument_that_is_not_four_measurements_is_refused(
    programs: dict[str, bytes], argument: str
) -> None:
    done = await ran(programs["infer"], data={"model": MODEL}, args=[argument])
    assert (done.code, done.outcome.exit_code) == ("workload.exit_nonzero", 1)
    assert done.stderr.startswith(b"error: argument")
    assert done.stdout == b""


MODEL = json.dumps(
    {"format": "iris-softmax/1", "mean": [0] * 4, "scale": [1] * 4}
    | {f"Iris-{name}": [0] * 5 for name in ("setosa", "versicolor", "virginica")}
).encode()


@pytest.mark.parametrize(
    "model",
    [
        b"",
        MODEL.replace(b"softmax/1", b"softmax/2"),
        MODEL.replace(b"[1, 1, 1, 1]", b"[1, 1, 1, 0]"),
        MODEL.replace(b"[1, 1, 1, 1]", b"[1, 1, 1]"),
        MODEL[:-1],
    ],
)
async def test_a_model_that_is_none_is_refused(programs: dict[str, bytes], model: bytes) -> None:
    done = await ran(programs["infer"], data={"model": model}, args=[FLOWER])
    assert (done.code, done.outcome.exit_code) == ("workload.exit_nonzero", 1)
    assert done.stderr.startswith(b"error: model")


def test_the_checked_in_flowers_are_the_widespread_file() -> None:
    import hashlib

    script = runpy.run_path(str(EXAMPLES / "iris" / "make_dataset.py"))
    assert hashlib.sha256(CSV).hexdigest() == script["SHA256"]
    rows = [line.split(",") for line in CSV.decode().splitlines()[1:]]
    labels = [script["SPECIES"].index(row[5]) for row in rows]
    measures = [[float(cell) for cell in row[1:5]] for row in rows]
    assert script["render"](measures, labels) == CSV


def test_building_again_changes_nothing_and_an_unknown_example_is_usage() -> None:
    tool = str(EXAMPLES / "build.py")
    again = subprocess.run(
        [sys.executable, tool, "iris"], capture_output=True, text=True, check=True
    )
    again = subprocess.run(
        [sys.executable, tool, "iris"], capture_output=True, text=True, check=True
    )
    assert again.stdout.count("up to date") == 3
    unknown = subprocess.run(
        [sys.executable, tool, "rose"], capture_output=True, text=True, check=False
    )
    assert unknown.returncode == 2
    assert "usage" in unknown.stderr
