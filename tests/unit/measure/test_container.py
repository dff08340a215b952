"""What is measured of a container, and how an archive names its image."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import ConfigError
from atoll.measure.container import ARCHIVE, archive_of, archived_image, measure_container

CONFIG = b'{"architecture":"amd64"}'
ID = "sha256:" + hashlib.sha256(CONFIG).hexdigest()


def an_archive(path: Path, manifest: object, config: bytes = CONFIG) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("manifest.json", json.dumps(manifest).encode()),
            ("c.json", config),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_an_archive_names_its_image_by_its_configuration(tmp_path: Path) -> None:
    path = an_archive(tmp_path / ARCHIVE, [{"Config": "c.json"}])
    assert archive_of(str(tmp_path)) == archive_of(str(path)) == path
    assert archived_image(path) == ID


def test_a_name_is_no_archive(tmp_path: Path) -> None:
    assert archive_of("atoll:latest") is None
    assert archive_of(str(tmp_path)) is None


@pytest.mark.parametrize(
    "manifest", [[], [{}], {}, None, [{"Config": "c.json"}] * 2, [{"Config": "elsewhere"}]]
)
def test_an_archive_of_no_one_image_is_refused(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(ConfigError) as caught:
        archived_image(an_archive(tmp_path / "a.tar", manifest))
    assert caught.value.code == "image.unusable"


@settings(deadline=None)
@given(raw=st.binary(max_size=600))
def test_any_file_is_an_archive_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tar"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        archived_image(path)


def test_another_image_is_another_measurement() -> None:
    one, other = measure_container(ID), measure_container("sha256:" + "0" * 64)
    assert len(one) == len(other) == 48
    assert one != other
    for wrong in ("", "latest", ID.upper(), ID + "0"):
        with pytest.raises(ConfigError):
            measure_container(wrong)
