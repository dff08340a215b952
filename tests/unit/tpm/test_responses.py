"""Whatever a TPM answers is a value or one of two errors."""

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.tpm import codes, commands, responses, templates
from atoll.tpm.codes import TpmError
from atoll.tpm.commands import Command

CREATE = commands.create_primary(codes.ENDORSEMENT, templates.attestation_key())
QUOTE = commands.quote(1, b"", codes.SHA256, [0])
READ = commands.pcr_read(codes.SHA256, [0, 9])
BANKS = commands.get_pcr_banks()
ALLOCATE = commands.pcr_allocate(codes.PLATFORM, (codes.SHA256, range(24)))
PUBLIC = commands.read_public(1)
PARSERS: dict[str, Callable[[bytes], Any]] = {
    "primary": lambda raw: responses.primary(CREATE, raw),
    "quoted": lambda raw: responses.quoted(QUOTE, raw),
    "pcr_values": lambda raw: responses.pcr_values(READ, raw, codes.SHA256),
    "pcr_banks": lambda raw: responses.pcr_banks(BANKS, raw),
    "allocated": lambda raw: responses.allocated(ALLOCATE, raw),
    "public": lambda raw: responses.public(PUBLIC, raw),
    "done": lambda raw: responses.done(commands.startup(), raw),
    "ecc_public": responses.ecc_public,
}


def answer(command: Command, parameters: bytes = b"", *, code: int = 0, handle: int = 7) -> bytes:
    """A response as a TPM makes it."""
    body = struct.pack(">I", handle) if command.has_handle else b""
    if command.has_sessions and code == 0:
        body += struct.pack(">I", len(parameters)) + parameters + bytes(2) + b"\x01" + bytes(2)
    else:
        body += parameters
    if code:
        body = b""
    tag = codes.SESSIONS if command.has_sessions and not code else codes.NO_SESSIONS
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def values(*numbers: int, size: int = 32) -> bytes:
    """Parameters of TPM2_PCR_Read's answer."""
    said = commands.selection((codes.SHA256, numbers))
    digests = b"".join(sized(bytes((number,)) * size) for number in numbers)
    return struct.pack(">I", 3) + said + struct.pack(">I", len(numbers)) + digests


def public(x: bytes = b"\x01" * 32, y: bytes = b"\x02" * 32) -> bytes:
    """The template with a point in it."""
    return templates.attestation_key()[:20] + sized(x) + sized(y)


def test_a_made_key_is_its_handle_and_its_public_part() -> None:
    parameters = sized(b"PUB") + sized(b"data") + sized(bytes(32)) + bytes(6) + sized(b"") * 2

    made = responses.primary(CREATE, answer(CREATE, parameters, handle=0x80000000))

    assert (made.handle, made.public) == (0x80000000, b"PUB")


def test_a_quote_is_what_was_signed_and_the_signature() -> None:
    found = responses.quoted(QUOTE, answer(QUOTE, sized(b"attest") + b"signature"))

    assert (found.attest, found.signature) == (b"attest", b"signature")


def test_registers_are_those_that_the_answer_names() -> None:
    found = responses.pcr_values(READ, answer(READ, values(0, 9)), codes.SHA256)

    assert found == {0: bytes(32), 9: b"\x09" * 32}


def test_a_coordinate_may_be_shorter_than_the_curve() -> None:
    found = responses.ecc_public(public(x=b"\x05"))

    assert (found.x, found.y) == (b"\x05".rjust(32, b"\0"), b"\x02" * 32)
    assert found.attributes == templates.ATTESTATION_KEY_ATTRIBUTES


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x101, "TPM_RC_FAILURE (0x101)"),
        (0x922, "TPM_RC_RETRY (0x922)"),
        (0x1D5, "TPM_RC_SIZE of parameter 1 (0x1d5)"),
        (0x98E, "TPM_RC_AUTH_FAIL of session 1 (0x98e)"),
        (0x18B, "TPM_RC_HANDLE of handle 1 (0x18b)"),
        (0x0A2, "TPM_RC_BAD_AUTH (0x0a2)"),
        (0x7FF00, "TPM_RC_unknown (0x7ff00)"),
    ],
)
def test_a_refusal_says_what_the_tpm_said(code: int, name: str) -> None:
    with pytest.raises(TpmError) as caught:
        responses.quoted(QUOTE, answer(QUOTE, code=code))

    assert caught.value.message == f"the TPM answered TPM2_Quote with {name}"
    assert (caught.value.code, caught.value.response) == ("tpm.refused", code)


@pytest.mark.parametrize(
    ("parser", "raw"),
    [
        ("done", b""),
        ("done", answer(commands.startup()) + b"x"),
        ("done", answer(commands.startup(), b"x")),
        ("done", answer(QUOTE, b"")),
        ("quoted", answer(commands.startup(), sized(b"a"))),
        ("quoted", bytes(5000)),
        ("pcr_values", answer(READ, values(0, 9)[:-1])),
        ("pcr_values", answer(READ, values(0, 9, size=20))),
        ("pcr_values", answer(READ, bytes(4) + b"\0\0\0\xff")),
        ("pcr_values", answer(READ, bytes(4) + commands.selection() + b"\0\0\0\x01")),
        ("pcr_banks", answer(BANKS, b"\0" + struct.pack(">I", 6))),
        (
            "pcr_banks",
            answer(BANKS, struct.pack(">BI", 0, 5) + commands.selection((11, ()), (11, ()))),
        ),
        ("ecc_public", public(x=b"")),
        ("ecc_public", public() + b"x"),
        ("ecc_public", b"\0\x01" + public()[2:]),
        ("ecc_public", public().replace(b"\0\x18", b"\0\x14")),
    ],
)
def test_what_is_no_answer_to_the_command_is_refused(parser: str, raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        PARSERS[parser](raw)


@pytest.mark.parametrize("parser", PARSERS)
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_documented_error(parser: str, raw: bytes) -> None:
    framed = struct.pack(">HII", 0x8001 + len(raw) % 2, 10 + len(raw), 0) + raw
    for one in (raw, framed):
        with contextlib.suppress(MalformedEvidenceError, TpmError):
            PARSERS[parser](one)


@given(raw=st.binary(max_size=20))
def test_a_size_is_within_limits_or_refused(raw: bytes) -> None:
    with contextlib.suppress(MalformedEvidenceError):
        assert 10 <= responses.size_of(raw) <= responses.MAX_RESPONSE
