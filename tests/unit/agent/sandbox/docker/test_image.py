"""An image archive is judged whole: what it is made of, or one code that says why not."""

import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.docker.image import Image, read_image
from atoll_agent.sandbox.docker.repack import repack
from support.images import (
    Build,
    File,
    descriptor,
    docker_archive,
    docker_members,
    index,
    oci_archive,
    oci_members,
    program,
    tar,
)

LAYER = tar({"main": program(b"\x7fELF"), "etc/": File(kind=tarfile.DIRTYPE)})
BUILD = Build(layers=(LAYER,), entrypoint=("/main",))


def read(raw: bytes, machine: str = "x86_64") -> Image:
    return read_image(io.BytesIO(raw), machine=machine)


def code_of(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(raw)
    return caught.value.code


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("pack", [docker_archive, oci_archive])
def test_both_layouts_give_the_digest_of_the_configuration(pack: object, *, compress: bool) -> None:
    assert callable(pack)
    build = Build(layers=(LAYER,), entrypoint=("/main",), compress=compress)
    found = read(pack(build))
    assert found.image_id == build.image_id
    assert found.unpacked_size == len(LAYER)
    assert found.run.argv(())


def test_both_layouts_in_one_archive_must_agree() -> None:
    both = {**docker_members(BUILD), **oci_members(BUILD)}
    assert read(tar(both)).image_id == BUILD.image_id
    other = oci_members(Build(layers=(LAYER,), cmd=("/main",)))
    assert code_of(tar({**docker_members(BUILD), **other})) == "image.ambiguous"


def test_what_is_packed_anew_is_the_same_image_under_our_tag() -> None:
    raw = oci_archive(Build(layers=(LAYER,), entrypoint=("/main",), compress=True))
    image = read(raw)
    again = b"".join(repack(io.BytesIO(raw), image, "ours:1"))
    assert read(again).image_id == image.image_id
    with tarfile.open(fileobj=io.BytesIO(again)) as archive:
        listed = archive.extractfile("manifest.json")
        assert listed is not None
        assert json.load(listed)[0]["RepoTags"] == ["ours:1"]


def test_an_image_that_says_nothing_to_start_is_known() -> None:
    assert not read(docker_archive(Build(layers=(LAYER,)))).run.argv(())


def layered(**members: File) -> bytes:
    return docker_archive(Build(layers=(tar(members),), entrypoint=("/main",)))


def changed(**more: object) -> bytes:
    return docker_archive(Build(layers=(LAYER,), entrypoint=("/main",), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("architecture", changed(architecture="arm64")),
        ("architecture", changed(changes={"os": "windows"})),
        ("volumes", changed(run={"Volumes": {"/etc": {}}})),
        ("volumes", changed(run={"vOLUMES": {"/etc": {}}})),
        ("json", changed(run={"Cmd": "text"})),
        ("json", changed(run={"Cmd": [1]})),
        ("json", changed(changes={"OS": "linux"})),
        ("layer_digest", changed(changes={"rootfs": {"type": "layers", "diff_ids": []}})),
        ("path", layered(**{"../x": File()})),
        ("path", layered(**{"/x": File()})),
        ("path", layered(x=File(kind=tarfile.LNKTYPE, link="../y"))),
        ("entry", layered(x=File(kind=tarfile.CHRTYPE))),
        ("layout", tar({"x": File()})),
        ("not_tar", b"x" * 1024),
        ("truncated", b""),
        ("truncated", docker_archive(BUILD)[:2048]),
    ],
)
def test_refuses(code: str, raw: bytes) -> None:
    assert code_of(raw) == f"image.{code}"


def test_refuses_a_layer_name_twice() -> None:
    layer = tar([("main", program(b"1")), ("main", program(b"2"))])
    assert code_of(docker_archive(Build(layers=(layer,)))) == "image.duplicate"


def test_refuses_a_file_that_is_not_what_its_name_says() -> None:
    members = oci_members(BUILD)
    for name in members:
        if name.startswith("blobs/"):
            lie = {**members, name: File(content=members[name].content + b" ")}
            assert code_of(tar(lie)) == "image.digest"


def test_refuses_an_index_of_two_images() -> None:
    members = oci_members(BUILD)
    listed = json.loads(members["index.json"].content)["manifests"]
    two = json.dumps({"schemaVersion": 2, "manifests": listed * 2}).encode()
    assert code_of(tar({**members, "index.json": File(content=two)})) == "image.several"


def test_passes_over_an_attestation_beside_the_image() -> None:
    members = oci_members(BUILD)
    listed = json.loads(members["index.json"].content)["manifests"]
    note = {
        **descriptor(b"{}", "application/vnd.oci.image.manifest.v1+json"),
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    both = json.dumps({"schemaVersion": 2, "manifests": [*listed, note]}).encode()
    assert read(tar({**members, "index.json": File(content=both)})).image_id == BUILD.image_id
    assert code_of(tar({**members, "index.json": File(content=index())})) == "image.several"


ARCHIVE = docker_archive(BUILD)


@given(at=st.integers(0, len(ARCHIVE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_the_same_image_or_a_code(at: int, bit: int) -> None:
    raw = bytearray(ARCHIVE)
    raw[at] ^= 1 << bit
    try:
        found = read(bytes(raw))
    except InputError:
        return
    assert found.image_id == BUILD.image_id


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_image_or_a_code(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read(raw)
    assert caught.value.code.startswith("image.")
