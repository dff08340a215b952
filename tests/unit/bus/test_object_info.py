"""Object metadata comes from outside."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.bus.message import StreamMessage
from atoll.bus.object_info import ObjectInfo, to_json
from atoll.errors import MessageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHA = hashlib.sha256(b"x").digest()
VALID = {
    "name": "a",
    "bucket": "assets",
    "nuid": "n1",
    "size": 1,
    "chunks": 1,
    "digest": "SHA-256=" + base64.urlsafe_b64encode(SHA).decode(),
}


def message(payload: bytes) -> StreamMessage:
    return StreamMessage(
        seq=7, subject="$O.assets.M.YQ==", headers={}, payload=payload, time=NOW, pending=0
    )


def parse(**changes: Any) -> ObjectInfo:
    return ObjectInfo.parse(message(json.dumps({**VALID, **changes}).encode()))


def test_reads_what_it_writes() -> None:
    raw = to_json(
        name="a", bucket="assets", nuid="n1", size=5, chunks=2, sha256=SHA, chunk_size=4,
        headers={"k": "v"}, mtime=NOW,
    )  # fmt: skip
    info = ObjectInfo.parse(message(raw))
    assert info == ObjectInfo(
        name="a", bucket="assets", nuid="n1", size=5, chunks=2, digest=SHA.hex(), mtime=NOW,
        headers={"k": "v"}, revision=7,
    )  # fmt: skip


def test_reads_headers_as_go_and_as_python_write_them() -> None:
    assert parse(headers={"a": ["x", "y"], "b": "z"}).headers == {"a": "x", "b": "z"}


def test_reads_the_mark_of_a_deletion() -> None:
    info = parse(deleted=True, digest="")
    assert info.deleted
    assert info.digest == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": 3},
        {"name": "a" * 256},
        {"nuid": "a.>"},
        {"nuid": "*"},
        {"nuid": None},
        {"size": -1},
        {"size": True},
        {"size": 1.5},
        {"size": 1 << 51},
        {"chunks": "1"},
        {"digest": None},
        {"digest": "MD5=xx"},
        {"digest": "SHA-256=!!"},
        {"digest": "SHA-256=QQ=="},
        {"headers": []},
        {"headers": {"a": []}},
        {"headers": {str(i): "x" for i in range(65)}},
        {"options": {"link": {"bucket": "other"}}},
    ],
)
def test_refuses_illegal_metadata(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageError) as caught:
        parse(**changes)
    assert caught.value.code == "bus.object_info"


def test_refuses_metadata_that_is_too_large() -> None:
    with pytest.raises(MessageError, match="at most"):
        ObjectInfo.parse(message(b" " * (64 << 10) + json.dumps(VALID).encode()))


@settings(max_examples=200)
@given(
    st.binary(max_size=80)
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda s: st.dictionaries(
        st.sampled_from([*VALID, "options", "headers", "deleted"]), s | st.lists(s, max_size=2)))
    .map(lambda value: json.dumps(value).encode())
)  # fmt: skip
def test_any_bytes_are_metadata_or_a_message_error(raw: bytes) -> None:
    try:
        info = ObjectInfo.parse(message(raw))
    except MessageError:
        return
    assert info.revision == 7
