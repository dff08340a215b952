"""What a step reads is what the manifest says, linked and never copied or followed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.computation.manifest import ArchiveFormat, Dataset, Unpacking
from atoll.computation.steps import Source
from atoll.errors import RefusedError
from atoll_agent.staging import Staging, link
from support.computations import asset, clean, manifest, train
from unit.agent.test_unpacking import FILES, tarred


def staged(root: Path, **changes: object) -> Staging:
    staging = Staging(root=root, manifest=manifest(**changes))
    staging.prepare()
    for name in staging.manifest.assets():
        if not name.endswith(".invocation"):
            with staging.create(name) as file:
                file.write(name.encode())
    return staging


def test_assets_lie_where_their_steps_look(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    assert staging.space("clean").algorithm.read_bytes() == b"clean.algorithm"
    assert (staging.datasets / "north.csv").read_bytes() == b"north.csv"
    assert staging.path("train.bundle").read_bytes() == b"train.bundle"
    assert all(path.stat().st_mode & 0o777 == 0o400 for path in tmp_path.rglob("*.csv"))


def test_data_is_the_datasets_and_the_results_of_earlier_steps(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    staging.link_inputs(clean())
    data = staging.space("clean").data
    assert {path.name: path.read_bytes() for path in data.iterdir()} == {
        "north": b"north.csv",
        "south": b"south.csv",
    }
    assert (data / "north").stat().st_ino == (staging.datasets / "north.csv").stat().st_ino
    out = staging.space("clean").results / "out"
    out.mkdir()
    (out / "table.csv").write_bytes(b"1,2")
    staging.link_inputs(train())
    assert (staging.space("train").data / "table.csv").read_bytes() == b"1,2"


def test_a_whole_tree_of_results_is_linked(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    results = staging.space("clean").results
    (results / "a/b").mkdir(parents=True)
    (results / "a/b/c").write_bytes(b"deep")
    step = replace(train(), inputs={"all": Source(step="clean")})
    staging.link_inputs(step)
    assert (staging.space("train").data / "all/a/b/c").read_bytes() == b"deep"


@pytest.mark.parametrize("made", ["nothing", "link", "link above", "pipe"])
def test_results_that_are_no_files_are_not_read(tmp_path: Path, made: str) -> None:
    staging = staged(tmp_path)
    results = staging.space("clean").results
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "table.csv").write_bytes(b"marker")
    match made:
        case "link":
            (results / "out").mkdir()
            (results / "out/table.csv").symlink_to(secret / "table.csv")
        case "link above":
            (results / "out").symlink_to(secret)
        case "pipe":
            (results / "out").mkdir()
            os.mkfifo(results / "out/table.csv")
        case _:
            pass
    with pytest.raises(RefusedError) as caught:
        staging.link_inputs(train())
    assert caught.value.code == "pipeline.no_such_result"


def test_a_link_in_a_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/up").symlink_to("/etc")
    with pytest.raises(RefusedError):
        link(tmp_path / "tree", tmp_path / "copy")


def test_a_dataset_that_is_an_archive_becomes_a_directory(tmp_path: Path) -> None:
    how = Unpacking(format=ArchiveFormat.TAR)
    packed = Dataset(asset=asset("north", 6), unpack=how)
    datasets = {**manifest().datasets, "north.csv": packed}
    staging = Staging(root=tmp_path, manifest=manifest(datasets=datasets, steps=(clean(),)))
    staging.prepare()
    with staging.create("north.csv") as file:
        file.write(tarred())
    staging.unpack()
    found = staging.datasets / "north.csv"
    assert {
        str(path.relative_to(found)): path.read_bytes()
        for path in found.rglob("*")
        if path.is_file()
    } == FILES
    assert [path.name for path in staging.datasets.iterdir()] == ["north.csv"]


def test_a_dataset_that_is_no_archive_is_named(tmp_path: Path) -> None:
    packed = Dataset(asset=asset("north", 6), unpack=Unpacking(format=ArchiveFormat.ZIP))
    datasets = {**manifest().datasets, "north.csv": packed}
    staging = staged(tmp_path, datasets=datasets, steps=(clean(),))
    with pytest.raises(RefusedError) as caught:
        staging.unpack()
    assert caught.value.code == "archive.malformed"
    assert "north.csv" in caught.value.message
