"""What a request asks by a policy of its own, in each of its forms."""

import hashlib
import json
from contextlib import suppress

import pytest
from hypothesis import given as arbitrary
from hypothesis import strategies as st

from atoll.errors import AtollError, InputError
from atoll.policy.document import Mode
from atoll.policy.kinds import requirements
from atoll_attestor.asked import SAFE_DEFAULTS, asked
from unit.attestor import given
from unit.attestor.given import NOW_S, OWNERS

SNP = "snp_report"


def code_of(raw: bytes, kind: str = SNP) -> str:
    with pytest.raises(AtollError) as caught:
        asked(raw, kind, OWNERS, now=NOW_S)
    return caught.value.code


def test_nothing_asks_for_the_safe_defaults() -> None:
    found = asked(b"", SNP, OWNERS, now=NOW_S)
    assert (found.requirements, found.digest, found.version) == ({}, SAFE_DEFAULTS, 0)


def test_requirements_are_known_by_their_bytes() -> None:
    raw = b'{ "vmpl": 0 }'
    found = asked(raw, SNP, OWNERS, now=NOW_S)
    assert found.requirements == {"vmpl": 0}
    assert found.digest == hashlib.sha256(raw).hexdigest()


def test_a_document_is_asked_for_its_section_whoever_wrote_it_and_in_every_mode() -> None:
    for mode in Mode:
        document = given.document(7, mode)
        written = json.dumps(document.to_plain(), indent=1).encode()
        for raw in (document.to_bytes(), written, given.signed(document)):
            found = asked(raw, SNP, OWNERS, now=NOW_S)
            assert found.requirements == requirements(SNP, document)
            assert found.digest == document.digest.hex()
            assert (found.name, found.version) == ("default", 7)


def test_what_looks_signed_must_be_signed_by_the_owners() -> None:
    assert code_of(given.signed(given.document(), given.OTHER)) == "policy.signature"
    forged = json.loads(given.signed(given.document()))
    forged["document"]["version"] = 2
    assert code_of(json.dumps(forged).encode()) == "policy.signature"


def test_a_document_says_nothing_before_its_time_or_about_other_kinds() -> None:
    assert code_of(given.document(not_before=NOW_S + 1).to_bytes()) == "policy.not_yet"
    assert code_of(given.document().to_bytes(), "tdx_quote") == "policy.no_section"
    assert code_of(given.document().to_bytes(), "tpm_quote") == "policy.no_section"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[]", "policy.invalid"),
        (b"{", "json.malformed"),
        (b'{"vmpl": 0, "vmpl": 1}', "json.malformed"),
        (b'{"vmpl": 0.5}', "json.malformed"),
        (b'{"vmpl": NaN}', "json.malformed"),
        (b'{"a": "\\ud800"}', "json.malformed"),
        (b"\xff{}", "json.malformed"),
        (b"[" * 5000, "json.malformed"),
        (b'{"format": "atoll-policy"}', "policy.invalid"),
        (b'{"format": "atoll-signed-policy"}', "policy.invalid"),
    ],
)
def test_what_is_no_policy_is_refused_by_code(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


@arbitrary(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_are_a_value_or_the_documented_error(raw: bytes) -> None:
    with suppress(InputError):
        asked(raw, SNP, OWNERS, now=NOW_S)
