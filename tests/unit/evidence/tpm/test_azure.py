"""Azure's confidential VMs: hardware, runtime data, virtual TPM and nonce belong together."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import (
    EvidenceError,
    MalformedEvidenceError,
    RejectedEvidenceError,
    UnsupportedEvidenceError,
)
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.tpm.azure import (
    TpmEvidence,
    VerifiedAzureSnp,
    VerifiedAzureTdx,
    verify_azure_snp,
    verify_azure_tdx,
)
from atoll.evidence.tpm.hcl import HardwareKind, HclReport
from atoll.evidence.tpm.td_report import TdReport
from support import dcap_bodies, evidence, tpm
from support.tpm import NONCE, PCRS, SELECTED, Hcl

RUNTIME = tpm.runtime_data()
TD_INFO = bytes(range(200)) * 2


def evidence_of(quote: tpm.Quote | None = None, *, pcrs: bytes | None = None) -> TpmEvidence:
    message = (quote or tpm.Quote()).message()
    return TpmEvidence(message=message, signature=tpm.sign(message), pcrs=pcrs)


def snp_hcl(runtime: bytes = RUNTIME, data: bytes | None = None) -> Hcl:
    report = evidence.guest().attest(tpm.report_data(runtime) if data is None else data)
    return Hcl(hardware=report, runtime=runtime, kind=2)


def snp(raw: bytes, said: TpmEvidence | None = None, **changes: Any) -> VerifiedAzureSnp:
    chain, inputs = evidence.chain(), {"nonce": NONCE, "now": evidence.NOW, **changes}
    said = said or evidence_of(pcrs=tpm.pcrs_json())
    return verify_azure_snp(raw, said, chain.certificates, evidence.trust(), **inputs)


def tdx_hcl(runtime: bytes = RUNTIME, data: bytes | None = None) -> Hcl:
    report = tpm.td_report(tpm.report_data(runtime) if data is None else data, TD_INFO)
    return Hcl(hardware=report, runtime=runtime, kind=4)


def prove(raw: bytes) -> Quote:
    """Takes the body of a TD quote for a proven quote, and refuses the word "forged"."""
    if raw == b"forged":
        raise RejectedEvidenceError("forged", code="evidence.signature")
    return dcap_bodies.quote(dcap_bodies.td(raw[:400], raw[400:]))


def tdx(
    raw: bytes, quote: bytes | None = None, said: TpmEvidence | None = None
) -> VerifiedAzureTdx:
    body = TD_INFO + tpm.report_data(RUNTIME) if quote is None else quote
    return verify_azure_tdx(raw, said or evidence_of(), body, prove, nonce=NONCE)


def code(caught: pytest.ExceptionInfo[EvidenceError]) -> str:
    return caught.value.code.removeprefix("evidence.")


def test_an_snp_vm_with_its_tpm_is_verified() -> None:
    verified = snp(snp_hcl().report())
    assert verified.report.body.report_data == tpm.report_data(RUNTIME)
    assert verified.tpm.registers == {"sha256": {number: PCRS[number] for number in SELECTED}}
    assert verified.tpm.runtime_data == RUNTIME


def test_a_tdx_vm_with_its_tpm_is_verified() -> None:
    verified = tdx(tdx_hcl().report())
    assert verified.td.mr_td == TD_INFO[16:64]
    assert verified.tpm.registers == {}


def test_attack_attestation_key_of_another_tpm() -> None:
    swapped = tpm.runtime_data(tpm.jwk(of=tpm.other_key()))
    with pytest.raises(RejectedEvidenceError) as caught:
        snp(replace(snp_hcl(), runtime=swapped).report())
    assert code(caught) == "runtime_data_binding_mismatch"
    message = tpm.Quote().message()
    stranger = TpmEvidence(message=message, signature=tpm.sign(message, tpm.other_key()), pcrs=None)
    with pytest.raises(RejectedEvidenceError) as caught:
        snp(snp_hcl().report(), stranger)
    assert code(caught) == "tpm_bad_signature"


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_attack_16_only_a_part_of_report_data_compared(at: int) -> None:
    data = bytearray(tpm.report_data(RUNTIME))
    data[at] ^= 1
    for raw, verify in ((snp_hcl(data=bytes(data)), snp), (tdx_hcl(data=bytes(data)), tdx)):
        with pytest.raises(RejectedEvidenceError) as caught:
            verify(raw.report())
        assert code(caught) == "runtime_data_binding_mismatch"


def test_a_forged_hardware_report_is_refused() -> None:
    good = snp_hcl()
    forged = bytearray(good.hardware)
    forged[0x90] ^= 1
    with pytest.raises(RejectedEvidenceError) as caught:
        snp(replace(good, hardware=bytes(forged)).report())
    assert code(caught) == "signature"
    with pytest.raises(RejectedEvidenceError) as caught:
        tdx(tdx_hcl().report(), b"forged")
    assert code(caught) == "signature"


def test_attack_quote_of_another_td() -> None:
    # The TDREPORT proves nothing to us: whatever it says must be in the quote as well.
    data = tpm.report_data(RUNTIME)
    for at in range(0, 400, 8):
        other = TD_INFO[:at] + bytes((TD_INFO[at] ^ 1,)) + TD_INFO[at + 1 :]
        with pytest.raises(RejectedEvidenceError) as caught:
            tdx(tdx_hcl().report(), other + data)
        assert code(caught) == "td_quote_mismatch"
    with pytest.raises(RejectedEvidenceError) as caught:
        tdx(tdx_hcl().report(), TD_INFO + data[:-1] + b"\x01")
    assert code(caught) == "td_quote_mismatch"


def test_an_sgx_quote_is_not_a_td_quote() -> None:
    def prove_sgx(raw: bytes) -> Quote:
        return dcap_bodies.quote(dcap_bodies.enclave(raw))

    data = tpm.report_data(RUNTIME)
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_azure_tdx(tdx_hcl().report(), evidence_of(), data, prove_sgx, nonce=NONCE)
    assert code(caught) == "td_quote_mismatch"


def test_nonce_and_registers_are_compared() -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        snp(snp_hcl().report(), nonce=b"another")
    assert code(caught) == "nonce_mismatch"
    snp(snp_hcl().report(), nonce=UNCHECKED)
    with pytest.raises(RejectedEvidenceError) as caught:
        snp(snp_hcl().report(), evidence_of(tpm.Quote(digest=bytes(32)), pcrs=tpm.pcrs_json()))
    assert code(caught) == "pcr_digest_mismatch"


def test_a_report_of_the_other_hardware_is_refused() -> None:
    for raw, verify in ((tdx_hcl(), snp), (snp_hcl(), tdx)):
        with pytest.raises(UnsupportedEvidenceError) as caught:
            verify(raw.report())
        assert code(caught) == "hcl_kind"


@pytest.mark.parametrize(("number", "name"), [(1, "sha256"), (2, "sha384"), (3, "sha512")])
def test_the_report_names_its_hash(number: int, name: str) -> None:
    hcl = snp_hcl(data=tpm.report_data(RUNTIME, name))
    snp(replace(hcl, hash_type=number).report())
    for other in {1, 2, 3} - {number}:
        with pytest.raises(RejectedEvidenceError):
            snp(replace(hcl, hash_type=other).report())


def flip(at: int, value: int) -> bytes:
    raw = bytearray(tdx_hcl().report())
    raw[at] = value
    return bytes(raw)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((0, 0), (8, 0), (9, 0), (12, 1), (16, 1), (20, 1), (31, 1)),
        *((32 + 1024, 1), (32 + 1183, 1), (1216, 0), (1232, 0), (-1, 1)),
    ],
)
def test_refuses_a_report_with_another_size_type_status_or_padding(at: int, value: int) -> None:
    with pytest.raises(MalformedEvidenceError):
        HclReport.from_bytes(flip(at, value))


@pytest.mark.parametrize(
    ("at", "value"), [(4, 0), (4, 3), (1220, 2), (1224, 3), (1228, 0), (1228, 4)]
)
def test_refuses_an_unknown_version_report_type_or_hash(at: int, value: int) -> None:
    with pytest.raises(UnsupportedEvidenceError):
        HclReport.from_bytes(flip(at, value))


def test_every_truncation_into_the_runtime_data_is_refused() -> None:
    raw = tdx_hcl().report()
    for size in range(len(raw) - 16):
        with pytest.raises(MalformedEvidenceError):
            HclReport.from_bytes(raw[:size])
    with pytest.raises(MalformedEvidenceError):
        HclReport.from_bytes(raw.ljust(8193, b"\x00"))


@pytest.mark.parametrize(
    "runtime",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 3000,
        b'{"keys":5}',
        b'{"keys":[5]}',
        b'{"keys":[],"keys":[]}',
        tpm.runtime_data(tpm.jwk(kid="HCLEkPub")),
        tpm.runtime_data(tpm.jwk(), tpm.jwk()),
        tpm.runtime_data(tpm.jwk(kty="EC")),
        tpm.runtime_data(tpm.jwk(n=5)),
        tpm.runtime_data(tpm.jwk(n="")),
        tpm.runtime_data(tpm.jwk(n="A" * 1025)),
        tpm.runtime_data(tpm.jwk(n="AQAB+")),
        tpm.runtime_data(tpm.jwk(n="A")),
        tpm.runtime_data(tpm.jwk(e="Aw")),
        json.dumps({"keys": [{"kid": "HCLAkPub", "kty": "RSA"}]}).encode(),
    ],
)
def test_refuses_runtime_data_without_one_good_key(runtime: bytes) -> None:
    hcl = HclReport(
        kind=HardwareKind.SNP, hardware_report=b"", hash_name="sha256", runtime_data=runtime
    )
    with pytest.raises(MalformedEvidenceError):
        hcl.attestation_key()


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 15, 32, 80, 256, 494, 495, 511, 512, 1023])
def test_refuses_a_td_report_of_another_type_or_with_hashes_of_other_structures(at: int) -> None:
    raw = bytearray(tdx_hcl().hardware)
    raw[at] ^= 0x42
    with pytest.raises(MalformedEvidenceError):
        TdReport.from_bytes(bytes(raw))


@given(st.binary(max_size=1600))
@settings(max_examples=200)
def test_arbitrary_bytes_are_a_report_or_an_evidence_error(raw: bytes) -> None:
    good = tdx_hcl().report()
    for candidate in (raw, good[: len(good) - len(raw) % 1300] + raw):
        try:
            HclReport.from_bytes(candidate).attestation_key()
        except EvidenceError:
            continue


@given(st.binary(max_size=1100))
@settings(max_examples=100)
def test_arbitrary_bytes_are_malformed_td_reports(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        TdReport.from_bytes(raw)
