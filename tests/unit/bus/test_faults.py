"""Failures become errors of Atoll, and cross the bus as such."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats import errors as nats_errors

from atoll import errors
from atoll.bus import faults
from atoll.errors import AtollError
from atoll.wire import codec


@pytest.mark.parametrize(
    ("foreign", "cls", "code"),
    [
        (nats_errors.MaxPayloadError(), errors.InputError, "bus.too_large"),
        (nats_errors.BadSubjectError(), errors.InputError, "bus.subject"),
        (nats_errors.AuthorizationError(), errors.RefusedError, "bus.permission"),
        (nats_errors.TimeoutError(), errors.UnreachableError, "bus.timeout"),
        (nats_errors.ConnectionClosedError(), errors.UnreachableError, "bus.unreachable"),
        (nats_errors.OutboundBufferLimitError(), errors.UnreachableError, "bus.unreachable"),
        (ConnectionRefusedError(), errors.UnreachableError, "bus.unreachable"),
    ],
)
def test_translates_exceptions_of_the_client(
    foreign: Exception, cls: type[AtollError], code: str
) -> None:
    with pytest.raises(cls) as caught, faults.translated("asking"):
        raise foreign
    assert caught.value.code == code
    assert caught.value.__cause__ is foreign


@pytest.mark.parametrize(
    ("number", "status", "cls", "code"),
    [
        (10071, 400, errors.ConflictError, "bus.conflict"),
        (10164, 400, errors.ConflictError, "bus.conflict"),
        (10059, 404, errors.NotFoundError, "bus.not_found"),
        (10077, 503, errors.RefusedError, "bus.full"),
        (10054, 400, errors.InputError, "bus.too_large"),
        (10076, 503, errors.ConfigError, "bus.no_jetstream"),
        (10037, 404, errors.NotFoundError, "bus.no_message"),
        (10008, 503, errors.UnreachableError, "bus.unreachable"),
        (10009, 500, errors.UnreachableError, "bus.unreachable"),
        (10158, 409, errors.UnreachableError, "bus.unreachable"),
        (10052, 500, errors.RefusedError, "bus.refused"),
        (None, None, errors.RefusedError, "bus.refused"),
    ],
)
def test_names_the_refusals_of_jetstream(
    number: int | None, status: int | None, cls: type[AtollError], code: str
) -> None:
    error = faults.from_api({"err_code": number, "code": status, "description": "so"}, "it")
    assert type(error) is cls
    assert error.code == code


@pytest.mark.parametrize("garbage", [None, [], "x", 3, {"err_code": "10071", "code": []}])
def test_an_error_object_of_any_shape_is_a_refusal(garbage: object) -> None:
    assert faults.from_api(garbage, "it").code == "bus.refused"


@pytest.mark.parametrize(
    "error",
    [
        errors.InputError("a", code="name.invalid"),
        errors.ManifestError("a"),
        errors.MessageError("a", code="message.too_large"),
        errors.SealError("a"),
        errors.RejectedEvidenceError("a", code="evidence.stale"),
        errors.ReceiptError("a"),
        errors.NotFoundError("a", code="job.not_found"),
        errors.ConflictError("a"),
        errors.RefusedError("a", code="quota.exceeded"),
        errors.UnreachableError("a"),
    ],
)
def test_an_error_arrives_as_the_kind_that_left(error: AtollError) -> None:
    payload, headers = faults.to_wire(error, "id1")
    arrived = faults.from_wire(payload, headers)
    assert arrived is not None
    assert isinstance(error, type(arrived))
    assert type(arrived) is not AtollError
    assert (arrived.code, arrived.message, arrived.error_id) == (error.code, "a", "id1")


@pytest.mark.parametrize("error", [errors.ConfigError("secret"), AtollError("secret")])
def test_our_own_trouble_crosses_as_an_id_only(error: AtollError) -> None:
    payload, headers = faults.to_wire(error, "id1")
    assert b"secret" not in payload
    assert "secret" not in str(headers)
    arrived = faults.from_wire(payload, headers)
    assert arrived is not None
    assert (arrived.code, arrived.error_id) == ("internal", "id1")


def test_the_error_header_is_one_printable_line() -> None:
    _, headers = faults.to_wire(errors.InputError("a\r\nX-Evil: 1 é"), "id1")
    assert headers[faults.ERROR_HEADER] == "input.invalid: a??X-Evil: 1 ?"


def test_a_reply_without_error_headers_is_no_error() -> None:
    payload = codec.packb({"code": "x", "message": "y", "error_id": "z"})
    assert faults.from_wire(payload, {"traceparent": "x"}) is None


@settings(max_examples=200)
@given(st.binary(max_size=64), st.text(max_size=5), st.text(max_size=20))
def test_any_error_reply_is_an_error(payload: bytes, status: str, line: str) -> None:
    headers = {faults.ERROR_CODE_HEADER: status, faults.ERROR_HEADER: line}
    assert isinstance(faults.from_wire(payload, headers), AtollError)
