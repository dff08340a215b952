"""Archives of datasets: what is in them, nothing beside it, and never more than was agreed on."""

import gzip
import io
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.computation.manifest import ArchiveFormat, Unpacking
from atoll.errors import RefusedError
from atoll_agent.unpacking import unpack

ZIP = Unpacking(format=ArchiveFormat.ZIP, max_bytes=1000, max_files=10)
TAR = Unpacking(format=ArchiveFormat.TAR, max_bytes=1000, max_files=10)
FILES = {"a.csv": b"1,2\n", "dir/b.csv": b"3,4\n"}


def zipped(files: dict[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (FILES if files is None else files).items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(*members: tarfile.TarInfo, files: dict[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (FILES if files is None else files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return made.getvalue()


def unpacked(folder: Path, raw: bytes, how: Unpacking) -> dict[str, bytes]:
    archive, into = folder / "archive", folder / "into"
    archive.write_bytes(raw)
    unpack(archive, into, how)
    assert {path.name for path in folder.iterdir()} == {"archive", "into"}
    return {
        str(path.relative_to(into)): path.read_bytes()
        for path in sorted(into.rglob("*"))
        if path.is_file()
    }


def code_of(folder: Path, raw: bytes, how: Unpacking) -> str:
    with pytest.raises(RefusedError) as caught:
        unpacked(folder, raw, how)
    return caught.value.code


@pytest.mark.parametrize(
    ("raw", "how"),
    [(zipped(), ZIP), (tarred(), TAR), (gzip.compress(tarred()), TAR)],
    ids=["zip", "tar", "tar.gz"],
)
def test_what_is_in_it_is_there(tmp_path: Path, raw: bytes, how: Unpacking) -> None:
    assert unpacked(tmp_path, raw, how) == FILES


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("traversal", tarred(member("../up"))),
        ("traversal", tarred(member("/etc/x"))),
        ("traversal", tarred(member("a/../../x"))),
        ("traversal", tarred(member("line\nend"))),
        ("link", tarred(member("link", tarfile.SYMTYPE, "/etc/passwd"))),
        ("link", tarred(member("link", tarfile.LNKTYPE, "a.csv"))),
        ("device", tarred(member("null", tarfile.CHRTYPE))),
        ("device", tarred(member("pipe", tarfile.FIFOTYPE))),
        ("duplicate", tarred(member("a.csv"))),
        ("duplicate", tarred(member("a.csv/b"))),
        ("malformed", tarred()[:700]),
        ("malformed", gzip.compress(tarred())[:-9]),
        ("malformed", gzip.compress(tarred()) + b"x"),
        ("malformed", zipped()),
        ("malformed", b""),
        ("malformed", b"no archive"),
    ],
)
def test_what_may_not_be_in_a_tar_refuses_all_of_it(tmp_path: Path, code: str, raw: bytes) -> None:
    assert code_of(tmp_path, raw, TAR) == f"archive.{code}"


def with_mode(mode: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    return made.getvalue()


def twice() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", "2")
    return made.getvalue()


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("traversal", zipped({"../up": b""})),
        ("traversal", zipped({"/etc/x": b""})),
        ("link", with_mode(0o120777)),
        ("device", with_mode(0o010644)),
        ("duplicate", twice()),
        ("malformed", zipped()[:50]),
        ("malformed", tarred()),
        ("malformed", b"PK"),
    ],
)
def test_what_may_not_be_in_a_zip_refuses_all_of_it(tmp_path: Path, code: str, raw: bytes) -> None:
    assert code_of(tmp_path, raw, ZIP) == f"archive.{code}"


@pytest.mark.parametrize(
    ("raw", "how"),
    [
        (zipped({"zeros": bytes(50_000_000)}), ZIP),
        (tarred(files={"zeros": bytes(1001)}), TAR),
        (gzip.compress(tarred(files={"zeros": bytes(50_000_000)})), TAR),
        (gzip.compress(bytes(50_000_000)), TAR),
        (zipped({f"{number}": b"" for number in range(11)}), ZIP),
        (tarred(files={f"{number}": b"" for number in range(11)}), TAR),
    ],
)
def test_more_than_was_agreed_on_is_refused(tmp_path: Path, raw: bytes, how: Unpacking) -> None:
    assert code_of(tmp_path, raw, how) == "archive.too_large"


def test_a_refusal_quotes_no_name(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        unpacked(tmp_path, tarred(member("../iris-setosa")), TAR)
    assert "setosa" not in caught.value.message


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([ZIP, TAR]), st.binary(max_size=200), st.integers(0, 10_000))
def test_arbitrary_and_damaged_bytes_are_files_or_the_documented_error(
    tmp_path_factory: pytest.TempPathFactory, how: Unpacking, noise: bytes, at: int
) -> None:
    good = zipped() if how is ZIP else tarred()
    place = at % len(good)
    for raw in (noise, good[:place] + noise + good[place + len(noise) :]):
        with suppress(RefusedError):
            unpacked(tmp_path_factory.mktemp("archive"), raw, how)
