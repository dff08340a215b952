"""What leaves: names, sizes and types, whatever a guest called or wrote."""

import json
import re
import struct
import zipfile
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.computation.media import MAX_CHECKED, is_of
from atoll.computation.outputs import BYTES, FILES, NAMES, TYPES, breach, fits
from support.computations import manifest

OUTPUT = manifest().outputs["model"]
TYPES_OF = (
    "application/octet-stream",
    "application/json",
    "application/zip",
    "text/plain",
    "text/csv",
    "image/png",
)


def test_what_fits_may_leave() -> None:
    assert breach(OUTPUT, [("model.json", 4000), ("more.json", 1000)]) is None
    assert breach(OUTPUT, []) is None


def test_each_rule_has_a_breach_of_its_own() -> None:
    assert breach(OUTPUT, [("a.json", 5001)]) == BYTES
    assert breach(OUTPUT, [("a.json", 2500), ("b.json", 2501)]) == BYTES
    assert breach(OUTPUT, [(f"{n}.json", 1) for n in range(3)]) == FILES
    assert breach(OUTPUT, [("a.csv", 1)]) == NAMES
    assert breach(OUTPUT, [("a/b.json", 1)]) == NAMES
    large = replace(OUTPUT, max_bytes=1 << 34)
    assert breach(large, [("a.json", MAX_CHECKED + 1)]) == TYPES
    loose = replace(large, media_types=("application/octet-stream",))
    assert breach(loose, [("a.json", MAX_CHECKED + 1)]) is None
    assert breach(replace(large, media_types=()), [("a.json", MAX_CHECKED + 1)]) is None
    assert len({one.code for one in (BYTES, FILES, NAMES, TYPES)}) == 4


@pytest.mark.parametrize(
    ("pattern", "name", "is_fit"),
    [
        ("**", "a/b/c", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("*.json", "model.json", True),
        ("*.json", ".json", True),
        ("*.json", "model.jso", False),
        ("plots/*.png", "plots/one.png", True),
        ("plots/*.png", "plots/a/one.png", False),
        ("plots/**.png", "plots/a/one.png", True),
        ("a.b", "axb", False),
        ("[ab]", "a", False),
        ("", "", True),
    ],
)
def test_patterns_mean_what_they_say(pattern: str, name: str, is_fit: bool) -> None:  # noqa: FBT001
    assert fits(pattern, name) is is_fit


@given(st.text("ab/*", max_size=6), st.text("ab/", max_size=8))
def test_a_pattern_is_as_the_regular_expression_would_be(pattern: str, name: str) -> None:
    parts = re.findall(r"\*\*|.", pattern)
    meaning = {"**": ".*", "*": "[^/]*"}
    expected = re.fullmatch("".join(meaning.get(one, re.escape(one)) for one in parts), name)
    assert fits(pattern, name) is (expected is not None)


def test_no_pattern_keeps_an_enclave_busy() -> None:
    assert not fits("**a" * 80, "a" * 79 + "b" * 900)


def test_json_is_one_value_without_doubled_keys() -> None:
    assert is_of("application/json", b'{"a": [1, 2.5, null]}')
    for raw in (b"", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 100 + b"]" * 100, b"1 2"):
        assert not is_of("application/json", raw), raw


def test_text_has_no_control_characters() -> None:
    assert is_of("text/plain", "größe\t1\r\n".encode())
    for raw in (b"\x00", b"\x1b[2J", b"\xff\xfe", b"\x7f"):
        assert not is_of("text/plain", raw)


def test_csv_has_rows_of_one_width() -> None:
    assert is_of("text/csv", b'a,b\r\n1,"2\n3"\r\n\r\n')
    assert is_of("text/csv", b"")
    for raw in (b"a,b\n1\n", b'a\n"1"2\n', b"\x00"):
        assert not is_of("text/csv", raw)


def test_pictures_and_archives_begin_as_such() -> None:
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a", "b")
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + bytes(17)
    assert is_of("application/zip", made.getvalue())
    assert is_of("image/png", png)
    for kind, raw in (("application/zip", b"PK\x03\x04"), ("image/png", png[:10])):
        assert not is_of(kind, raw)


@given(st.sampled_from(TYPES_OF), st.binary(max_size=100))
def test_any_bytes_are_or_are_not(kind: str, raw: bytes) -> None:
    assert is_of(kind, raw) in {True, False}
    assert is_of("application/octet-stream", raw)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=9))
def test_what_json_writes_is_json(value: object) -> None:
    with suppress(UnicodeEncodeError):
        assert is_of("application/json", json.dumps(value).encode())


def test_deep_json_is_no_json() -> None:
    assert not is_of("application/json", b'{"a":' * 100_000)
