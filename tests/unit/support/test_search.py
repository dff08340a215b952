"""The search of the leak test finds what it must: else that test could not fail."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.search import find

SECRETS = st.binary(min_size=16, max_size=40)
AROUND = st.binary(max_size=40)

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda raw: raw,
    "reversed": lambda raw: raw[::-1],
    "hex": lambda raw: raw.hex().encode(),
    "HEX": lambda raw: raw.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "JSON": lambda raw: json.dumps(list(raw)).encode(),
    "repr": lambda raw: repr(raw).encode(),
    "zlib": zlib.compress,
    "zlib, fast": lambda raw: zlib.compress(raw, 1),
    "gzip": gzip.compress,
}


@pytest.mark.parametrize("how", ["raw", "reversed", "base64", "base64url", "zlib", "gzip"])
@given(secret=SECRETS, before=AROUND, after=AROUND)
@settings(max_examples=100)
def test_a_secret_among_other_bytes_is_found(
    how: str, secret: bytes, before: bytes, after: bytes
) -> None:
    content = ENCODINGS[how](before + secret + after)
    assert find({"it": secret}, [("there", b"\x01\x02" + content + b"\x03")])


@pytest.mark.parametrize("how", ENCODINGS)
@given(secret=SECRETS)
@settings(max_examples=50)
def test_a_secret_alone_is_found(how: str, secret: bytes) -> None:
    assert find({"it": secret}, [("there", b"<" + ENCODINGS[how](secret) + b">")])


def test_a_text_in_utf_16_is_found() -> None:
    for codec in ("utf-16-le", "utf-16-be"):
        assert find({"it": b"marker-marker"}, [("there", "a marker-marker".encode(codec))])


@given(st.binary(max_size=4096))
@settings(max_examples=50)
def test_what_is_not_there_is_not_found(content: bytes) -> None:
    assert find({"it": b"\x00marker that nobody writes\xff"}, [("there", content)]) == []


def test_a_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        find({"it": b"short"}, [])
