"""A result record opens for its consumers, for one job, under one attested key."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import MessageError, SealError
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey
from atoll.sealing.result import (
    ResultContext,
    ResultRecord,
    make_result,
    open_result,
    verify_result,
)
from atoll.sealing.signature import SigningKey
from atoll.wire import schema

ALICE = PartyKeys.generate("alice", lambda n: b"\x01" * n)
BOB = PartyKeys.generate("bob", lambda n: b"\x02" * n)
ENCLAVE = SigningKey(b"\x03" * 32)
OTHER_ENCLAVE = SigningKey(b"\x04" * 32)
CONTEXT = ResultContext(
    job_id="job-1",
    attempt=2,
    manifest_digest=b"m" * 32,
    evidence_digest=b"e" * 32,
    output="model",
)
KEY = ReleasedKey(content_key=b"k" * 32, salt=b"s" * 32)


def record(
    *consumers: PartyKeys, context: ResultContext = CONTEXT, enclave: SigningKey = ENCLAVE
) -> ResultRecord:
    return make_result(
        enclave,
        context=context,
        asset_id=b"a" * 16,
        size=1234,
        archive_commitment=b"c" * 32,
        key=KEY,
        consumers={party.name: party.public.hpke_key for party in consumers},
    )


GOOD = record(BOB, ALICE)


def code_of(
    shown: ResultRecord,
    expected: ResultContext = CONTEXT,
    consumer: PartyKeys = ALICE,
    enclave: SigningKey = ENCLAVE,
) -> str:
    with pytest.raises(SealError) as caught:
        open_result(
            shown, consumer=consumer, enclave_signing_key=enclave.public_bytes, expected=expected
        )
    return caught.value.code


@pytest.mark.parametrize("consumer", [ALICE, BOB], ids=lambda party: party.name)
def test_opens_for_each_consumer(consumer: PartyKeys) -> None:
    arrived = schema.decode(ResultRecord, schema.encode(GOOD))
    opened = open_result(
        arrived, consumer=consumer, enclave_signing_key=ENCLAVE.public_bytes, expected=CONTEXT
    )
    assert opened == KEY


def test_anybody_can_verify_without_opening() -> None:
    verify_result(GOOD, enclave_signing_key=ENCLAVE.public_bytes, expected=CONTEXT)


OTHER_JOBS = [
    ({"job_id": "job-2"}, "result.other_job"),
    ({"manifest_digest": b"M" * 32}, "result.other_manifest"),
    ({"evidence_digest": b"E" * 32}, "result.other_evidence"),
    ({"attempt": 1}, "result.stale_attempt"),
    ({"output": "table"}, "result.other_output"),
]


@pytest.mark.parametrize(("change", "code"), OTHER_JOBS, ids=str)
def test_refuses_another_job(change: dict[str, object], code: str) -> None:
    assert code_of(GOOD, dataclasses.replace(CONTEXT, **change)) == code  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [change for change, _ in OTHER_JOBS], ids=str)
def test_refuses_a_record_relabelled_for_this_job(change: dict[str, object]) -> None:
    other = record(ALICE, context=dataclasses.replace(CONTEXT, **change))  # type: ignore[arg-type]
    original = {name: getattr(CONTEXT, name) for name in change}
    assert code_of(dataclasses.replace(other, **original)) == "result.signature"


@pytest.mark.parametrize(
    "change", [{"asset_id": b"A" * 16}, {"size": 1}, {"archive_commitment": b"C" * 32}], ids=str
)
def test_refuses_a_record_about_other_bytes(change: dict[str, object]) -> None:
    changed = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
    assert code_of(changed) == "result.signature"


def test_refuses_another_enclave() -> None:
    assert code_of(record(ALICE, enclave=OTHER_ENCLAVE)) == "result.signature"
    assert code_of(GOOD, enclave=OTHER_ENCLAVE) == "result.signature"


def test_refuses_somebody_who_is_no_consumer() -> None:
    assert code_of(record(BOB)) == "result.not_a_consumer"


def test_refuses_a_consumer_with_another_key() -> None:
    impostor = PartyKeys.generate("alice", lambda n: b"\x09" * n)
    assert code_of(GOOD, consumer=impostor) == "result.wrapped"


def test_refuses_consumers_out_of_order_or_twice() -> None:
    first, second = GOOD.consumers
    for consumers in ((second, first), (first, first)):
        shown = dataclasses.replace(GOOD, consumers=consumers)
        assert code_of(shown) == "result.malformed"


def test_refuses_a_removed_consumer_and_exchanged_keys() -> None:
    first, second = GOOD.consumers
    exchanged = (
        dataclasses.replace(first, wrapped=second.wrapped),
        dataclasses.replace(second, wrapped=first.wrapped),
    )
    for consumers in ((first,), exchanged):
        shown = dataclasses.replace(GOOD, consumers=consumers)
        assert code_of(shown) == "result.signature"


def test_refuses_an_unknown_version() -> None:
    shown = dataclasses.replace(GOOD, version=3)
    assert code_of(shown) == "result.unsupported"
    with pytest.raises(MessageError, match="version"):
        schema.decode(ResultRecord, schema.encode(shown))


def test_refuses_every_flipped_bit() -> None:
    raw = schema.encode(record(ALICE))
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            arrived = schema.decode(ResultRecord, bytes(flipped))
        except MessageError:
            continue
        assert code_of(arrived).startswith("result.")


def test_refuses_every_truncation() -> None:
    raw = schema.encode(record(ALICE))
    for size in range(len(raw)):
        with pytest.raises(MessageError):
            schema.decode(ResultRecord, raw[:size])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_message_error(raw: bytes) -> None:
    with pytest.raises(MessageError):
        schema.decode(ResultRecord, raw)


def test_makes_no_record_without_consumers_or_with_a_short_key() -> None:
    with pytest.raises(ValueError, match="1 to 64 consumers"):
        record()
    with pytest.raises(ValueError, match="32 bytes"):
        make_result(
            ENCLAVE,
            context=CONTEXT,
            asset_id=b"a" * 16,
            size=0,
            archive_commitment=b"c" * 32,
            key=ReleasedKey(content_key=b"", salt=b""),
            consumers={"alice": ALICE.public.hpke_key},
        )
