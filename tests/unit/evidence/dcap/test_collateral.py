"""Collateral: exact bytes, right signer, right time; JSON without second meanings."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.dcap.collateral import Collateral, verify_collateral
from atoll.evidence.dcap.intel_chain import IntelRoots
from atoll.evidence.dcap.qe_identity import EnclaveId, QeIdentity
from atoll.evidence.dcap.quote import QuoteTee
from atoll.evidence.dcap.signed_json import (
    MAX_DOCUMENT,
    JsonObject,
    SignedJson,
    open_envelope,
    with_hex_signature,
)
from atoll.evidence.dcap.tcb_info import TcbInfo, TcbStatus
from support import dcap
from support.dcap import NOW, ROOT, TCB_SIGNING, key

PAST = dcap.moment(NOW - timedelta(seconds=1))
FUTURE = dcap.moment(NOW + timedelta(seconds=1))


def _code(collateral: Collateral, roots: IntelRoots | None = None) -> str:
    with pytest.raises(EvidenceError) as caught:
        verify_collateral(collateral, roots or dcap.roots(), now=NOW)
    return caught.value.code


def _info(**changes: Any) -> Collateral:
    return dcap.collateral(tcb_info=dcap.signed(dcap.tcb_info(**changes)))


def _identity(**changes: Any) -> Collateral:
    return dcap.collateral(qe_identity=dcap.signed(dcap.qe_identity(**changes)))


def test_tells_until_when_it_holds() -> None:
    soon = NOW + timedelta(days=2)
    late = NOW - timedelta(days=2)
    collateral = dcap.collateral(
        tcb_info=dcap.signed(dcap.tcb_info(nextUpdate=dcap.moment(soon))),
        qe_identity=dcap.signed(dcap.qe_identity(issueDate=dcap.moment(late))),
    )
    verified = verify_collateral(collateral, dcap.roots(), now=NOW)
    assert (verified.not_before, verified.not_after) == (late, soon)
    assert verified.tcb_info.tee is QuoteTee.TDX
    assert verified.qe_identity.id is EnclaveId.TD_QE


def test_reads_crls_in_pem_as_in_der() -> None:
    armoured = dcap.pem_crl(dcap.root_crl())
    verified = verify_collateral(dcap.collateral(root_crl=armoured), dcap.roots(), now=NOW)
    assert verified.root_crl.issuer_cn == ROOT.subject


@pytest.mark.parametrize("raw", [b"-----BEGIN X509 CRL-----\nAA\n", b"-----" + bytes(200_000)])
def test_refuses_a_crl_that_is_not_one_pem_block(raw: bytes) -> None:
    assert _code(dcap.collateral(root_crl=raw)) == "evidence.malformed"


def test_refuses_two_crls_in_one_file() -> None:
    one = dcap.pem_crl(dcap.root_crl())
    assert _code(dcap.collateral(root_crl=one + one)) == "evidence.malformed"


@pytest.mark.parametrize("text", [b"A=A", b"AAB="], ids=["not base64", "bits after the end"])
def test_refuses_pem_of_another_encoding(text: bytes) -> None:
    broken = b"-----BEGIN X509 CRL-----\n" + text + b"\n-----END X509 CRL-----\n"
    assert _code(dcap.collateral(root_crl=broken)) == "evidence.malformed"


@pytest.mark.parametrize("chain", [b"", b"\x30\x00", b"-----" + bytes(20_000)])
def test_refuses_a_signing_chain_that_is_not_pem(chain: bytes) -> None:
    assert _code(dcap.collateral(tcb_info_chain=chain)) == "evidence.malformed"


def test_refuses_tcb_info_of_another_value_with_a_valid_signature_elsewhere() -> None:
    other = dcap.signed(dcap.tcb_info(fmspc="00" * 6))
    swapped = SignedJson(raw=dcap.signed(dcap.tcb_info()).raw, signature=other.signature)
    assert _code(dcap.collateral(tcb_info=swapped)) == "evidence.tcb_info_signature"


def test_refuses_reserialised_json() -> None:
    good = dcap.signed(dcap.tcb_info())
    again = json.dumps(json.loads(good.raw)).encode()
    collateral = dcap.collateral(tcb_info=SignedJson(raw=again, signature=good.signature))
    assert _code(collateral) == "evidence.tcb_info_signature"


@pytest.mark.parametrize("signer", ["root", "pck", "platform", "stranger"])
def test_refuses_collateral_signed_by_another_key(signer: str) -> None:
    info = dcap.signed(dcap.tcb_info(), signer)
    assert _code(dcap.collateral(tcb_info=info)) == "evidence.tcb_info_signature"
    identity = dcap.signed(dcap.qe_identity(), signer)
    assert _code(dcap.collateral(qe_identity=identity)) == "evidence.qe_identity_signature"


@pytest.mark.parametrize(
    ("collateral", "code"),
    [
        (_info(nextUpdate=PAST), "tcb_info_expired"),
        (_info(issueDate=FUTURE), "tcb_info_not_yet_valid"),
        (_identity(nextUpdate=PAST), "qe_identity_expired"),
        (_identity(issueDate=FUTURE), "qe_identity_not_yet_valid"),
        (_info(version=2), "tcb_info_type"),
        (_info(version=4), "tcb_info_type"),
        (_info(id="SEV"), "tcb_info_type"),
        (_info(id=None), "tcb_info_type"),
        (_info(tcbType=1), "tcb_info_type"),
        (_identity(version=1), "qe_identity_type"),
        (_identity(id="PCE"), "qe_identity_type"),
        (dcap.collateral(root_crl=dcap.root_crl(TCB_SIGNING.serial)), "revoked"),
        (dcap.collateral(root_crl=dcap.pck_crl()), "crl_issuer"),
        (dcap.collateral(root_crl=dcap.root_crl(next_update=NOW - dcap.MONTH / 2)), "crl_expired"),
    ],
)
def test_refuses_collateral_that_is_not_current_or_of_another_type(
    collateral: Collateral, code: str
) -> None:
    assert _code(collateral) == f"evidence.{code}"


def test_refuses_an_expired_tcb_signing_certificate() -> None:
    old = dcap.tcb_chain(replace(TCB_SIGNING, not_after=NOW - timedelta(seconds=1)))
    assert _code(dcap.collateral(tcb_info_chain=old)) == "evidence.expired"
    assert _code(dcap.collateral(qe_identity_chain=old)) == "evidence.expired"


def test_refuses_signers_under_different_roots_though_both_are_trusted() -> None:
    other = replace(ROOT, subject_key="other")
    chain = dcap.pem(TCB_SIGNING.issue(key("other")), other.issue(key("other")))
    both = IntelRoots(roots=dcap.roots().roots | dcap.roots("other").roots)
    code = _code(dcap.collateral(qe_identity_chain=chain), both)
    assert code == "evidence.untrusted_root"


# The JSON


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{} {}",
        b'{"version": 3, "version": 3}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"\\u0061": 1, "a": 1}',
        b'{"version": 3.0}',
        b'{"version": 3e0}',
        b'{"version": NaN}',
        b'{"version": Infinity}',
        b'{"version": 99999999999}',
        b'{"version": ' + b"9" * 5000 + b"}",
        b'{"version": true}',
        b'{"version": -3}',
        b'{"version": "3"}',
        b'{"a": ' + b"[" * 50_000 + b"}",
        b" " * (MAX_DOCUMENT + 1),
    ],
)
def test_refuses_json_with_a_second_meaning_or_without_limits(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        TcbInfo.from_bytes(raw)
    with pytest.raises(MalformedEvidenceError):
        QeIdentity.from_bytes(raw)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown status": lambda value: value["tcbLevels"][0].update(tcbStatus="Fine"),
    "missing level": lambda value: value.pop("tcbLevels"),
    "levels of another type": lambda value: value.update(tcbLevels={}),
    "level of another type": lambda value: value.update(tcbLevels=[1]),
    "too many levels": lambda value: value.update(tcbLevels=[value["tcbLevels"][0]] * 513),
    "short fmspc": lambda value: value.update(fmspc="00"),
    "fmspc not hex": lambda value: value.update(fmspc="0x0b0c0d0e0f"),
    "fmspc with spaces": lambda value: value.update(fmspc="00 0b 0c 0d "),
    "time with offset": lambda value: value.update(issueDate="2026-05-01T00:00:00+00:00"),
    "impossible time": lambda value: value.update(issueDate="2026-13-01T00:00:00Z"),
    "unicode digits": lambda value: value.update(issueDate="٢٠٢٦-05-01T00:00:00Z"),
    "long string": lambda value: value.update(id="T" * 300),
    "advisory of another type": lambda value: value["tcbLevels"][0].update(advisoryIDs=[1]),
    "advisories of another type": lambda value: value["tcbLevels"][0].update(advisoryIDs="a"),
    "too many advisories": lambda value: value["tcbLevels"][0].update(advisoryIDs=["a"] * 513),
    "long advisory": lambda value: value["tcbLevels"][0].update(advisoryIDs=["a" * 300]),
    "15 components": lambda value: value["tcbLevels"][0]["tcb"]["tdxtcbcomponents"].pop(),
    "component of 256": lambda value: value["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][0].update(
        svn=256
    ),
    "no TDX components": lambda value: value["tcbLevels"][0]["tcb"].pop("tdxtcbcomponents"),
    "no TDX module": lambda value: value.pop("tdxModule"),
    "module status": lambda value: value["tdxModuleIdentities"][0]["tcbLevels"][0].update(
        tcbStatus="SWHardeningNeeded"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_refuses_tcb_info_with_an_illegal_field(name: str) -> None:
    value = dcap.tcb_info()
    CHANGES[name](value)
    with pytest.raises(MalformedEvidenceError):
        TcbInfo.from_bytes(json.dumps(value).encode())


def test_reads_version_2_for_sgx() -> None:
    level = dcap.level("SWHardeningNeeded")
    svns = {f"sgxtcbcomp{n:02}svn": svn for n, svn in enumerate(dcap.COMPONENTS, 1)}
    level["tcb"] = svns | {"pcesvn": 11}
    info = TcbInfo.from_bytes(
        json.dumps(dcap.tcb_info(id=None, version=2, tcbLevels=[level])).encode()
    )
    assert (info.tee, info.version, info.tdx_module) == (QuoteTee.SGX, 2, None)
    assert info.tcb_levels[0].sgx_components == dcap.COMPONENTS
    assert info.tcb_levels[0].status is TcbStatus.SW_HARDENING_NEEDED


def test_tdx_tcb_info_without_module_identities_is_legal() -> None:
    info = TcbInfo.from_bytes(json.dumps(dcap.tcb_info(tdxModuleIdentities=None)).encode())
    assert info.tdx_module_identities == ()


def test_skips_keys_that_it_does_not_know() -> None:
    info = TcbInfo.from_bytes(json.dumps(dcap.tcb_info(news=[{"a": None}])).encode())
    assert info.fmspc.hex() == dcap.FMSPC


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(sorted(dcap.tcb_info())), inner)
        ),
        max_leaves=20,
    )
)
def test_arbitrary_json_is_refused_with_the_documented_errors(value: Any) -> None:
    raw = json.dumps(value).encode()
    for parse in (TcbInfo.from_bytes, QeIdentity.from_bytes):
        with pytest.raises((MalformedEvidenceError, RejectedEvidenceError)):
            parse(raw)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_the_documented_errors(raw: bytes) -> None:
    for parse in (TcbInfo.from_bytes, QeIdentity.from_bytes):
        with pytest.raises((MalformedEvidenceError, RejectedEvidenceError)):
            parse(raw)
    with pytest.raises(MalformedEvidenceError):
        open_envelope(raw, "tcbInfo")


# Envelopes


def _envelope(value: bytes, signature: str = "ab" * 64) -> bytes:
    return b'{"tcbInfo":' + value + b',"signature":"' + signature.encode() + b'"}'


def test_an_envelope_gives_the_exact_bytes() -> None:
    value = b'{ "a" : 1,\n"b": "\xc3\xa9"}'
    opened = open_envelope(_envelope(value), "tcbInfo")
    assert opened.raw == value
    assert opened.signature == b"\xab" * 64


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff",
        _envelope(b"{}", "ab"),
        _envelope(b"{}", "zz" * 64),
        _envelope(b"{}") + b"x",
        _envelope(b'{"a":1,"a":1}'),
        _envelope(b"{"),
        _envelope(b"{}").replace(b"tcbInfo", b"tcbinfo"),
        _envelope(b'{},"tcbInfo":{}'),
        b'{"signature":"' + b"ab" * 64 + b'","tcbInfo":{}}',
        b" " * (MAX_DOCUMENT + 1),
    ],
)
def test_refuses_an_envelope_of_another_form(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        open_envelope(raw, "tcbInfo")


@pytest.mark.parametrize("text", [b"", b"ab", b"zz" * 64, b"ab" * 65, b"a b " * 32, b"\xff" * 128])
def test_refuses_a_signature_that_is_not_64_bytes_in_hex(text: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        with_hex_signature(b"{}", text)
    assert with_hex_signature(b"{}", b"AB" * 64 + b"\n").signature == b"\xab" * 64


def test_a_signature_is_64_bytes() -> None:
    with pytest.raises(MalformedEvidenceError, match="want 64"):
        SignedJson(raw=b"{}", signature=b"")


def test_getters_refuse_another_type() -> None:
    value = JsonObject.parse(b'{"a": "x", "b": 1, "c": [[]]}', structure="thing")
    for read in (
        lambda: value.number("a", 5),
        lambda: value.text("b"),
        lambda: value.object("b"),
        lambda: value.objects("c"),
        lambda: value.texts("c"),
        lambda: value.number("d", 5),
    ):
        with pytest.raises(MalformedEvidenceError, match="thing"):
            read()
