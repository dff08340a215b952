"""The evidence document and the policy: one encoding each, nothing unknown, no defaults."""

import hashlib
import json
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError, MalformedEvidenceError
from atoll.evidence import _cbor, cmw
from atoll.evidence import document as documents
from atoll.evidence.policy import UNCHECKED, SnpPolicy, policy_from_json, policy_to_json
from atoll.evidence.policy_forms import BOOL, forms_of
from atoll.evidence.products import Product
from atoll.evidence.snp import AbiVersion, GuestPolicy, PlatformInfo
from support import evidence


def test_a_document_reads_back_and_its_digest_is_of_the_bytes() -> None:
    document = evidence.document()
    raw = documents.encode(document)
    assert documents.parse(raw) == document
    assert documents.digest(raw) == hashlib.sha256(raw).digest()


def test_report_data_is_the_contract_of_the_architecture() -> None:
    lp = b"".join(
        len(value).to_bytes(4, "big") + value for value in (b"s" * 32, b"h" * 1216, b"", b"n" * 32)
    )
    expected = hashlib.sha512(b"atoll evidence v1" + lp).digest()
    assert documents.report_data(b"s" * 32, b"h" * 1216, b"", b"n" * 32) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"signing_key": bytes(31)},
        {"hpke_key": bytes(1217)},
        {"manifest_digest": bytes(31)},
        {"nonce": b""},
        {"report": b""},
        {"report": bytes(20_000)},
        {"certs": (b"x",) * 9},
        {"enclave_id": "a.b"},
    ],
)
def test_refuses_a_document_with_an_illegal_field(changes: dict[str, Any]) -> None:
    raw = documents.encode(replace(evidence.document(), **changes))
    with pytest.raises(MalformedEvidenceError):
        documents.parse(raw)


def record(raw: bytes, media_type: str = "application/octet-stream", **fields: Any) -> cmw.Record:
    return cmw.Record(type=media_type, value=raw, **fields)


def collection(kind: str | None = documents.COLLECTION, **changes: cmw.Cmw | None) -> bytes:
    """A good document's wrapper with some members changed, or left out."""
    found = cmw.from_cbor(documents.encode(evidence.document()))
    assert isinstance(found, cmw.Collection)
    members = {str(label): member for label, member in found.members} | changes
    left = tuple((label, member) for label, member in members.items() if member is not None)
    return cmw.to_cbor(cmw.Collection(members=left, kind=kind))


REPORT_TYPE = documents.REPORT_TYPES[documents.Tee.SNP]
EVIDENCE_ROLE = cmw.CmType.EVIDENCE
KEYSTONE_TYPE = documents.REPORT_TYPES[documents.Tee.KEYSTONE]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (bytes(documents.MAX_DOCUMENT + 1), "bytes, at most"),
        (cmw.to_cbor(record(b"x")), "is not a collection"),
        (collection(kind=None), "is not a collection"),
        (collection(kind="urn:atoll:evidence:v2"), "is not a collection"),
        (collection(binding=None), "lacks"),
        (collection(evidence=None), "lacks"),
        (collection(evidence=record(b"x", "application/vnd.other")), "of the type"),
        (
            collection(cert0=cmw.Collection(members=(("a", record(b"x")),))),
            "no record with a name",
        ),
        (collection(binding=record(b"\x80", documents.BINDING_TYPE)), "no map of its fields"),
        (
            collection(binding=record(_cbor.dumps({"tee": "tdx"}), documents.BINDING_TYPE)),
            "no map of its fields",
        ),
        (
            collection(evidence=record(b"x", KEYSTONE_TYPE, ind=EVIDENCE_ROLE)),
            "Keystone has no certificates",
        ),
        (collection(evidence=record(b"x", REPORT_TYPE)), "not in the one encoding"),
        (collection(more=record(b"x")), "not in the one encoding"),
    ],
)
def test_refuses_a_wrapper_of_another_form(raw: bytes, why: str) -> None:
    with pytest.raises(MalformedEvidenceError, match=why):
        documents.parse(raw)


def test_refuses_every_truncation_of_a_document() -> None:
    raw = documents.encode(evidence.document())
    for size in range(0, len(raw), 7):
        with pytest.raises(MalformedEvidenceError):
            documents.parse(raw[:size])
    with pytest.raises(MalformedEvidenceError):
        documents.parse(raw + b"\x00")


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_arbitrary_bytes_are_no_document(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        documents.parse(raw)


def test_the_agents_modules_need_no_token_library() -> None:
    code = (
        "import sys, atoll.evidence.document, atoll.evidence.appraise, atoll.simulated.device;"
        "print(sorted({'jwt', 'opentelemetry'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


FULL = {
    "host_data": bytes(32),
    "id_key_digests": frozenset({bytes(48), b"\x01" * 48}),
    "author_key_digests": frozenset({bytes(48)}),
    "family_id": bytes(16),
    "image_id": bytes(16),
    "chip_ids": frozenset({bytes(64)}),
    "minimum_guest_svn": 3,
    "platform_info_required": PlatformInfo.ECC_EN | PlatformInfo.TSME_EN,
    "platform_info_forbidden": PlatformInfo(0),
    "vmpls": frozenset({2, 0}),
    "products": frozenset({Product.TURIN, Product.MILAN}),
    "require_crl": True,
    "minimum_launch_tcb": evidence.TCB,
    "minimum_committed_tcb": evidence.TCB,
    "minimum_current_tcb": evidence.TCB,
    "minimum_current_version": AbiVersion(1, 55),
    "minimum_committed_version": AbiVersion(1, 0),
    "minimum_current_build": 21,
    "minimum_committed_build": 0,
    "steppings": frozenset({0, 1}),
    "csp_ids": frozenset({"CN=a.example", "CN=b.example"}),
    "minimum_report_version": 3,
    "guest_policy_required": GuestPolicy.SINGLE_SOCKET,
    "guest_policy_forbidden": GuestPolicy.CXL_ALLOW | GuestPolicy.SMT,
    "minimum_guest_abi": AbiVersion(0, 31),
    "require_id_block": True,
    "require_author_key": True,
    "report_ids": frozenset({bytes(32)}),
    "report_id_mas": frozenset({b"\xff" * 32}),
    "launch_mitigations_required": b"\x01" + bytes(7),
    "current_mitigations_required": bytes(8),
}


@pytest.mark.parametrize("changes", [{}, FULL, {"measurements": frozenset()}])
def test_a_policy_reads_back(changes: dict[str, Any]) -> None:
    policy = evidence.policy(**changes)
    raw = policy_to_json(policy)
    assert policy_from_json(raw) == policy
    assert policy.digest == hashlib.sha256(raw).digest()


def test_every_field_changes_the_digest_of_a_policy() -> None:
    base = evidence.policy(**FULL)
    digests = {base.digest}
    for field in fields(SnpPolicy):
        value = getattr(base, field.name)
        change: dict[str, Any] = {field.name: UNCHECKED}
        if isinstance(value, bool):
            change = {field.name: not value}
        digests.add(replace(base, **change).digest)
    assert len(digests) == 1 + len(fields(SnpPolicy))


def test_every_field_of_a_policy_wants_one_form() -> None:
    with pytest.raises(ValueError, match="SnpPolicy"):
        forms_of(SnpPolicy, {"measurements": BOOL})


def test_a_policy_has_no_defaults() -> None:
    whole = json.loads(policy_to_json(evidence.policy()))
    for name in whole:
        part = {key: value for key, value in whole.items() if key != name}
        with pytest.raises(InputError, match="lacks") as caught:
            policy_from_json(canonical.dumps(part))
        assert caught.value.code == "policy.invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"version": True},
        {"tee": "tdx"},
        {"measurements": None},
        {"measurements": "ab" * 48},
        {"measurements": ["AB" * 48]},
        {"measurements": ["ab" * 47]},
        {"measurements": ["ab" * 48, "ab" * 48]},
        {"measurements": ["cd" * 48, "ab" * 48]},
        {"allow_debug": "unchecked"},
        {"allow_debug": 0},
        {"allow_debug": None},
        {"minimum_tcb": {"snp": 1}},
        {"minimum_tcb": {"bootloader": 1, "fmc": 0, "microcode": 1, "snp": 256, "tee": 1}},
        {"minimum_tcb": {"bootloader": "1", "fmc": 0, "microcode": 1, "snp": 2, "tee": 1}},
        {"minimum_tcb": []},
        {"minimum_tcb": {"bootloader": True, "fmc": 0, "microcode": 1, "snp": 2, "tee": 1}},
        {"minimum_launch_tcb": 1},
        {"minimum_current_version": "1.55"},
        {"minimum_current_version": {"major": 1}},
        {"minimum_current_version": {"major": 1, "minor": 256}},
        {"minimum_current_version": {"major": True, "minor": 0}},
        {"minimum_current_build": 256},
        {"minimum_guest_abi": [1, 55]},
        {"guest_policy_required": ["no_such_bit"]},
        {"guest_policy_forbidden": 1 << 20},
        {"steppings": [256]},
        {"report_ids": ["00"]},
        {"launch_mitigations_required": 1},
        {"require_id_block": "unchecked"},
        {"vmpls": [4]},
        {"vmpls": [True]},
        {"vmpls": [[0]]},
        {"signers": ["vtek"]},
        {"host_data": "00"},
        {"host_data": 7},
        {"minimum_guest_svn": -1},
        {"minimum_guest_svn": True},
        {"minimum_guest_svn": 1 << 32},
        {"platform_info_required": ["no_such_bit"]},
        {"platform_info_required": [1]},
        {"platform_info_required": 5},
    ],
)
def test_refuses_an_illegal_policy(changes: dict[str, Any]) -> None:
    value = json.loads(policy_to_json(evidence.policy())) | changes
    with pytest.raises(InputError):
        policy_from_json(canonical.dumps(value))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff", b"1" * 300_000])
def test_refuses_what_is_no_policy(raw: bytes) -> None:
    with pytest.raises(InputError):
        policy_from_json(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"measurements": None},
        {"measurements": frozenset({b"short"})},
        {"allow_debug": UNCHECKED},
        {"host_data": b""},
        {"vmpls": frozenset({9})},
        {"minimum_guest_svn": True},
        {"platform_info_required": PlatformInfo(1 << 6)},
        {"signers": frozenset({"vcek"})},
    ],
)
def test_an_illegal_policy_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        evidence.policy(**changes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.text(max_size=8) | st.just("00" * 48),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)


@given(st.sampled_from([field.name for field in fields(SnpPolicy)]), JSON)
@settings(max_examples=200)
def test_any_json_in_a_field_gives_a_policy_or_the_documented_error(name: str, value: Any) -> None:
    whole = json.loads(policy_to_json(evidence.policy())) | {name: value}
    try:
        policy = policy_from_json(canonical.dumps(whole))
    except InputError:
        return
    assert policy_to_json(policy) == canonical.dumps(whole)
