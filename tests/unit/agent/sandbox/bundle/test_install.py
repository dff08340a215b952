"""A bundle is installed as its lock says, or it is refused by its code."""

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.bundle.install import install_bundle, this_interpreter
from atoll_agent.sandbox.bundle.members import Budget, Faults, members
from support import wheels
from support.images import File, tar

HERE = this_interpreter()
WHEEL = wheels.wheel("pack", {"pack/__init__.py": b"x = 1", "pack-1.0.data/purelib/more.py": b"",
                              "pack-1.0.data/scripts/run": b"#!"})  # fmt: skip
NAME = "pack-1.0-py3-none-any.whl"
LOCK = wheels.locked("pack", WHEEL).encode()


def install(raw: bytes, folder: Path) -> dict[str, bytes]:
    into = folder / "bundle"
    install_bundle(io.BytesIO(raw), into, HERE)
    return {
        str(path.relative_to(into)): path.read_bytes()
        for path in into.rglob("*")
        if path.is_file() and ".dist-info" not in str(path)
    }


def code_of(raw: bytes, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        install(raw, folder)
    return caught.value.code


def read(raw: bytes, code: str, most: int = 1 << 20) -> str | None:
    """The code with which reading all members fails; None if it does not."""
    try:
        for member in members(io.BytesIO(raw), Budget(most, 100), faults=Faults.all(code)):
            b"".join(member.chunks)
    except InputError as error:
        return error.code
    return None


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_installs_a_wheel_and_leaves_its_scripts_out(tmp_path: Path, form: str) -> None:
    files = {"requirements.txt": LOCK, f"wheels/{NAME}": WHEEL}
    raw = wheels.zipped(files)
    if form == "tar":
        raw = tar({name: File(content=content) for name, content in files.items()})
    assert install(raw, tmp_path) == {"pack/__init__.py": b"x = 1", "more.py": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_a_marker_may_leave_out_may_be_missing(tmp_path: Path) -> None:
    lock = b"other==1 ; sys_platform == 'win32' --hash=sha256:" + b"0" * 64 + b"\n"
    raw = wheels.zipped({"requirements.txt": LOCK + lock, NAME: WHEEL})
    assert "pack/__init__.py" in install(raw, tmp_path)


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("archive", {NAME: WHEEL}),
        ("archive", {"requirements.txt": LOCK, NAME: WHEEL, "README": b""}),
        ("archive", {"requirements.txt": LOCK, NAME: WHEEL, f"again/{NAME}": WHEEL}),
        ("archive", {"requirements.txt": LOCK, "a/requirements.txt": LOCK}),
        ("archive", {"../requirements.txt": LOCK}),
        ("lock", {"requirements.txt": b"pack"}),
        ("missing", {"requirements.txt": LOCK}),
        ("unlocked", {"requirements.txt": b"", NAME: WHEEL}),
        ("unlocked", {"requirements.txt": LOCK, "pack-2.0-py3-none-any.whl": WHEEL}),
        ("incompatible", {"requirements.txt": LOCK, "pack-1.0-cp38-cp38-win32.whl": WHEEL}),
        ("hash", {"requirements.txt": LOCK, NAME: WHEEL + b"\0"}),
        ("wheel", {"requirements.txt": LOCK, "pack.whl": WHEEL}),
    ],
)
def test_refuses(tmp_path: Path, code: str, files: dict[str, bytes]) -> None:
    assert code_of(wheels.zipped(files), tmp_path) == f"bundle.{code}"


def test_refuses_a_wheel_that_is_none(tmp_path: Path) -> None:
    for number, wheel in enumerate((b"", b"PK", wheels.zipped({"a.py": b""}))):
        lock = wheels.locked("pack", wheel).encode()
        raw = wheels.zipped({"requirements.txt": lock, NAME: wheel})
        (tmp_path / str(number)).mkdir()
        assert code_of(raw, tmp_path / str(number)) == "bundle.wheel"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(at=st.integers(0, len(WHEEL) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_gives_an_archive_or_a_documented_error(at: int, bit: int) -> None:
    changed = bytearray(WHEEL)
    changed[at] ^= 1 << bit
    assert read(bytes(changed), "wheel") in {None, "bundle.wheel", "bundle.too_large"}


@given(st.binary(max_size=600), st.sampled_from([b"", b"PK\3\4", b"PK\5\6"]))
def test_any_bytes_are_an_archive_or_a_documented_error(raw: bytes, head: bytes) -> None:
    assert read(head + raw, "archive") in {None, "bundle.archive", "bundle.too_large"}


def test_more_than_the_budget_is_refused_while_it_is_read() -> None:
    raw = wheels.zipped({"zeros": bytes(1 << 20)})
    assert read(raw, "wheel", (1 << 20) - 1) == "bundle.too_large"
    assert read(raw, "wheel", 1 << 20) is None
