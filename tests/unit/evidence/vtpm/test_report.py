"""The report of a virtual TPM has one encoding, and limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _cbor
from atoll.evidence.vtpm.report import MAX_REPORT, VtpmReport
from support.vtpm import Guest

REPORT = Guest().report(bytes(64))
PLAIN = _cbor.loads(REPORT.to_bytes(), structure="test", integer_keys=True)


def test_it_is_read_as_it_was_written() -> None:
    assert VtpmReport.from_bytes(REPORT.to_bytes()) == REPORT


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {**PLAIN, "more": b""},
        {**PLAIN, 1: b""},
        {**PLAIN, "attest": "text"},
        {**PLAIN, "attest": bytes(1025)},
        {**PLAIN, "signature": bytes(1025)},
        {**PLAIN, "pcrs": []},
        {**PLAIN, "pcrs": {24: bytes(32)}},
        {**PLAIN, "pcrs": {-1: bytes(32)}},
        {**PLAIN, "pcrs": {"0": bytes(32)}},
        {**PLAIN, "pcrs": {0: bytes(31)}},
        {**PLAIN, "pcrs": {0: "text"}},
        {**PLAIN, "event_log": bytes((64 << 10) + 1)},
    ],
)
def test_what_is_no_report_is_refused(value: object) -> None:
    with pytest.raises(MalformedEvidenceError, match="vTPM report"):
        VtpmReport.from_bytes(_cbor.dumps(value))


def test_another_order_is_another_encoding() -> None:
    raw = REPORT.to_bytes()
    items = [_cbor.dumps(name) + _cbor.dumps(PLAIN[name]) for name in sorted(PLAIN, reverse=True)]

    with pytest.raises(MalformedEvidenceError, match="one encoding"):
        VtpmReport.from_bytes(raw[:1] + b"".join(items))


def test_more_than_the_limit_is_not_looked_at() -> None:
    with pytest.raises(MalformedEvidenceError, match=f"at most {MAX_REPORT}"):
        VtpmReport.from_bytes(bytes(MAX_REPORT + 1))


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_report_or_the_documented_error(raw: bytes) -> None:
    try:
        assert VtpmReport.from_bytes(raw).to_bytes() == raw
    except MalformedEvidenceError:
        return
