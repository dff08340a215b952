"""Evidence of a virtual TPM: what makes it pass, and what fails by which name."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import MalformedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.document import MAX_REPORT, EvidenceDocument, Tee
from atoll.evidence.findings import Appraisal, Outcome
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.trust import TrustStore
from atoll.evidence.vtpm.policy import VtpmPolicy
from support import evidence, tpm, vtpm
from support.evidence import MANIFEST, NONCE, NOW, Binding
from support.vtpm import Guest, boot_log, event

DATA = Binding().report_data
STEPS = (
    "vtpm.report",
    "vtpm.log",
    "vtpm.chain",
    "vtpm.signature",
    "vtpm.registers",
    "vtpm.replay",
)


def appraise(
    document: EvidenceDocument | None = None,
    policy: VtpmPolicy | None = None,
    trust: TrustStore | None = None,
    **changes: Any,
) -> Appraisal:
    asked: dict[str, Any] = {"manifest_digest": MANIFEST, "nonce": NONCE, "now": NOW, **changes}
    return appraise_document(
        documents.encode(document or vtpm.document()),
        trust=trust or vtpm.trust(),
        policy=policy or vtpm.policy(),
        **asked,
    )


def test_good_evidence_passes_and_says_whose_the_tpm_is() -> None:
    found = appraise()

    assert (found.passed, found.reason, found.tee) == (True, "", Tee.VTPM)
    assert found.simulated
    assert found.claims["owner"] == "the host, from which it protects nothing"
    assert found.claims["host"] == vtpm.HOST
    assert found.claims["pcr9"] == Guest().pcrs()[9].hex()
    assert found.claims["boot_images"] == vtpm.KERNEL.hex()
    assert found.finding("vtpm.host_tpm").outcome is Outcome.UNCHECKED


def test_it_passes_only_for_who_accepts_that_the_host_owns_the_tpm() -> None:
    found = appraise(policy=vtpm.policy(allow_host_tpm=False))

    assert found.reason == "vtpm.host_tpm"


def test_nobody_is_trusted_unless_named() -> None:
    found = appraise(trust=evidence.trust())

    assert found.reason == "vtpm.chain"
    assert found.simulated
    assert not found.claims


def test_a_policy_of_another_kind_refuses_it() -> None:
    raw = documents.encode(vtpm.document())
    found = appraise_document(
        raw,
        trust=vtpm.trust(),
        policy=evidence.policy(),
        manifest_digest=MANIFEST,
        nonce=NONCE,
        now=NOW,
    )

    assert found.reason == "document.tee"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (vtpm.document(report=b"\xa0"), "vtpm.report"),
        (vtpm.document(Guest(log=b"no log", registers={0: bytes(32)})), "vtpm.log"),
        (vtpm.document(chain=()), "vtpm.chain"),
        (vtpm.document(chain=vtpm.certs(vtpm.other_authority())), "vtpm.chain"),
        (vtpm.document(chain=vtpm.certs(now=NOW - timedelta(days=30))), "vtpm.chain"),
        (vtpm.document(Guest(by=vtpm.other_key())), "vtpm.signature"),
        (
            vtpm.document(report=Guest().report(DATA, magic=b"\xffTCX").to_bytes()),
            "vtpm.signature",
        ),
        (vtpm.document(report=Guest().report(DATA, type=0x8017).to_bytes()), "vtpm.signature"),
        (
            vtpm.document(
                report=replace(Guest().report(DATA), signature=b"\0\x14\0\x0b").to_bytes()
            ),
            "vtpm.signature",
        ),
        (
            vtpm.document(
                report=replace(Guest().report(DATA), signature=b"\0\x18\0\x0b").to_bytes()
            ),
            "vtpm.signature",
        ),
        (
            vtpm.document(report=Guest().report(DATA, selections=()).to_bytes()),
            "vtpm.registers",
        ),
        (
            vtpm.document(
                report=Guest()
                .report(DATA, selections=(tpm.selection(range(9)),), digest=b"")
                .to_bytes()
            ),
            "vtpm.registers",
        ),
        (
            vtpm.document(
                report=replace(
                    Guest().report(DATA), pcrs={**Guest().pcrs(), 9: bytes(32)}
                ).to_bytes()
            ),
            "vtpm.registers",
        ),
        (vtpm.document(Guest(registers={23: bytes(32)})), "vtpm.registers"),
        (vtpm.document(Guest(registers={9: bytes(32)})), "vtpm.replay"),
    ],
)
def test_what_is_not_genuine_fails_at_its_step(document: EvidenceDocument, reason: str) -> None:
    found = appraise(document)

    assert found.reason == reason
    assert found.simulated
    assert not found.claims
    reached = STEPS.index(reason)
    outcomes = [found.finding(step).outcome for step in STEPS]
    assert outcomes == [Outcome.PASS] * reached + [Outcome.FAIL] * (len(STEPS) - reached)


def test_fewer_registers_than_asked_for_are_not_enough() -> None:
    guest = Guest()
    few = {number: value for number, value in guest.pcrs().items() if number < 9}
    report = guest.report(
        DATA, selections=(tpm.selection(few),), digest=vtpm.digest_of(few)
    ).to_bytes()

    assert appraise(vtpm.document(report=report)).reason == "vtpm.registers"


def test_a_quote_of_another_bank_is_not_read() -> None:
    report = Guest().report(DATA, selections=(tpm.selection(range(10), 0x0C),)).to_bytes()

    assert appraise(vtpm.document(report=report)).reason == "vtpm.registers"


def test_what_the_quote_answers_must_be_what_the_document_binds() -> None:
    report = Guest().report(bytes(64)).to_bytes()

    found = appraise(vtpm.document(report=report))

    assert found.reason == "document.report_data"
    assert found.finding("document.report_data").expected == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"nonce": b"\x25" * 32}, "document.nonce"), ({"manifest_digest": b""}, "document.manifest")],
)
def test_it_is_about_this_challenge_and_manifest(changes: Any, reason: str) -> None:
    assert appraise(**changes).reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pcr9s": frozenset({bytes(32)})}, "vtpm.boot"),
        ({"kernel_digests": frozenset({bytes(32)})}, "vtpm.kernel"),
        ({"pcr0s": frozenset({bytes(32)})}, "vtpm.firmware"),
        ({"pcr_values": {4: bytes(32)}}, "vtpm.pcr.4"),
        ({"pcr_values": {11: bytes(32)}}, "vtpm.pcr.11"),
        ({"hosts": frozenset({"host-8"})}, "vtpm.host"),
        ({"pcr9s": frozenset()}, "vtpm.boot"),
    ],
)
def test_another_value_than_the_policys_fails_by_name(changes: Any, reason: str) -> None:
    assert appraise(policy=vtpm.policy(**changes)).reason == reason


def test_what_is_unchecked_is_said_so() -> None:
    policy = vtpm.policy(
        pcr9s=UNCHECKED,
        kernel_digests=UNCHECKED,
        pcr0s=UNCHECKED,
        pcr_values=UNCHECKED,
        hosts=UNCHECKED,
        require_secure_boot=False,
    )
    found = appraise(policy=policy)

    assert found.passed
    names = ("host_tpm", "host", "firmware", "kernel", "boot", "pcrs", "secure_boot")
    assert {found.finding(f"vtpm.{name}").outcome for name in names} == {Outcome.UNCHECKED}


@pytest.mark.parametrize(
    ("more", "actual"),
    [
        (event(4, b"other", 0x80000003), f"2: {vtpm.KERNEL.hex()} "),
        (b"", "none"),
    ],
)
def test_a_kernel_is_the_only_image_that_was_started(more: bytes, actual: str) -> None:
    log = boot_log(more) if more else boot_log().replace(b"\x03\x00\x00\x80", b"\x07\x00\x00\x80")
    found = appraise(vtpm.document(Guest(log=log)))

    assert found.reason == "vtpm.kernel"
    assert found.finding("vtpm.kernel").actual.startswith(actual)


def test_several_images_pass_where_the_kernel_is_unchecked() -> None:
    guest = Guest(log=boot_log(event(4, b"other", 0x80000003)))

    found = appraise(vtpm.document(guest), vtpm.policy(kernel_digests=UNCHECKED))

    assert found.passed


def test_secure_boot_must_be_on_where_it_is_demanded() -> None:
    off = boot_log().replace(
        event(7, vtpm.SECURE_BOOT + b"\x01", 0x80000001),
        event(7, vtpm.SECURE_BOOT + b"\x00", 0x80000001),
    )
    policy = vtpm.policy(pcr_values=UNCHECKED)

    assert appraise(vtpm.document(Guest(log=off)), policy).reason == "vtpm.secure_boot"


def test_what_is_not_genuine_is_compared_all_the_same() -> None:
    found = appraise(vtpm.document(chain=()), vtpm.policy(pcr9s=frozenset({bytes(32)})))

    assert found.finding("vtpm.boot").outcome is Outcome.FAIL
    assert found.finding("vtpm.kernel").outcome is Outcome.PASS
    assert found.finding("vtpm.host").actual == "none"


def test_a_quote_that_cannot_be_read_answers_nothing() -> None:
    report = replace(Guest().report(DATA), attest=b"").to_bytes()

    assert appraise(vtpm.document(report=report)).finding("document.report_data").actual == "empty"


def test_only_a_virtual_tpm_brings_a_report_of_this_size() -> None:
    large = vtpm.document(report=bytes(MAX_REPORT + 1))

    assert documents.parse(documents.encode(large)) == large
    with pytest.raises(MalformedEvidenceError, match="at most 16384 of tdx"):
        documents.parse(documents.encode(replace(large, tee=Tee.TDX)))


@given(raw=st.binary(min_size=1, max_size=300))
def test_any_report_is_judged(raw: bytes) -> None:
    assert appraise(vtpm.document(report=raw)).reason == "vtpm.report"
