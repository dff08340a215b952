"""One tree has one archive for a container engine, and one id."""

import hashlib
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image.docker_archive import docker_archive, tar
from atoll_cli.image.tree import Device, File, Folder, Link, Tree

LONG = "usr/" + "x" * 96 + "/" + "y" * 99


def tree() -> Tree:
    made = Tree()
    made.add("usr/bin/program", File(b"code", runnable=True))
    made.add("bin", Link("usr/bin"))
    made.add("tmp", Folder(shared=True))
    made.add(LONG, File(b"long"))
    return made


def test_the_layer_is_what_tar_reads() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar([*tree(), ("null", Device(1, 3))]))) as archive:
        found = {member.name: member for member in archive}

    assert found["usr/bin/program"].mode == 0o755
    assert (found["bin"].linkname, found["tmp"].mode) == ("usr/bin", 0o1777)
    assert found[LONG].size == 4
    assert (found["null"].devmajor, found["null"].devminor) == (1, 3)
    assert {(item.uid, item.gid, item.mtime) for item in found.values()} == {(0, 0, 0)}


def test_manifest_configuration_and_layer_name_each_other() -> None:
    made = docker_archive(tree(), tag="1")
    with tarfile.open(fileobj=io.BytesIO(made.archive)) as archive:
        content = {item.name: archive.extractfile(item).read() for item in archive}  # type: ignore[union-attr]
    (manifest,) = json.loads(content["manifest.json"])
    config = content[manifest["Config"]]
    (layer,) = manifest["Layers"]

    assert made.image_id == hashlib.sha256(config).hexdigest()
    assert json.loads(config)["rootfs"]["diff_ids"] == [
        "sha256:" + hashlib.sha256(content[layer]).hexdigest()
    ]
    assert json.loads(config)["config"]["Entrypoint"][-1] == "atoll_agent.main"
    assert made == docker_archive(tree(), tag="1")


@given(st.lists(st.text("ab/", min_size=1, max_size=260), max_size=3))
def test_a_path_fits_a_header_or_is_refused(paths: list[str]) -> None:
    for path in paths:
        try:
            raw = tar([(path, File(b"x"))])
        except InputError as error:
            assert error.code == "image.path"  # noqa: PT017 - either is right
        else:
            with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
                assert archive.getmembers()[0].size in {0, 1}


def test_a_name_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError):
        tar([("x" * 101, File(b""))])
