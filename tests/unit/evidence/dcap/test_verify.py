"""Quotes under collateral: the mistakes that verifiers make, each named after the attack."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from atoll.errors import EvidenceError
from atoll.evidence.dcap.collateral import Collateral, verify_collateral
from atoll.evidence.dcap.intel_chain import PRODUCTION, IntelRoots
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote, verify_quote, verify_quote_crypto
from support import dcap
from support.dcap import NOW, PCK, Platform, key


def _verify(platform: Platform | None = None, **collateral: Any) -> VerifiedQuote:
    quote = (platform or Platform()).quote()
    return verify_quote(quote, dcap.collateral(**collateral), dcap.roots(), now=NOW)


def _code(platform: Platform | None = None, **collateral: Any) -> str:
    with pytest.raises(EvidenceError) as caught:
        _verify(platform, **collateral)
    return caught.value.code


def _info(**changes: Any) -> dict[str, Any]:
    return {"tcb_info": dcap.signed(dcap.tcb_info(**changes))}


def _identity(**changes: Any) -> dict[str, Any]:
    return {"qe_identity": dcap.signed(dcap.qe_identity(**changes))}


@pytest.mark.parametrize(
    ("platform", "tee"),
    [
        (Platform(), "TDX"),
        (Platform(version=5), "TDX"),
        (Platform(version=5, body=dcap.td_report(newer=True)), "TDX"),
        (Platform.sgx(), "SGX"),
        (Platform.sgx(version=4), "SGX"),
        (Platform(auth=b""), "TDX"),
    ],
)
def test_verifies_a_genuine_quote(platform: Platform, tee: str) -> None:
    verified = verify_quote(platform.quote(), dcap.collateral(tee), dcap.roots(), now=NOW)
    assert verified.tcb.status is TcbStatus.UP_TO_DATE
    assert verified.pck.fmspc.hex() == dcap.FMSPC
    assert not verified.simulated


def test_tells_a_simulation_by_its_root() -> None:
    roots = dcap.roots(simulated=True)
    quote = Platform().quote()
    assert verify_quote(quote, dcap.collateral(), roots, now=NOW).simulated
    assert verify_quote_crypto(quote, roots, now=NOW).simulated


def test_production_refuses_every_quote_of_another_root() -> None:
    with pytest.raises(EvidenceError, match="not a trusted root"):
        verify_quote(Platform().quote(), dcap.collateral(), PRODUCTION, now=NOW)
    with pytest.raises(EvidenceError, match="not a trusted root"):
        verify_quote_crypto(Platform().quote(), PRODUCTION, now=NOW)


# Mistake 1
def test_attack_signature_read_little_endian() -> None:
    raw = Platform().quote()
    at = 48 + 584 + 4
    r, s = raw[at : at + 32], raw[at + 32 : at + 64]
    swapped = raw[:at] + r[::-1] + s[::-1] + raw[at + 64 :]
    with pytest.raises(EvidenceError) as caught:
        verify_quote(swapped, dcap.collateral(), dcap.roots(), now=NOW)
    assert caught.value.code == "evidence.signature"


@pytest.mark.parametrize("signature", [bytes(64), b"\xff" * 64, bytes(63) + b"\x01"])
def test_attack_signature_out_of_range(signature: bytes) -> None:
    raw = Platform().quote()
    at = 48 + 584 + 4
    with pytest.raises(EvidenceError) as caught:
        verify_quote(
            raw[:at] + signature + raw[at + 64 :], dcap.collateral(), dcap.roots(), now=NOW
        )
    assert caught.value.code == "evidence.signature"


# Mistake 20
def test_attack_sgx_tcb_info_for_a_td() -> None:
    assert _code(**_info(id="SGX")) == "evidence.tcb_info_type"


def test_attack_tdx_tcb_info_for_an_enclave() -> None:
    qe = dcap.signed(dcap.qe_identity("QE"))
    code = _code(Platform.sgx(), tee="TDX", qe_identity=qe)
    assert code == "evidence.tcb_info_type"


# Mistake 21
def test_attack_tcb_info_of_another_fmspc() -> None:
    assert _code(**_info(fmspc="00a0b0c0d0e1")) == "evidence.tcb_info_fmspc"


def test_attack_tcb_info_of_another_pce() -> None:
    assert _code(**_info(pceId="0001")) == "evidence.tcb_info_pceid"


@pytest.mark.parametrize("fmspc", [dcap.FMSPC.upper(), dcap.FMSPC.lower()])
def test_compares_fmspc_without_case(fmspc: str) -> None:
    assert _verify(**_info(fmspc=fmspc)).pck.fmspc.hex() == dcap.FMSPC.lower()


# Mistake 23
def test_attack_collateral_verified_when_it_was_still_current() -> None:
    collateral = verify_collateral(dcap.collateral(), dcap.roots(), now=NOW)
    quote = Platform().quote()
    for now, code in (
        (collateral.not_after + timedelta(seconds=1), "evidence.collateral_expired"),
        (collateral.not_before - timedelta(seconds=1), "evidence.collateral_not_yet_valid"),
    ):
        with pytest.raises(EvidenceError) as caught:
            verify_quote(quote, collateral, dcap.roots(), now=now)
        assert caught.value.code == code


# Mistake 24
@pytest.mark.parametrize(
    "qe",
    [
        {"mr_signer": b"\xee" * 32},
        {"isv_prod_id": 1},
        {"misc_select": 1},
        {"attributes": b"\x17" + bytes(15)},
        {"attributes": b"\x05" + bytes(15)},
    ],
    ids=["signer", "product", "miscselect", "debug", "not provisioned"],
)
def test_attack_another_enclave_as_qe(qe: dict[str, Any]) -> None:
    assert _code(Platform(qe=qe)) == "evidence.qe_identity"


def test_looks_only_at_the_bits_under_the_mask() -> None:
    # XFRM is outside the mask, and so is one bit of the flags.
    qe = {"attributes": b"\x15" + bytes(7) + b"\xe7" + bytes(7)}
    assert _verify(Platform(qe=qe)).tcb.status is TcbStatus.UP_TO_DATE


@pytest.mark.parametrize("id_", ["QE", "QVE"])
def test_attack_identity_of_another_quoting_enclave(id_: str) -> None:
    assert _code(**_identity(id=id_)) == "evidence.qe_identity_type"


def test_attack_outdated_qe_is_folded_into_the_verdict() -> None:
    tcb = _verify(Platform(qe={"isv_svn": 3})).tcb
    assert tcb.status is TcbStatus.OUT_OF_DATE
    assert tcb.platform is TcbStatus.UP_TO_DATE
    assert tcb.advisory_ids == ("OWN-SA-QE",)


def test_attack_qe_below_every_level() -> None:
    assert _code(Platform(qe={"isv_svn": 1})) == "evidence.qe_tcb"


# Mistake 25
def test_attack_attestation_key_of_the_attacker() -> None:
    assert _code(Platform(attestation_key="attacker")) == "evidence.qe_report_data"


def test_attack_authentication_data_of_another_quote() -> None:
    bound = hashlib.sha256(dcap.point(key("attestation")) + b"other").digest()
    platform = Platform(qe={"report_data": bound + bytes(32)})
    assert _code(platform) == "evidence.qe_report_data"


def test_attack_something_in_the_upper_half_of_the_qe_report_data() -> None:
    auth = b"auth"
    bound = hashlib.sha256(dcap.point(key("attestation")) + auth).digest()
    platform = Platform(auth=auth, qe={"report_data": bound + b"\x01" + bytes(31)})
    assert _code(platform) == "evidence.qe_report_data"


def test_attack_qe_report_signed_by_the_attestation_key() -> None:
    assert _code(Platform(qe_signer="attestation")) == "evidence.qe_report_signature"


def test_attack_attestation_key_that_is_no_point() -> None:
    raw = Platform().quote()
    start = 48 + 584 + 4 + 64
    zero = bytes(64)
    inner = start + 64 + 6
    qe = dcap.enclave_report(
        report_data=hashlib.sha256(zero + bytes(range(32))).digest() + bytes(32)
    )
    signature = dcap.sign(key("pck"), qe)
    forged = raw[:start] + zero + raw[start + 64 : inner] + qe + signature + raw[inner + 448 :]
    with pytest.raises(EvidenceError) as caught:
        verify_quote(forged, dcap.collateral(), dcap.roots(), now=NOW)
    assert caught.value.code == "evidence.attestation_key"


# Mistake 26
def test_attack_module_version_without_identity() -> None:
    body = dcap.td_report(tee_tcb_svn=bytes([5, 2, 6]) + bytes(13))
    assert _code(Platform(body=body)) == "evidence.tdx_module"


def test_attack_module_below_every_level_of_its_identity() -> None:
    body = dcap.td_report(tee_tcb_svn=bytes([2, 1, 6]) + bytes(13))
    assert _code(Platform(body=body)) == "evidence.tdx_module_tcb"


def test_attack_outdated_module_is_folded_into_the_verdict() -> None:
    body = dcap.td_report(tee_tcb_svn=bytes([4, 1, 6]) + bytes(13))
    assert _verify(Platform(body=body)).tcb.status is TcbStatus.OUT_OF_DATE


def test_finds_a_module_identity_whatever_the_case_of_its_id() -> None:
    module = dcap.module(1, dcap.svn_level("UpToDate", 5)) | {"id": "tdx_01"}
    tcb = _verify(**_info(tdxModuleIdentities=[module])).tcb
    assert tcb.status is TcbStatus.UP_TO_DATE


def test_oldest_module_has_no_levels_and_is_part_of_the_platform() -> None:
    body = dcap.td_report(tee_tcb_svn=bytes([5, 0, 6]) + bytes(13))
    tcb = _verify(Platform(body=body)).tcb
    assert (tcb.status, tcb.tdx_module) == (TcbStatus.UP_TO_DATE, None)


# Mistake 27
def test_attack_list_of_the_other_authority() -> None:
    processor = dcap.crl(dcap.PROCESSOR_CA.subject, key("processor"))
    assert _code(pck_crl=processor) == "evidence.crl_issuer"


def test_attack_revoked_pck() -> None:
    assert _code(pck_crl=dcap.pck_crl(PCK.serial)) == "evidence.revoked"


def test_attack_revoked_authority() -> None:
    assert _code(root_crl=dcap.root_crl(dcap.PLATFORM_CA.serial)) == "evidence.revoked"


def test_attack_expired_list() -> None:
    old = dcap.pck_crl(next_update=NOW - timedelta(seconds=1))
    assert _code(pck_crl=old) == "evidence.crl_expired"


# Mistake 28
@pytest.mark.parametrize("version", [0, 1])
def test_attack_module_of_another_signer(version: int) -> None:
    svn = bytes([5, version, 6]) + bytes(13)
    body = dcap.td_report(tee_tcb_svn=svn, mr_signer_seam=b"\x01" + bytes(47))
    assert _code(Platform(body=body)) == "evidence.tdx_module"


def test_attack_debug_module() -> None:
    assert _code(Platform(body=dcap.td_report(seam_attributes=1))) == "evidence.tdx_module"


def test_attack_identity_that_wants_attributes() -> None:
    # Should Intel ever sign that, zero must not pass for it either.
    odd = dcap.module(1, dcap.svn_level("UpToDate", 5)) | {"attributes": "01" + "00" * 7}
    assert _code(**_info(tdxModuleIdentities=[odd])) == "evidence.tdx_module"


# Roots and chains


def test_attack_quote_and_collateral_under_different_roots() -> None:
    other = replace(dcap.ROOT, subject_key="other")
    chain = (
        PCK.issue(key("platform")),
        dcap.PLATFORM_CA.issue(key("other")),
        other.issue(key("other")),
    )
    both = IntelRoots(roots=dcap.roots().roots | dcap.roots("other").roots)
    with pytest.raises(EvidenceError, match="different roots"):
        verify_quote(Platform(chain=chain).quote(), dcap.collateral(), both, now=NOW)


PPID = (3, bytes(404))


def test_takes_the_chain_from_beside_a_quote_that_brings_none() -> None:
    quote = Platform(certification=PPID).quote()
    verified = verify_quote(
        quote, dcap.collateral(), dcap.roots(), now=NOW, pck_chain=dcap.pck_chain()
    )
    assert verified.tcb.status is TcbStatus.UP_TO_DATE
    assert _code(Platform(certification=PPID)) == "evidence.quote_certification"


def test_attack_chain_from_beside_of_another_pce() -> None:
    quote = Platform(certification=(3, bytes(402) + b"\x01\x00")).quote()
    with pytest.raises(EvidenceError) as caught:
        verify_quote(quote, dcap.collateral(), dcap.roots(), now=NOW, pck_chain=dcap.pck_chain())
    assert caught.value.code == "evidence.quote_pceid"


def test_attack_chain_from_beside_replaces_the_quotes_own() -> None:
    stranger = dcap.pck_chain(replace(PCK, subject_key="stranger"))
    platform = Platform()
    verified = verify_quote(
        platform.quote(), dcap.collateral(), dcap.roots(), now=NOW, pck_chain=stranger
    )
    assert verified.quote.certification.chain == platform.chain


def test_crypto_only_checks_chain_binding_and_signature() -> None:
    signed = verify_quote_crypto(Platform().quote(), dcap.roots(), now=NOW)
    assert signed.quote.td_report is not None
    for platform, code in (
        (Platform(attestation_key="attacker"), "evidence.qe_report_data"),
        (Platform(qe_signer="attacker"), "evidence.qe_report_signature"),
        (Platform(chain=dcap.pck_chain()[:2]), "evidence.chain_incomplete"),
    ):
        with pytest.raises(EvidenceError) as caught:
            verify_quote_crypto(platform.quote(), dcap.roots(), now=NOW)
        assert caught.value.code == code


def test_collateral_is_verified_if_it_was_not() -> None:
    stale: Collateral = dcap.collateral(root_crl=dcap.root_crl(next_update=NOW - dcap.MONTH / 2))
    with pytest.raises(EvidenceError) as caught:
        verify_quote(Platform().quote(), stale, dcap.roots(), now=NOW)
    assert caught.value.code == "evidence.crl_expired"
