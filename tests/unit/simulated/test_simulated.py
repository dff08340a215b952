"""The development TEE keeps to AMD's formats and cannot be mistaken for AMD."""

from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from atoll.errors import InputError
from atoll.evidence.certs import VekExtensions
from atoll.evidence.chain import verify_authorities, verify_chain
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.snp import AttestationReport, GuestPolicy
from atoll.evidence.x509 import Certificate
from atoll.simulated.chain import DevelopmentChain
from support import evidence
from support.evidence import NOW


def test_certificates_are_named_simulated_in_every_name() -> None:
    for der in evidence.chain().certificates:
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        assert "SIMULATED, no hardware" in subject.replace("\\", "")
    ark, ask, vek = (Certificate.from_bytes(der) for der in reversed(evidence.chain().certificates))
    assert (ark.subject_cn, ask.subject_cn) == ("ARK-Simulated", "SEV-Simulated")
    assert VekExtensions.of(vek).product is Product.SIMULATED


def test_the_chain_verifies_now_and_for_seven_years() -> None:
    for days in (0, 7 * 365 - 2):
        now = NOW + timedelta(days=days)
        chain = verify_chain(evidence.chain().certificates, evidence.trust(), now=now)
        assert chain.root.simulated


def test_the_authorities_verify_for_twenty_five_years() -> None:
    authorities = evidence.chain().certificates[1:]
    for days in (0, 25 * 365 - 2):
        assert verify_authorities(
            authorities, evidence.trust(), now=NOW + timedelta(days=days)
        ).simulated


@pytest.mark.parametrize("value", [0, 0x7F, 0x80, 0xFF])
def test_every_version_number_survives_its_encoding(value: int) -> None:
    tcb = TcbVersion(bootloader=value, tee=value, snp=value, microcode=value)
    chain = DevelopmentChain.generate(
        now=NOW, keys=evidence.keys(), chip_id=evidence.CHIP_ID, tcb=tcb
    )
    assert VekExtensions.of(Certificate.from_bytes(chain.vcek)).tcb == tcb


def test_a_saved_chain_loads_and_signs_for_the_same_root() -> None:
    chain = evidence.chain()
    loaded = DevelopmentChain.from_pem(chain.to_pem())
    assert loaded.certificates == chain.certificates
    assert (loaded.chip_id, loaded.tcb) == (chain.chip_id, chain.tcb)
    report = evidence.guest().attest(bytes(64))
    assert evidence.resign(report, loaded) == report


def test_a_saved_chain_holds_no_authority_key() -> None:
    assert evidence.chain().to_pem().count(b"PRIVATE KEY-----") == 2


def test_secrets_stay_out_of_representations() -> None:
    assert "EllipticCurve" not in repr(evidence.chain())
    assert "PrivateKey" not in repr(evidence.keys())


def _foreign_key() -> bytes:
    other = evidence.other_chain().vcek_key
    return other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_refuses_a_saved_chain_that_is_none() -> None:
    good = evidence.chain().to_pem()
    certificates = good.partition(b"-----BEGIN PRIVATE KEY-----")[0]
    for bad in (b"", b"x", good[:-60], certificates, good[200:], certificates + _foreign_key()):
        with pytest.raises(InputError) as caught:
            DevelopmentChain.from_pem(bad)
        assert caught.value.code == "simulated.chain"


@pytest.mark.parametrize(
    "options",
    [{"chip_id": bytes(8)}, {"tcb": TcbVersion(fmc=1, bootloader=1, tee=1, snp=1, microcode=1)}],
)
def test_refuses_to_make_a_chain_for_another_product(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"chip_id": evidence.CHIP_ID} | options
    with pytest.raises(ValueError, match="64 bytes"):
        DevelopmentChain.generate(now=NOW, keys=evidence.keys(), **given)


def test_reports_are_version_3_of_no_amd_processor() -> None:
    body = AttestationReport.from_bytes(evidence.guest().attest(bytes(64))).body
    assert body.version == 3
    assert product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id) is Product.SIMULATED


def test_a_report_is_1184_bytes_and_the_same_for_the_same_request() -> None:
    guest = evidence.guest()
    assert len(guest.attest(bytes(64))) == 1184
    assert guest.attest(bytes(64)) == guest.attest(bytes(64))
    assert guest.attest(bytes(64)) != guest.attest(b"\x01" * 64)


def test_launch_values_reach_the_report() -> None:
    guest = evidence.guest(
        host_data=b"h" * 32, guest_svn=5, family_id=b"f" * 16, image_id=b"i" * 16
    )
    body = AttestationReport.from_bytes(guest.attest(b"d" * 64, vmpl=1)).body
    assert (body.measurement, body.report_data) == (evidence.MEASUREMENT, b"d" * 64)
    assert (body.host_data, body.guest_svn, body.vmpl) == (b"h" * 32, 5, 1)
    assert (body.family_id, body.image_id) == (b"f" * 16, b"i" * 16)
    assert body.report_id == evidence.REPORT_ID
    assert not body.has(GuestPolicy.DEBUG)


def test_a_guest_cannot_change_what_it_was_launched_as() -> None:
    guest = evidence.guest()
    with pytest.raises(FrozenInstanceError):
        guest.body = None  # type: ignore[misc, assignment]


@pytest.mark.parametrize(("size", "vmpl"), [(63, 0), (65, 0), (64, 4), (64, -1)])
def test_refuses_an_illegal_request(size: int, vmpl: int) -> None:
    with pytest.raises(ValueError, match="VMPL"):
        evidence.guest().attest(bytes(size), vmpl)
