"""Writing and reading result archives."""

import io
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.sealing.archive import (
    MAX_PATH,
    ArchiveEntry,
    ExitRecord,
    require_path,
    write_archive,
)
from atoll.sealing.tar import BLOCK, END, Kind, TarHeader, pax_path
from atoll.sealing.unpack import ArchiveLimits, ArchiveReader, EntryData, EntryEnd, EntryStart

BASE = {"exit.json": b'{"exit_code":0,"outcome":"completed"}', "stderr": b"", "stdout": b"hello\n"}
LONG = "results/" + "/".join(["d" * 200, "ä" * 120, "f" * 255])


def write(files: dict[str, bytes]) -> bytes:
    return b"".join(write_archive(ArchiveEntry.of(name, raw) for name, raw in files.items()))


def read(
    pieces: Iterable[bytes], limits: ArchiveLimits | None = None
) -> tuple[dict[str, bytes], int]:
    """The files, and the most that the reader held at a time."""
    reader = ArchiveReader(limits)
    files: dict[str, bytes] = {}
    current, held = "", 0
    for piece in pieces:
        for event in reader.feed(piece):
            match event:
                case EntryStart(name=name):
                    current = name
                    files[name] = b""
                case EntryData(data=data):
                    files[current] += data
                case EntryEnd():
                    current = ""
        held = max(held, reader.held)
    reader.finish()
    return files, held


def code_of(raw: bytes, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read([raw], limits)
    return caught.value.code


def raw_file(name: bytes, content: bytes = b"") -> bytes:
    header = TarHeader(name=name, size=len(content), kind=Kind.FILE).to_bytes()
    return header + content + bytes(-len(content) % BLOCK)


def raw_record(record: bytes) -> bytes:
    header = TarHeader(name=b"PaxHeaders/path", size=len(record), kind=Kind.PAX).to_bytes()
    return header + record + bytes(-len(record) % BLOCK)


def around(middle: bytes) -> bytes:
    """An archive that is complete but for what stands in the place of the results."""
    return raw_file(b"exit.json") + middle + raw_file(b"stderr") + raw_file(b"stdout") + END


component = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="/\\\x7f\xad"),
    min_size=1,
    max_size=60,
).filter(lambda text: text not in (".", "..") and not any("\x80" <= c <= "\x9f" for c in text))
# Components of one file never begin those of another, so no file is also a directory.
results = st.dictionaries(
    st.lists(component, min_size=1, max_size=4).map(lambda parts: "results/" + "/".join(parts)),
    st.binary(max_size=1100),
    max_size=5,
).filter(lambda files: not any(b.startswith(a + "/") for a in files for b in files))


@given(results, st.lists(st.integers(min_value=0, max_value=1 << 20), max_size=8))
@settings(max_examples=60)
def test_reads_what_was_written_however_it_is_cut(files: dict[str, bytes], at: list[int]) -> None:
    raw = write(BASE | files)
    edges = [0, *sorted(position % (len(raw) + 1) for position in at), len(raw)]
    pieces = [raw[a:b] for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007
    again, held = read(pieces)
    assert again == BASE | files
    assert held <= 3 * BLOCK


@given(results)
@settings(max_examples=40)
def test_the_standard_library_reads_the_same(files: dict[str, bytes]) -> None:
    want = BASE | files
    with tarfile.open(fileobj=io.BytesIO(write(want)), mode="r:") as tar:
        members = tar.getmembers()
        assert {member.name: content(tar, member) for member in members} == want
        for member in members:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
            assert (member.mode, member.type) == (0o644, tarfile.REGTYPE)


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_a_long_path_travels_and_the_standard_library_reads_it() -> None:
    raw = write(BASE | {LONG: b"x"})
    assert read([raw])[0] == BASE | {LONG: b"x"}
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert tar.getnames() == ["exit.json", LONG, "stderr", "stdout"]


def test_order_of_entries_does_not_change_the_archive() -> None:
    files = BASE | {"results/b": b"1", "results/a/c": b"2", "results/a-b": b"3"}
    assert write(files) == write(dict(reversed(files.items())))


def test_holds_little_whatever_the_size_of_a_file() -> None:
    produced = 0

    def chunks() -> Iterable[bytes]:
        nonlocal produced
        for _ in range(64):
            produced += 1
            yield bytes(1 << 16)

    entries = [ArchiveEntry.of(name, raw) for name, raw in BASE.items()]
    entries.append(ArchiveEntry(name="results/big", size=64 << 16, chunks=chunks))
    reader = ArchiveReader()
    seen = 0
    for piece in write_archive(entries):
        # Nothing was read ahead: each piece of content comes out as it is asked for.
        assert produced <= seen + 1
        for event in reader.feed(piece):
            if isinstance(event, EntryData) and len(event.data) == 1 << 16:
                seen += 1
        assert reader.held < BLOCK
    reader.finish()
    assert seen == 64


@pytest.mark.parametrize("size", [0, 2])
def test_refuses_content_of_another_size_than_announced(size: int) -> None:
    entries = [ArchiveEntry.of(name, raw) for name, raw in BASE.items()]
    entries.append(ArchiveEntry(name="results/a", size=size, chunks=lambda: (b"x",)))
    with pytest.raises(InputError) as caught:
        list(write_archive(entries))
    assert caught.value.code == "archive.size"


def test_refuses_a_file_over_the_largest_size_before_writing() -> None:
    entries = [ArchiveEntry.of(name, raw) for name, raw in BASE.items()]
    entries.append(ArchiveEntry(name="results/a", size=8 * 1024**3, chunks=tuple))
    with pytest.raises(InputError) as caught:
        next(write_archive(entries))
    assert caught.value.code == "archive.size"


BAD_PATHS = {
    "empty": "",
    "outside": "other",
    "absolute": "/results/a",
    "the directory itself": "results/",
    "dot": "results/./a",
    "dot dot": "results/../stdout",
    "dot dot at the end": "results/..",
    "empty component": "results//a",
    "trailing slash": "results/a/",
    "NUL": "results/a\x00b",
    "newline": "results/a\nb",
    "escape": "results/\x1b[2J",
    "C1 control": "results/\x9b2J",
    "backslash": "results/a\\b",
    "right-to-left override": "results/\u202egpj.exe",
    "zero width space": "results/a\u200bb",
    "byte order mark": "results/\ufeffa",
    "lone surrogate": "results/\udc80",
    "long component": "results/" + "a" * 256,
    "deep": "results/" + "/".join("a" * 32),
    "long path": "results/" + "/".join(["a" * 250] * 17),
    "below a fixed entry": "stdout/a",
}


@pytest.mark.parametrize("path", BAD_PATHS.values(), ids=BAD_PATHS.keys())
def test_writes_no_bad_path(path: str) -> None:
    with pytest.raises(InputError) as caught:
        write(BASE | {path: b""})
    assert caught.value.code == "archive.name"


@pytest.mark.parametrize(
    "path", [path for path in BAD_PATHS.values() if 0 < len(path) <= 100], ids=repr
)
def test_reads_no_bad_path(path: str) -> None:
    raw = path.encode("utf-8", "surrogateescape")
    # A NUL ends the name in a header; behind it, it is metadata that must be zero.
    block = bytearray(raw_file(b"x"))
    block[: len(raw)] = raw
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    assert code_of(around(bytes(block))) in ("archive.name", "archive.malformed")


@pytest.mark.parametrize(
    "path", [path for path in BAD_PATHS.values() if len(path) > 100], ids=lambda path: path[:12]
)
def test_reads_no_bad_long_path(path: str) -> None:
    middle = raw_record(pax_path(path.encode())) + raw_file(b"long-name")
    assert code_of(around(middle)) in ("archive.name", "archive.malformed")


@given(st.text(max_size=40) | st.text(max_size=40).map(lambda text: "results/" + text))
def test_a_path_is_accepted_or_refused_with_the_one_error(path: str) -> None:
    try:
        require_path(path)
    except InputError:
        return
    assert ".." not in path.split("/")
    assert len(path.encode()) <= MAX_PATH


def test_refuses_a_path_that_is_not_utf_8() -> None:
    assert code_of(around(raw_file(b"results/\xff"))) == "archive.name"


def test_refuses_duplicates_and_disorder() -> None:
    twice = raw_file(b"results/a") * 2
    swapped = raw_file(b"results/b") + raw_file(b"results/a")
    assert code_of(around(twice)) == "archive.name"
    assert code_of(around(swapped)) == "archive.name"
    with pytest.raises(InputError, match="stands twice"):
        list(write_archive([ArchiveEntry.of(n, b"") for n in (*BASE, "stdout")]))


def test_refuses_a_file_that_is_also_a_directory() -> None:
    files = raw_file(b"results/a") + raw_file(b"results/a-b") + raw_file(b"results/a/b/c")
    assert code_of(around(files)) == "archive.name"
    with pytest.raises(InputError, match="is below the file"):
        write(BASE | {"results/a": b"", "results/a-b": b"", "results/a/b/c": b""})


@pytest.mark.parametrize("name", BASE)
def test_refuses_an_archive_without_a_required_entry(name: str) -> None:
    files = {key: value for key, value in BASE.items() if key != name}
    raw = b"".join(raw_file(key.encode(), value) for key, value in files.items()) + END
    assert code_of(raw) == "archive.malformed"
    with pytest.raises(InputError, match=f"{name} is missing"):
        write(files)


MALFORMED = {
    "pax record with nothing behind it": raw_record(pax_path(b"results/" + b"a" * 100))[:-BLOCK],
    "pax record twice": raw_record(pax_path(b"results/" + b"a" * 100)) * 2,
    "pax record and a name": raw_record(pax_path(b"results/" + b"a" * 100))
    + raw_file(b"results/b"),
    "pax record with a size": raw_record(b"12 size=123\n") + raw_file(b"long-name"),
    "empty pax record": raw_record(b"") + raw_file(b"long-name"),
    "huge pax record": raw_record(pax_path(b"results/" + b"a" * 5000)) + raw_file(b"long-name"),
    "pax record by another name": raw_file(b"PaxHeaders/path"),
    "padding": raw_file(b"results/a", b"x")[:-1] + b"\x01",
    "pax padding": raw_record(pax_path(b"results/" + b"a" * 100))[:-1] + b"\x01",
    "directory": raw_file(b"results/a/"),
}


@pytest.mark.parametrize("middle", MALFORMED.values(), ids=MALFORMED.keys())
def test_refuses_what_the_writer_does_not_write(middle: bytes) -> None:
    assert code_of(around(middle)) in ("archive.malformed", "archive.name")


def test_refuses_an_archive_that_ends_on_a_pax_record() -> None:
    raw = around(b"")[: -len(END)] + raw_record(pax_path(b"results/" + b"a" * 100)) + END
    assert code_of(raw) == "archive.malformed"


def test_refuses_every_truncation_and_extension() -> None:
    raw = write(BASE | {"results/a": b"abc"})
    for size in range(len(raw)):
        assert code_of(raw[:size]) == "archive.malformed"
    assert code_of(raw + b"\x00") == "archive.malformed"
    assert code_of(raw + bytes(BLOCK)) == "archive.malformed"


def test_refuses_every_flipped_bit_outside_content() -> None:
    raw = write(BASE | {"results/a": b"abc"})
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            files, _ = read([bytes(flipped)])
        except InputError:
            continue
        # Only content can differ: that is the seal's business.
        assert files.keys() == {*BASE, "results/a"}
        assert write(files) == bytes(flipped)


@given(st.binary(max_size=2 * BLOCK) | st.binary(max_size=BLOCK).map(around))
def test_arbitrary_bytes_raise_only_input_error(raw: bytes) -> None:
    try:
        files, _ = read([raw])
    except InputError:
        return
    assert write(files) == raw


def test_limits_are_exact() -> None:
    raw = write(BASE | {"results/a": b"abc"})
    size = sum(map(len, BASE.values())) + 3
    assert read([raw], ArchiveLimits(entries=4, content_bytes=size))[0]
    assert code_of(raw, ArchiveLimits(entries=3, content_bytes=size)) == "archive.limit"
    assert code_of(raw, ArchiveLimits(entries=4, content_bytes=size - 1)) == "archive.limit"


@pytest.mark.parametrize("code", [None, 0, 1, -11, 255])
def test_exit_record_gives_itself_back(code: int | None) -> None:
    record = ExitRecord(exit_code=code, outcome="limit.wall_time", step="run")
    assert ExitRecord.from_bytes(record.to_bytes()) == record


@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[]",
            b'{"exit_code":0}',
            b'{"exit_code":true,"outcome":"a"}',
            b'{"exit_code":"0","outcome":"a"}',
            b'{"exit_code":0,"outcome":"A"}',
            b'{"exit_code":0,"outcome":1}',
            b'{"exit_code":0,"more":1,"outcome":"a"}',
            b'{"exit_code":0,"outcome":"' + b"a" * 300 + b'"}',
        ]
    )
)
def test_other_exit_records_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        ExitRecord.from_bytes(raw)
    assert caught.value.code == "archive.exit"
