"""What is written down of an enclave is read back, and nothing else is taken for it."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_manager import records
from atoll_manager.drivers.driver import Claim, EnclaveSpec
from atoll_manager.processes import ProcessId
from atoll_manager.records import EnclaveRecord

RECORD = EnclaveRecord(
    spec=EnclaveSpec(
        enclave_id="e1",
        job_id="j1",
        attempt=3,
        manifest_digest="ab" * 32,
        traceparent="00-1-2-01",
        expires_ms=1_700_000_000_000,
        claim=Claim(reply="$JS.ACK.x", subject="s", payload=bytes(range(256)), headers={"a": "b"}),
    ),
    keeper=ProcessId(10, "boot:1"),
    agent=ProcessId(11, "boot:2"),
    status=-9,
    speaks=2,
)
PLAIN = records.to_plain(RECORD)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_a_record_is_read_back_as_it_was_written() -> None:
    assert records.parse(json.dumps(PLAIN).encode()) == RECORD
    bare = EnclaveRecord(spec=replace(RECORD.spec, claim=None), speaks=1)
    assert records.parse(json.dumps(records.to_plain(bare)).encode()) == bare


def test_one_of_a_release_that_did_not_say_speaks_the_first_level() -> None:
    silent = {name: value for name, value in PLAIN.items() if name != "speaks"}
    assert records.parse(json.dumps(silent).encode()) == replace(RECORD, speaks=1)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_record_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        records.parse(raw)
    assert caught.value.code == "record.invalid"


@given(st.sampled_from(sorted(PLAIN)), JSON)
def test_a_record_with_anything_in_one_field_is_refused_or_legal(name: str, value: object) -> None:
    with suppress(InputError):
        record = records.parse(json.dumps({**PLAIN, name: value}).encode())
        assert records.parse(json.dumps(records.to_plain(record)).encode()) == record


@pytest.mark.parametrize("pid", [0, 1, -1, 1 << 31, True])
def test_a_process_id_that_would_hit_others_is_refused(pid: int) -> None:
    with pytest.raises(InputError):
        records.parse(json.dumps({**PLAIN, "agent": [pid, "boot:1"]}).encode())


@pytest.mark.parametrize("name", ["../../etc/passwd", "a.b", "", "*"])
def test_an_enclave_id_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        records.parse(json.dumps({**PLAIN, "enclave_id": name}).encode())
