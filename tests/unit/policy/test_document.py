"""Documents: one encoding, every section complete, absence and unknown things refuse."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.keystone.policy import (
    KeystonePolicy,
    keystone_policy_from_json,
    keystone_policy_to_json,
)
from atoll.evidence.policy_forms import UNCHECKED
from atoll.policy.document import MAX_DOCUMENT, Mode, PolicyDocument
from atoll.policy.sections import SECTIONS
from atoll.policy.signed import SignedPolicy
from atoll.policy.state import PolicyState
from atoll.policy.templates import strict
from support.policies import document

RAW = document().to_bytes()
CODES = {"policy.invalid", "name.invalid", "json.malformed", "json.not_canonical"}


def _code(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        PolicyDocument.from_bytes(raw)
    return caught.value.code


def _changed(path: str, value: Any = None, *, drop: bool = False) -> bytes:
    plain = json.loads(RAW)
    *parents, last = path.split("/")
    target = plain
    for parent in parents:
        target = target[parent]
    if drop:
        del target[last]
    else:
        target[last] = value
    return canonical.dumps(plain)


def test_what_is_written_is_read_and_has_one_name() -> None:
    read = PolicyDocument.from_bytes(RAW)
    assert read == document()
    assert read.digest == document().digest
    assert document(version=4).digest != read.digest


def test_every_registered_tee_has_a_template_that_survives_its_json() -> None:
    for tee, section in SECTIONS.items():
        size = {"keystone": 64, "vtpm": 32}.get(tee, 48)
        policy = strict(tee, frozenset({bytes(size)}))
        assert isinstance(policy, section.kind)
        assert section.tee == tee
        assert section.from_json(section.to_json(policy)) == policy
        assert set(section.identity + section.fresh) <= set(policy.__slots__)
    with pytest.raises(InputError):
        strict("sgx", frozenset())


@pytest.mark.parametrize(
    "path",
    [
        *json.loads(RAW),
        *(
            f"sections/{tee}/{name}"
            for tee in SECTIONS
            for name in json.loads(RAW)["sections"][tee]
        ),
    ],
)
def test_absence_refuses(path: str) -> None:
    assert _code(_changed(path, drop=True)) == "policy.invalid"


@pytest.mark.parametrize("path", ["extra", *(f"sections/{tee}/extra" for tee in SECTIONS)])
def test_unknown_fields_are_refused(path: str) -> None:
    assert _code(_changed(path, 1)) == "policy.invalid"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "atoll-signed-policy"),
        ("format_version", 2),
        ("format_version", True),
        ("name", 7),
        ("version", 0),
        ("version", True),
        ("version", "3"),
        ("not_before", -1),
        ("not_before", None),
        ("mode", "off"),
        ("mode", ["enforce"]),
        ("sections", []),
        ("sections/sgx", {}),
        ("sections/vtpm", {}),
        ("sections/vtpm/pcr9s", None),
        ("sections/vtpm/allow_host_tpm", "unchecked"),
        ("sections/vtpm/pcr_values", {"16": "00" * 32}),
        ("sections/sev-snp", None),
        ("sections/sev-snp/measurements", None),
        ("sections/sev-snp/allow_debug", "unchecked"),
        ("sections/sev-snp/tee", "tdx"),
        ("sections/tdx/tcb_statuses", "unchecked"),
        ("sections/tdx/tcb_statuses", ["Revoked"]),
        ("sections/keystone/data", "00" * 1025),
        ("sections/keystone/sm_hashes", ["00" * 63]),
        ("sections/keystone/allow_derivable_sm_key", 1),
        ("sections/keystone/version", 2),
    ],
)
def test_refuses_values_that_cannot_be(path: str, value: Any) -> None:
    assert _code(_changed(path, value)) == "policy.invalid"


def test_refuses_a_name_that_is_a_path() -> None:
    assert _code(_changed("name", "../fleet")) == "name.invalid"


def test_refuses_another_encoding_of_the_same_document() -> None:
    assert _code(RAW.replace(b'"mode":', b'"mode": ')) == "json.not_canonical"
    twice = RAW.replace(b'"mode":"enforce"', b'"mode":"shadow","mode":"enforce"')
    assert _code(twice) == "json.not_canonical"


def test_refuses_what_is_too_large_before_it_reads() -> None:
    assert _code(b" " * (MAX_DOCUMENT + 1)) == "policy.invalid"


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_give_documented_errors(raw: bytes) -> None:
    for read in (PolicyDocument, SignedPolicy, PolicyState):
        with pytest.raises(InputError) as caught:
            read.from_bytes(raw)
        assert caught.value.code in CODES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.just("unchecked"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = [*json.loads(RAW), *(f"sections/{tee}" for tee in SECTIONS)] + [
    f"sections/{tee}/{name}" for tee in SECTIONS for name in json.loads(RAW)["sections"][tee]
]


@settings(max_examples=300)
@given(st.sampled_from(PATHS), JSON)
def test_arbitrary_members_are_a_value_or_the_documented_error(path: str, value: Any) -> None:
    raw = _changed(path, value)
    try:
        read = PolicyDocument.from_bytes(raw)
    except InputError as error:
        assert error.code in CODES  # noqa: PT017
    else:
        assert read.to_bytes() == raw


def test_our_own_documents_cannot_be_illegal_either() -> None:
    for changes in (
        {"mode": "enforce"},
        {"version": 1 << 53},
        {"sections": {"tdx": strict("sev-snp", frozenset())}},
    ):
        with pytest.raises(InputError):
            document(**changes)
    changed: Any = document().sections
    with pytest.raises(TypeError):
        changed["tdx"] = None


def test_a_keystone_policy_says_everything_in_json() -> None:
    policy = KeystonePolicy(
        enclave_hashes=frozenset({b"\x01" * 64}),
        sm_hashes=UNCHECKED,
        data=b"",
        allow_derivable_sm_key=False,
    )
    raw = keystone_policy_to_json(policy)
    assert json.loads(raw)["sm_hashes"] == "unchecked"
    assert keystone_policy_from_json(raw) == policy
    with pytest.raises(InputError):
        keystone_policy_from_json(b" " * (256 << 10) + b"   ")


def test_modes_are_three() -> None:
    assert {mode.value for mode in Mode} == {"shadow", "warn", "enforce"}
