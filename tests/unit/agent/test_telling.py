"""What a failed job says outside the enclave carries nothing of guest or data."""

import pytest
from hypothesis import given as with_values
from hypothesis import strategies as st

from atoll.errors import AtollError, InputError, SealError
from atoll.wire import schema
from atoll.wire.messages import Reason
from atoll_agent.telling import MAX_TEXT, tell

SECRET = "iris-setosa"
INSIDE = [
    "archive.name",
    "archive.size",
    "archive.malformed",
    "invocation.invalid",
    "invocation.too_large",
    "workload.arguments",
    "workload.output_names",
    "json.malformed",
    "input.invalid",
    "message.invalid",
    "receipt.malformed",
    "name.invalid",
    "internal",
]


@pytest.mark.parametrize("code", INSIDE)
def test_the_text_of_an_error_about_content_stays_inside(code: str) -> None:
    reason = tell(InputError(f"path {SECRET!r} is bad", code=code))
    assert reason.code == code
    assert SECRET not in reason.message
    assert reason.message


def test_an_error_about_ciphertext_keeps_its_text() -> None:
    told = tell(SealError("asset 'iris' was changed at chunk 3", code="asset.tampered"))
    assert told == Reason(code="asset.tampered", message="asset 'iris' was changed at chunk 3")


@with_values(st.text(max_size=3000, alphabet=st.characters(exclude_categories=["Cs"])))
def test_every_reason_is_one_that_the_ledger_takes(text: str) -> None:
    for code in ("asset.digest", "archive.name"):
        reason = tell(AtollError(text, code=code))
        assert len(reason.message) <= MAX_TEXT
        assert schema.decode(Reason, schema.encode(reason)) == reason
