"""PCK chains: every link, name, flag, date and list is looked at."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence import _der
from atoll.evidence.dcap.intel_chain import (
    PRODUCTION,
    IntelRoot,
    IntelRoots,
    check_crl,
    check_revocation,
    load_key,
    read_certificate,
    verify_pck_chain,
    verify_tcb_signing_chain,
)
from atoll.evidence.dcap.pck import SGX_EXTENSION, PckExtension
from atoll.evidence.x509 import INTEL, RevocationList
from support import dcap
from support.dcap import NOW, PCK, PLATFORM_CA, PROCESSOR_CA, ROOT, YEAR, key

GOOD = dcap.pck_chain()


def _code(chain: tuple[bytes, ...], roots: IntelRoots | None = None) -> str:
    with pytest.raises(EvidenceError) as caught:
        verify_pck_chain(chain, roots or dcap.roots(), now=NOW)
    return caught.value.code


def _with(**changes: Any) -> tuple[bytes, ...]:
    return dcap.pck_chain(replace(PCK, **changes))


def _with_ca(**changes: Any) -> tuple[bytes, ...]:
    return dcap.pck_chain(issuer=replace(PLATFORM_CA, **changes))


def _with_root(**changes: Any) -> tuple[bytes, ...]:
    return (*GOOD[:2], replace(ROOT, **changes).issue(key("root")))


def test_verifies_a_chain_by_either_authority() -> None:
    for issuer in (PLATFORM_CA, PROCESSOR_CA):
        pck = replace(PCK, issuer=issuer.subject)
        verified = verify_pck_chain(dcap.pck_chain(pck, issuer), dcap.roots(), now=NOW)
        assert verified.leaf.issuer.subject_cn == issuer.subject
        assert verified.extension.fmspc.hex() == dcap.FMSPC
        assert verified.extension.components == dcap.COMPONENTS


def test_production_trusts_one_root_and_no_simulation() -> None:
    assert len(PRODUCTION.roots) == 1
    assert not any(root.simulated for root in PRODUCTION.roots)
    assert _code(GOOD, PRODUCTION) == "evidence.untrusted_root"


def test_an_empty_set_of_roots_believes_nothing() -> None:
    assert _code(GOOD, IntelRoots(roots=frozenset())) == "evidence.untrusted_root"


def test_a_root_is_named_by_a_whole_digest() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        IntelRoot(spki_sha256=b"\xa0\xaf", simulated=False)


def test_refuses_a_lookalike_root() -> None:
    other = replace(ROOT, subject_key="other")
    chain = (
        PCK.issue(key("platform")),
        PLATFORM_CA.issue(key("other")),
        other.issue(key("other")),
    )
    assert _code(chain) == "evidence.untrusted_root"


def test_refuses_a_pinned_root_that_does_not_issue_itself() -> None:
    # The pinned key under a name of its own issuer is an intermediate, not a root.
    assert _code(_with_root(issuer="Somebody Else")) == "evidence.untrusted_root"


@pytest.mark.parametrize("length", [0, 1, 2])
def test_refuses_a_chain_that_is_too_short(length: int) -> None:
    assert _code(GOOD[:length]) == "evidence.chain_incomplete"


def test_refuses_a_chain_with_one_more_certificate() -> None:
    assert _code((*GOOD, GOOD[-1])) == "evidence.chain_incomplete"


def test_refuses_a_chain_that_starts_with_the_root() -> None:
    assert _code(GOOD[::-1]) == "evidence.chain_names"


def test_refuses_a_pck_that_issued_another_pck() -> None:
    middle = replace(PCK, subject_key="middle")
    leaf = replace(PCK, issuer=PCK.subject)
    chain = (leaf.issue(key("middle")), middle.issue(key("platform")), GOOD[-1])
    assert _code(chain) == "evidence.chain_names"


@pytest.mark.parametrize(
    ("chain", "code"),
    [
        (_with(subject="Intel SGX Something"), "chain_names"),
        (_with(issuer=PROCESSOR_CA.subject), "chain_names"),
        (_with_ca(subject="Intel SGX Other CA"), "chain_names"),
        (_with_ca(issuer="Other Root"), "chain_names"),
        (_with_root(subject="Other Root", issuer="Other Root"), "chain_names"),
        (_with(ca=True), "chain_ca"),
        (_with(key_usage=("key_agreement",)), "key_usage"),
        (_with_ca(ca=False, path_length=None), "chain_ca"),
        (_with_ca(key_usage=("crl_sign",)), "key_usage"),
        (_with_root(path_length=0), "chain_ca"),
        (_with_ca(drop=("2.5.29.19",)), "chain_ca"),
        (_with_ca(drop=("2.5.29.15",)), "key_usage"),
        (_with(drop=("2.5.29.19",)), "chain_extension"),
        (_with(drop=("2.5.29.15",)), "chain_extension"),
        (_with(drop=("2.5.29.35",)), "chain_extension"),
        (_with_ca(drop=("2.5.29.31",)), "chain_extension"),
        (_with_root(drop=("2.5.29.14",)), "chain_extension"),
        (_with(critical="1.2.3.4"), "critical_extension"),
        (_with_ca(critical="1.2.3.4"), "critical_extension"),
        (_with_root(critical="1.2.3.4"), "critical_extension"),
        (_with(not_after=NOW - timedelta(seconds=1)), "expired"),
        (_with(not_before=NOW + timedelta(seconds=1)), "not_yet_valid"),
        (_with_ca(not_after=NOW - timedelta(seconds=1)), "expired"),
        (_with_root(not_before=NOW + timedelta(seconds=1)), "not_yet_valid"),
        (_with(sgx_extension=None), "pck_extension"),
    ],
)
def test_refuses_a_certificate_that_is_not_as_the_profile_says(
    chain: tuple[bytes, ...], code: str
) -> None:
    assert _code(chain) == f"evidence.{code}"


def test_a_certificate_is_valid_to_its_last_second() -> None:
    verified = verify_pck_chain(_with(not_after=NOW, not_before=NOW), dcap.roots(), now=NOW)
    assert verified.leaf.certificate.not_after == NOW


@pytest.mark.parametrize("position", [0, 1, 2])
def test_refuses_a_certificate_signed_by_another_key(position: int) -> None:
    shapes = (PCK, PLATFORM_CA, ROOT)
    chain = list(GOOD)
    chain[position] = shapes[position].issue(key("stranger"))
    assert _code(tuple(chain)) == "evidence.chain_signature"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_no_byte_of_a_certificate_is_ignored(position: int) -> None:
    der = GOOD[position]
    for at in range(0, len(der), 3):
        flipped = der[:at] + bytes([der[at] ^ (1 << at % 8)]) + der[at + 1 :]
        chain = (*GOOD[:position], flipped, *GOOD[position + 1 :])
        with pytest.raises(EvidenceError):
            verify_pck_chain(chain, dcap.roots(), now=NOW)


@pytest.mark.parametrize(
    "public",
    [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
    ],
    ids=["p384", "rsa", "ed25519"],
)
def test_refuses_a_key_that_is_not_p256(public: Any) -> None:
    assert _code(_with(public_key=public)) == "evidence.chain_key"


def test_refuses_a_key_that_cannot_be_read() -> None:
    with pytest.raises(MalformedEvidenceError, match="public key"):
        load_key(b"\x30\x00")


def test_a_tcb_signer_is_no_pck_and_the_other_way_round() -> None:
    signing = (dcap.TCB_SIGNING.issue(key("root")), dcap.root_der())
    assert verify_tcb_signing_chain(signing, dcap.roots(), now=NOW).root in dcap.roots().roots
    imposter = replace(PCK, issuer=ROOT.subject).issue(key("root"))
    with pytest.raises(RejectedEvidenceError, match="want Intel SGX TCB Signing"):
        verify_tcb_signing_chain((imposter, dcap.root_der()), dcap.roots(), now=NOW)


# Revocation


def _list(raw: bytes) -> RevocationList:
    return RevocationList.from_bytes(raw, scheme=INTEL)


def _revocation(root_crl: bytes, pck_crl: bytes) -> str:
    leaf = verify_pck_chain(GOOD, dcap.roots(), now=NOW).leaf
    with pytest.raises(RejectedEvidenceError) as caught:
        check_revocation(leaf, root_crl=_list(root_crl), crl=_list(pck_crl), now=NOW)
    return caught.value.code


def test_accepts_lists_that_name_others() -> None:
    leaf = verify_pck_chain(GOOD, dcap.roots(), now=NOW).leaf
    root_crl, crl = _list(dcap.root_crl(77)), _list(dcap.pck_crl(78))
    check_revocation(leaf, root_crl=root_crl, crl=crl, now=NOW)
    assert crl.serials == {78}


def test_applies_a_serial_to_its_own_issuer_only() -> None:
    # The root's list names the PCK's serial, the other list the authority's.
    leaf = verify_pck_chain(GOOD, dcap.roots(), now=NOW).leaf
    root_crl, crl = dcap.root_crl(PCK.serial), dcap.pck_crl(PLATFORM_CA.serial)
    check_revocation(leaf, root_crl=_list(root_crl), crl=_list(crl), now=NOW)


PAST = NOW - timedelta(seconds=1)
FUTURE = NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("root_crl", "pck_crl", "code"),
    [
        (dcap.root_crl(PLATFORM_CA.serial), dcap.pck_crl(), "revoked"),
        (dcap.root_crl(), dcap.pck_crl(PCK.serial), "revoked"),
        (dcap.root_crl(next_update=PAST), dcap.pck_crl(), "crl_expired"),
        (dcap.root_crl(), dcap.pck_crl(next_update=PAST), "crl_expired"),
        (dcap.root_crl(this_update=FUTURE), dcap.pck_crl(), "crl_not_yet_valid"),
        (dcap.root_crl(), dcap.pck_crl(this_update=FUTURE), "crl_not_yet_valid"),
        (dcap.root_crl(), dcap.root_crl(), "crl_issuer"),
        (dcap.pck_crl(), dcap.pck_crl(), "crl_issuer"),
        (dcap.root_crl(), dcap.crl(PROCESSOR_CA.subject, key("processor")), "crl_issuer"),
        (dcap.root_crl(), dcap.crl(PLATFORM_CA.subject, key("pck")), "crl_signature"),
        (dcap.crl(ROOT.subject, key("platform")), dcap.pck_crl(), "crl_signature"),
    ],
)
def test_refuses_a_list_that_revokes_or_is_not_the_issuers(
    root_crl: bytes, pck_crl: bytes, code: str
) -> None:
    assert _revocation(root_crl, pck_crl) == f"evidence.{code}"


def test_refuses_a_list_of_an_authority_that_may_not_sign_lists() -> None:
    issuer = read_certificate(replace(PLATFORM_CA, key_usage=("key_cert_sign",)).issue(key("root")))
    with pytest.raises(RejectedEvidenceError, match="may not sign CRLs"):
        check_crl(_list(dcap.pck_crl()), issuer, now=NOW)


def test_a_list_holds_to_its_last_second() -> None:
    issuer = read_certificate(PLATFORM_CA.issue(key("root")))
    crl = _list(dcap.pck_crl(next_update=NOW, this_update=NOW - YEAR))
    check_crl(crl, issuer, now=NOW)


# The PCK extension


def _extension_code(raw: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        PckExtension.from_bytes(raw)
    return caught.value.code


def test_reads_svns_of_128_and_more_with_their_leading_zero() -> None:
    found = PckExtension.from_bytes(
        dcap.pck_extension(components=bytes([255, 128, 127]) + bytes(13), pce_svn=0x8001)
    )
    assert found.components[:3] == bytes([255, 128, 127])
    assert found.pce_svn == 0x8001
    assert found.cpu_svn == found.components
    assert (found.ppid, found.pce_id, found.sgx_type) == (dcap.PPID, bytes(2), 1)
    assert found.platform_instance_id == bytes(16)


@pytest.mark.parametrize("oid", [".1", ".2", ".2.1", ".2.16", ".2.17", ".2.18", ".3", ".4", ".5"])
def test_refuses_an_extension_that_lacks_a_part(oid: str) -> None:
    assert _extension_code(dcap.pck_extension(drop=(oid,))) == "evidence.pck_extension"


def test_the_platform_instance_id_may_be_absent_or_a_flag() -> None:
    flag = dcap.pair(f"{SGX_EXTENSION}.6", dcap.tlv(_der.BOOLEAN, b"\xff"))
    for raw in (dcap.pck_extension(drop=(".6",)), dcap.pck_extension(drop=(".6",), extra=flag)):
        assert PckExtension.from_bytes(raw).platform_instance_id is None


def test_finds_parts_by_oid_not_by_position() -> None:
    value = dcap.tlv(_der.OCTET_STRING, bytes.fromhex(dcap.FMSPC))
    moved = dcap.pck_extension(drop=(".4",), extra=dcap.pair(f"{SGX_EXTENSION}.4", value))
    assert PckExtension.from_bytes(moved).fmspc.hex() == dcap.FMSPC


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        dcap.pck_extension() + b"\x00",
        dcap.pck_extension(extra=dcap.pair(f"{SGX_EXTENSION}.1", dcap.tlv(4, bytes(16)))),
        dcap.pck_extension(extra=dcap.tlv(_der.SEQUENCE, dcap.tlv(_der.OID, b"\x2a"))),
        dcap.pck_extension(fmspc="00" * 5),
        dcap.pck_extension(pce_id="000000"),
        dcap.pck_extension(pce_svn=0x10000),
        dcap.pck_extension(
            drop=(".1",), extra=dcap.pair(f"{SGX_EXTENSION}.1", dcap.integer(5) + b"\x05\x00")
        ),
        dcap.pck_extension(drop=(".1",), extra=dcap.pair(f"{SGX_EXTENSION}.1", dcap.integer(5))),
        dcap.pck_extension(extra=b"".join(dcap.pair(f"1.2.{n}", b"\x05\x00") for n in range(33))),
    ],
)
def test_refuses_a_malformed_extension(raw: bytes) -> None:
    assert _extension_code(raw) == "evidence.malformed"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_extension(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        PckExtension.from_bytes(raw)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_a_damaged_extension_is_read_or_refused(at: int, piece: bytes) -> None:
    good = dcap.pck_extension()
    try:
        found = PckExtension.from_bytes(good[:at] + piece + good[at + len(piece) :])
    except (MalformedEvidenceError, RejectedEvidenceError):
        return
    assert len(found.components) == 16
