"""Which documents a quote is judged by, and what becomes of those that are kept."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.dcap.collateral import verify_collateral
from atoll.evidence.dcap.intel_chain import PRODUCTION
from atoll.evidence.dcap.judge import COLLATERAL
from atoll.evidence.dcap.verify import verify_quote
from atoll.evidence.needed import INTEL_ROOT_CRL, Files, Platform, collateral_of, intel_files
from support import dcap, intel_pcs, vectors
from support.intel_pcs import Served

CHAIN = dcap.pck_chain()
BY_PROCESSOR = replace(dcap.PCK, issuer=dcap.PROCESSOR_CA.subject)
WITHOUT_CHAIN = dcap.Platform(certification=(2, bytes(256 + 16 + 2 + 2))).quote()
QUOTE = dcap.Platform().quote()
OURS = Platform(tee="tdx", fmspc=bytes.fromhex(dcap.FMSPC), authority="platform")
JSON_KEYS = [OURS.keys[0], OURS.keys[1]]


def _files(known: dict[str, Served] | None = None) -> Files:
    return intel_files(OURS, intel_pcs.own() if known is None else known)


def _code(quote: bytes, *certs: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        Platform.of(quote, certs)
    return caught.value.code


@pytest.mark.parametrize(("quote", "tee"), [(QUOTE, "tdx"), (dcap.Platform.sgx().quote(), "sgx")])
def test_a_quote_says_of_which_platform_it_is(quote: bytes, tee: str) -> None:
    assert Platform.of(quote) == replace(OURS, tee=tee)
    extension = dcap.pck_extension(fmspc="112233445566")
    other = dcap.Platform(chain=dcap.pck_chain(replace(dcap.PCK, sgx_extension=extension)))
    assert Platform.of(other.quote()).fmspc.hex() == "112233445566"


def test_a_quote_says_which_ca_made_its_pck_certificate() -> None:
    chain = dcap.pck_chain(BY_PROCESSOR, dcap.PROCESSOR_CA)
    platform = Platform.of(dcap.Platform(chain=chain).quote())
    assert platform == replace(OURS, authority="processor")
    assert Platform.from_pck(chain[0], tee="sgx") == replace(platform, tee="sgx")


def test_the_keys_are_those_under_which_documents_are_kept() -> None:
    assert set(OURS.keys) == set(intel_pcs.own())
    assert replace(OURS, tee="sgx", authority="processor").keys == (
        f"intel.tcb.sgx.{dcap.FMSPC}",
        "intel.qe.sgx",
        "intel.crl.processor",
        INTEL_ROOT_CRL,
    )


@pytest.mark.parametrize(
    "certs",
    [
        (dcap.pem(*CHAIN),),
        (dcap.pem(*reversed(CHAIN)),),
        tuple(dcap.pem(one) for one in CHAIN),
        CHAIN,
        CHAIN[::-1],
        CHAIN[:1],
    ],
)
def test_a_quote_without_a_chain_is_known_by_the_one_beside_it(certs: tuple[bytes, ...]) -> None:
    assert Platform.of(WITHOUT_CHAIN, certs) == OURS


def test_a_quote_with_a_chain_is_not_known_by_another_beside_it() -> None:
    beside = dcap.pck_chain(BY_PROCESSOR, dcap.PROCESSOR_CA)
    assert Platform.of(QUOTE, beside) == OURS


def test_a_quote_of_which_no_certificate_is_there_is_refused() -> None:
    assert _code(WITHOUT_CHAIN) == "evidence.quote_certification"
    assert _code(WITHOUT_CHAIN, b"") == "evidence.malformed"
    assert _code(WITHOUT_CHAIN, b"-----noise") == "evidence.malformed"


@pytest.mark.parametrize("der", [CHAIN[1], CHAIN[2], dcap.TCB_SIGNING.issue(dcap.key("root"))])
def test_what_no_pck_ca_issued_is_no_pck_certificate(der: bytes) -> None:
    with pytest.raises(EvidenceError) as caught:
        Platform.from_pck(der, tee="tdx")
    assert caught.value.code == "evidence.unsupported"
    assert _code(WITHOUT_CHAIN, der) == "evidence.unsupported"
    assert _code(dcap.Platform(chain=(der,)).quote()) == "evidence.unsupported"


def test_a_certificate_of_a_pck_ca_without_intels_extension_is_refused() -> None:
    bare = replace(dcap.PCK, sgx_extension=None).issue(dcap.key("platform"))
    assert _code(WITHOUT_CHAIN, bare) == "evidence.pck_extension"


@given(raw=st.binary(max_size=300))
@settings(max_examples=60)
def test_arbitrary_bytes_raise_the_documented_error(raw: bytes) -> None:
    for quote, certs in ((raw, ()), (WITHOUT_CHAIN, (raw,))):
        assert _code(quote, *certs).startswith("evidence.")
    with pytest.raises(EvidenceError):
        Platform.from_pck(raw, tee="tdx")


@given(at=st.integers(0, len(QUOTE) - 1), byte=st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_quote_is_read_or_refused(at: int, byte: int) -> None:
    with suppress(EvidenceError):
        assert Platform.of(QUOTE[:at] + bytes([byte]) + QUOTE[at + 1 :]).tee in ("tdx", "sgx")


def test_documents_become_files_by_role() -> None:
    known = intel_pcs.own()
    files, (tcb, qe, crl, root) = _files(known), (known[key] for key in OURS.keys)
    assert files.keys() == set(COLLATERAL)
    assert files["tcb_info"][0] in tcb.body
    assert files["qe_identity_sig"][0] in qe.body
    assert (files["tcb_chain"], files["qe_chain"]) == ((tcb.chain,), (qe.chain,))
    assert (files["pck_crl"], files["root_crl"]) == ((crl.body,), (root.body,))


@pytest.mark.parametrize(
    ("key", "roles"),
    [
        (OURS.keys[0], {"tcb_info", "tcb_info_sig", "tcb_chain"}),
        (OURS.keys[1], {"qe_identity", "qe_identity_sig", "qe_chain"}),
        (OURS.keys[2], {"pck_crl"}),
        (OURS.keys[3], {"root_crl"}),
    ],
)
def test_of_a_document_that_is_not_known_there_are_no_files(key: str, roles: set[str]) -> None:
    known = intel_pcs.own()
    del known[key]
    files = _files(known)
    assert set(COLLATERAL) - files.keys() == roles
    assert collateral_of(files) is None


def test_documents_about_another_platform_are_not_taken() -> None:
    other = Platform(tee="sgx", fmspc=bytes(6), authority="processor")
    assert intel_files(other, intel_pcs.own()).keys() == {"root_crl"}
    assert _files({}) == {}


@pytest.mark.parametrize("key", JSON_KEYS)
@pytest.mark.parametrize("body", [b"", b"{}", b'{"other":{},"signature":"' + b"0" * 128 + b'"}'])
def test_a_document_of_another_form_is_malformed(key: str, body: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        _files(intel_pcs.own() | {key: Served(body=body)})


@given(key=st.sampled_from(JSON_KEYS), body=st.binary(max_size=100))
@settings(max_examples=60)
def test_an_arbitrary_document_is_malformed(key: str, body: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        intel_files(OURS, {key: Served(body=body)})


def test_the_files_are_collateral_that_verifies_and_proves_the_quote() -> None:
    collateral = collateral_of(_files())
    assert collateral is not None
    verified = verify_collateral(collateral, dcap.roots(), now=dcap.NOW)
    assert verified.tcb_info.fmspc == OURS.fmspc
    assert verify_quote(QUOTE, verified, dcap.roots(), now=dcap.NOW).tcb.status.value == "UpToDate"


def test_recorded_documents_of_intels_prove_a_genuine_quote() -> None:
    vectors.require()
    raw, known = intel_pcs.recorded()
    platform = Platform.of(raw)
    assert set(platform.keys) == set(known)
    collateral = collateral_of(intel_files(platform, known))
    assert collateral is not None
    now = datetime.fromisoformat(str(intel_pcs.case()["verify_time"]))
    assert not verify_quote(raw, collateral, PRODUCTION, now=now).simulated


@pytest.mark.parametrize("role", COLLATERAL)
def test_without_a_file_there_is_no_collateral(role: str) -> None:
    files = _files()
    assert collateral_of(files | {role: ()}) is None
    del files[role]
    assert collateral_of(files) is None


@pytest.mark.parametrize("role", ["tcb_info_sig", "qe_identity_sig"])
@pytest.mark.parametrize("value", [b"", b"0" * 127, b"z" * 128, b"\xff" * 128])
def test_with_a_signature_that_is_none_there_is_no_collateral(role: str, value: bytes) -> None:
    assert collateral_of(_files() | {role: (value,)}) is None


@given(st.dictionaries(st.sampled_from(COLLATERAL), st.lists(st.binary(max_size=130), max_size=2)))
@settings(max_examples=60)
def test_arbitrary_files_are_no_collateral(files: dict[str, Any]) -> None:
    assert collateral_of({**files, "tcb_info_sig": [b"\x00"]}) is None
