"""What a receipt says, and what it must not say."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import ReceiptError
from atoll.receipt.statement import (
    MAX_DATASETS,
    MAX_PARTIES,
    MAX_PREVIOUS,
    MAX_STATEMENT,
    DatasetRef,
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
    from_statement,
    rfc3339,
    round_up_ms,
    to_statement,
)

RESOURCES = Resources(
    wall_ms=1500, fuel=None, memory_bytes=1 << 20, output_bytes=10, output_files=2
)
RECEIPT = Receipt(
    job_id="job-1",
    attempt=1,
    manifest_digest="11" * 32,
    evidence_digest="22" * 32,
    parties=(
        PartyRef(name="alice", signing_key="33" * 32, roles=("algorithm", "consumer")),
        PartyRef(name="bob", signing_key="44" * 32, roles=("data",)),
    ),
    steps=(
        StepRef(
            name="run",
            kind="wasm",
            algorithm="55" * 32,
            bundle=None,
            invocation="77" * 32,
            outcome="workload.exited",
            exit_code=0,
            limits=RESOURCES,
            used=dataclasses.replace(RESOURCES, fuel=12345),
        ),
    ),
    datasets=(DatasetRef(name="iris.csv", commitment="66" * 32),),
    outputs=(
        OutputRef(
            name="results",
            step="run",
            consumers=("alice",),
            outcome="workload.exited",
            commitment="88" * 32,
            sha256="99" * 32,
            size=1234,
        ),
    ),
    outcome="completed",
    started="2026-01-02T03:04:05.006Z",
    finished="2026-01-02T03:04:06.000Z",
    previous=("aa" * 32,),
    agent_version="0.1.0",
)


def code_of(raw: bytes) -> str:
    with pytest.raises(ReceiptError) as caught:
        from_statement(raw)
    return caught.value.code


def changed(path: str, value: object) -> bytes:
    plain: Any = json.loads(to_statement(RECEIPT))
    *parents, last = path.split(".")
    at = plain
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    return canonical.dumps(plain)


def test_gives_the_receipt_back() -> None:
    assert from_statement(to_statement(RECEIPT)) == RECEIPT


def test_is_an_in_toto_statement_about_the_sealed_results() -> None:
    plain = json.loads(to_statement(RECEIPT))
    assert plain.keys() == {"_type", "subject", "predicateType", "predicate"}
    assert plain["_type"] == "https://in-toto.io/Statement/v1"
    assert plain["subject"] == [{"name": "results", "digest": {"sha256": "99" * 32}}]
    assert plain["predicateType"] == "urn:atoll:predicate:job-receipt:v2"
    assert plain["predicate"]["datasets"] == [{"name": "iris.csv", "commitment": "66" * 32}]


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1", "receipt.unsupported"),
        ("predicateType", "urn:atoll:predicate:job-receipt:v1", "receipt.unsupported"),
        ("predicateType", 1, "receipt.unsupported"),
        ("predicate", None, "receipt.malformed"),
        ("predicate.more", 1, "receipt.malformed"),
        ("more", 1, "receipt.malformed"),
        ("subject", [], "receipt.malformed"),
        ("subject.0.digest.sha256", "98" * 32, "receipt.malformed"),
        ("subject.0.name", "other", "receipt.malformed"),
        ("subject.0.digest.sha512", "99" * 64, "receipt.malformed"),
        ("predicate.outputs.0.sha256", "98" * 32, "receipt.malformed"),
        ("predicate.outputs.0.step", "other", "receipt.malformed"),
        ("predicate.outputs", [], "receipt.malformed"),
        ("predicate.steps", [], "receipt.malformed"),
        ("predicate.manifest_digest", "AA" * 32, "receipt.malformed"),
        ("predicate.attempt", 0, "receipt.malformed"),
        ("predicate.attempt", True, "receipt.malformed"),
        ("predicate.parties", [], "receipt.malformed"),
        ("predicate.parties.1.name", "alice", "receipt.malformed"),
        ("predicate.datasets", [{"name": "a", "commitment": "66" * 32}] * 2, "receipt.malformed"),
        ("predicate.previous", ["aa" * 32] * 2, "receipt.malformed"),
        ("predicate.outcome", "Not a code", "receipt.malformed"),
        ("predicate.started", "2026-02-30T00:00:00.000Z", "receipt.malformed"),
        ("predicate.started", "2026-01-02 03:04:05.006Z", "receipt.malformed"),
        ("predicate.started", "2026-01-02T03:04:05.006+00:00", "receipt.malformed"),
        ("predicate.started", "2026-01-02T03:04:06.001Z", "receipt.malformed"),
        ("predicate.finished", "2026-01-02T25:04:06.000Z", "receipt.malformed"),
    ],
    ids=str,
)
def test_refuses_a_changed_statement(path: str, value: object, code: str) -> None:
    assert code_of(changed(path, value)) == code


def test_refuses_other_forms_of_the_same_json() -> None:
    raw = to_statement(RECEIPT)
    assert code_of(raw + b"\n") == "receipt.malformed"
    assert code_of(raw.replace(b'"attempt":1', b'"attempt": 1')) == "receipt.malformed"
    assert code_of(raw.replace(b'"attempt":1', b'"attempt":1,"attempt":1')) == "receipt.malformed"


def test_refuses_every_truncation() -> None:
    raw = to_statement(RECEIPT)
    for size in range(len(raw)):
        assert code_of(raw[:size]) == "receipt.malformed"


def test_refuses_a_statement_that_is_too_large_unread() -> None:
    assert code_of(b" " * (128 * 1024 + 1)) == "receipt.malformed"


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_arbitrary_bytes_raise_only_receipt_error(raw: bytes) -> None:
    with pytest.raises(ReceiptError):
        from_statement(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.sampled_from([f.name for f in dataclasses.fields(Receipt)]), json_values)
def test_arbitrary_field_values_give_a_receipt_or_the_error(field: str, value: object) -> None:
    raw = changed(f"predicate.{field}", value)
    try:
        receipt = from_statement(raw)
    except ReceiptError:
        return
    assert to_statement(receipt) == raw


def test_makes_no_statement_that_would_be_refused() -> None:
    with pytest.raises(ReceiptError):
        to_statement(dataclasses.replace(RECEIPT, finished="2025-01-01T00:00:00.000Z"))
    with pytest.raises(ReceiptError):
        to_statement(dataclasses.replace(RECEIPT, agent_version="0 1"))


def test_writes_times_in_utc_with_milliseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_767_323_045_006) == "2026-01-02T03:04:05.006Z"


@given(st.integers(min_value=0, max_value=1 << 40))
def test_rounds_durations_up_to_a_tenth_of_a_second(duration: int) -> None:
    rounded = round_up_ms(duration)
    assert rounded % 100 == 0
    assert 0 <= rounded - duration < 100


@pytest.mark.parametrize("size", [32, 91, 120, 294, 550])
def test_parties_have_keys_of_every_accepted_length(size: int) -> None:
    parties = (PartyRef(name="alice", signing_key="ab" * size, roles=("consumer",)),)
    said = dataclasses.replace(RECEIPT, parties=parties)
    assert from_statement(to_statement(said)) == said


@pytest.mark.parametrize("key", ["", "ab" * 31, "ab" * 551, "ab" * 32 + "a", "AB" * 32, "zz" * 32])
def test_refuses_a_party_whose_key_is_no_hex_of_such_a_length(key: str) -> None:
    parties = (PartyRef(name="alice", signing_key=key, roles=("consumer",)),)
    with pytest.raises(ReceiptError):
        to_statement(dataclasses.replace(RECEIPT, parties=parties))


def test_the_largest_legal_receipt_fits() -> None:
    name = "n" * 61
    roles = ("algorithm-provider", "data-provider", "invocation-provider", "result-consumer")
    said = dataclasses.replace(
        RECEIPT,
        parties=tuple(
            PartyRef(name=f"{name}{at:03}", signing_key="ab" * 550, roles=roles)
            for at in range(MAX_PARTIES)
        ),
        datasets=tuple(
            DatasetRef(name=f"{name}{at:03}", commitment="66" * 32) for at in range(MAX_DATASETS)
        ),
        previous=tuple(f"{at:064x}" for at in range(MAX_PREVIOUS)),
    )
    assert len(to_statement(said)) <= MAX_STATEMENT
