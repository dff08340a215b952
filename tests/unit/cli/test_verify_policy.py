"""`atoll attest verify --policy`: requirements, policies and documents, signed or not."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.policy import policy_to_json
from atoll.evidence.snp import GuestPolicy
from atoll.identity import PartyKeys
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.signed import sign_policy
from atoll.policy.templates import strict_keystone, strict_tdx
from support import evidence, policies
from support.keystone import DEVICE, ENCLAVE_HASH, Content
from unit.cli.attest import AT, Files, verify
from unit.cli.console import Console


def test_debug_fails_without_a_policy(console: Console, files: Files) -> None:
    said = verify(console, files, policy=0x30133 | GuestPolicy.DEBUG)
    assert said.status == 1
    assert "FAIL: snp_report of Simulated, SIMULATED: snp.debug" in said.out


def test_takes_a_whole_policy_and_a_list_of_requirements(console: Console, files: Files) -> None:
    whole = json.loads(policy_to_json(evidence.policy()))
    assert verify(console, files, "--policy", files.policy(whole)).status == 0
    assert verify(console, files, "--policy", files.policy({"vmpl": 0})).status == 0
    said = verify(console, files, "--json", "--policy", files.policy({"vmpl": 1}))
    assert said.document()["reason"] == "snp.vmpl"


def _document(*, mode: Mode = Mode.ENFORCE, not_before: int = 0, **sections: Any) -> PolicyDocument:
    return PolicyDocument(
        name="fleet", version=1, not_before=not_before, mode=mode, sections=sections
    )


def _policy_document(**sections: Any) -> Any:
    return _document(**sections).to_plain()


def test_takes_the_section_of_a_policy_document_that_is_about_the_kind(
    console: Console, files: Files
) -> None:
    good = {"sev-snp": evidence.policy(), "tdx": strict_tdx(frozenset())}
    document = files.policy(_policy_document(**good))
    assert verify(console, files, "--policy", document).status == 0
    other = {"sev-snp": evidence.policy(measurements=frozenset({bytes(48)}))}
    bad = files.policy(_policy_document(**other))
    said = verify(console, files, "--json", "--policy", bad)
    assert (said.status, said.document()["reason"]) == (1, "snp.measurement")


def test_a_policy_document_without_the_section_is_a_usage_error(
    console: Console, files: Files
) -> None:
    document = files.policy(_policy_document(tdx=strict_tdx(frozenset())))
    said = verify(console, files, "--policy", document)
    assert said.status == 2
    assert "no section about snp_report; its sections: tdx" in said.err
    broken = files.policy(_policy_document(tdx=strict_tdx(frozenset())) | {"mode": "off"})
    assert verify(console, files, "--policy", broken).status == 2


def test_a_keystone_report_is_judged_by_a_policy_document(console: Console, files: Files) -> None:
    report = files.write("report", Content().report())
    key = files.write("device", DEVICE.public.hex().encode())
    fixed = ("--kind", "keystone", "--root", key, "--json")
    document = files.policy(_policy_document(keystone=strict_keystone(frozenset({ENCLAVE_HASH}))))
    said = console("attest", "verify", report, *fixed, "--policy", document)
    assert said.status == 0, said.out
    for option, value in (("--report-data", b"other"), ("--measurement", bytes(64))):
        more = ("--policy", document, option, value.hex())
        assert console("attest", "verify", report, *fixed, *more).status == 1


def test_a_policy_that_contradicts_an_option_is_a_usage_error(
    console: Console, files: Files
) -> None:
    policy = files.policy({"measurement": "11" * 48})
    assert verify(console, files, "--policy", policy, "--measurement", "22" * 48).status == 2


@pytest.mark.parametrize("text", ["[]", "{", '{"vmpl": 0, "vmpl": 1}', '{"vmpl": 9}', '{"x": 1}'])
def test_what_is_no_policy_is_a_usage_error(console: Console, files: Files, text: str) -> None:
    policy = files.write("policy.json", text.encode())
    assert verify(console, files, "--policy", policy).status == 2


ALICE, MALLORY = policies.owner(1), policies.owner(2)
GOOD: dict[str, Any] = {"sev-snp": evidence.policy()}
OTHER: dict[str, Any] = {"sev-snp": evidence.policy(measurements=frozenset({bytes(48)}))}


def _signed(files: Files, document: PolicyDocument, *signers: PartyKeys) -> Path:
    envelope = sign_policy(document, signers)
    return files.policy(json.loads(envelope.to_bytes()))


def _owner(files: Files, party: PartyKeys = ALICE) -> tuple[str, Path]:
    return "--owner", files.write(f"{party.name}.pub", party.public.to_bytes())


def test_a_signed_document_counts_under_its_owners_signature(
    console: Console, files: Files
) -> None:
    policy = ("--policy", _signed(files, _document(**GOOD), ALICE))
    said = verify(console, files, "--json", *policy, *_owner(files))
    assert said.status == 0, said.out
    assert said.document()["policy"]["signature"] == "pass"
    other = ("--policy", _signed(files, _document(**OTHER), ALICE))
    said = verify(console, files, "--json", *other, *_owner(files))
    assert (said.status, said.document()["reason"]) == (1, "snp.measurement")


def test_without_an_owner_the_output_says_that_signatures_were_not_checked(
    console: Console, files: Files
) -> None:
    policy = ("--policy", _signed(files, _document(**GOOD), MALLORY))
    said = verify(console, files, *policy)
    assert said.status == 0
    assert "policy fleet version 1: signatures NOT CHECKED, said to be by owner-2" in said.out
    said = verify(console, files, "--json", *policy)
    assert said.document()["policy"]["signature"] == "unchecked"
    assert "not signed" in verify(console, files, *_plain(files)).out


def _plain(files: Files) -> tuple[str, Path]:
    return "--policy", files.policy(_policy_document(**GOOD))


@pytest.mark.parametrize("threshold", ["1", "2"])
def test_a_document_that_its_owners_did_not_sign_fails_good_evidence(
    console: Console, files: Files, threshold: str
) -> None:
    signers = (MALLORY,) if threshold == "1" else (ALICE, MALLORY)
    policy = ("--policy", _signed(files, _document(**GOOD), *signers), "--threshold", threshold)
    said = verify(console, files, "--json", *policy, *_owner(files))
    assert (said.status, said.document()["reason"]) == (1, "policy.signature")
    said = verify(console, files, "--json", *_plain(files), *_owner(files))
    assert (said.status, said.document()["reason"]) == (1, "policy.signature")


def test_a_document_that_was_changed_after_it_was_signed_fails(
    console: Console, files: Files
) -> None:
    envelope = json.loads(sign_policy(_document(**GOOD), [ALICE]).to_bytes())
    envelope["document"]["version"] = 2
    policy = ("--policy", files.policy(envelope))
    said = verify(console, files, "--json", *policy, *_owner(files))
    assert (said.status, said.document()["reason"]) == (1, "policy.signature")
    assert "does not hold" in said.document()["checks"][0]["actual"]


@pytest.mark.parametrize(("after", "reason"), [(0, ""), (1, "policy.not_before")])
def test_a_document_whose_time_has_not_come_fails(
    console: Console, files: Files, after: int, reason: str
) -> None:
    at = int(datetime.fromisoformat(AT).timestamp())
    policy = files.policy(_document(not_before=at + after, **GOOD).to_plain())
    said = verify(console, files, "--json", "--policy", policy)
    assert said.document()["reason"] == reason
    assert said.status == (1 if reason else 0)


def test_a_time_beyond_the_calendar_has_not_come(console: Console, files: Files) -> None:
    policy = files.policy(_document(not_before=1 << 40, **GOOD).to_plain())
    assert "s after 1970" in verify(console, files, "--policy", policy).out


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.WARN])
@pytest.mark.parametrize(("sections", "status"), [(GOOD, 0), (OTHER, 1)])
def test_a_document_on_trial_decides_here_and_the_output_says_that_it_would_not_at_a_service(
    console: Console, files: Files, mode: Mode, sections: dict[str, Any], status: int
) -> None:
    policy = ("--policy", files.policy(_document(mode=mode, **sections).to_plain()))
    said = verify(console, files, *policy)
    assert said.status == status
    assert f"policy mode {mode.value}: this is what it says; at a service" in said.out
    said = verify(console, files, "--json", *policy)
    assert (said.status, said.document()["policy"]["mode"]) == (status, mode.value)


def test_an_owner_without_a_document_to_sign_is_a_usage_error(
    console: Console, files: Files
) -> None:
    assert verify(console, files, *_owner(files)).status == 2
    requirements = ("--policy", files.policy({"vmpl": 0}))
    assert verify(console, files, *requirements, *_owner(files)).status == 2
    nobody = ("--owner", files.write("nobody", b"{}"))
    assert verify(console, files, *_plain(files), *nobody).status == 2


def test_an_envelope_of_another_form_is_a_usage_error(console: Console, files: Files) -> None:
    envelope = json.loads(sign_policy(_document(**GOOD), [ALICE]).to_bytes())
    changes: list[dict[str, Any]] = [{"format_version": 2}, {"signatures": []}, {"more": 1}]
    for change in changes:
        policy = files.policy(envelope | change)
        assert verify(console, files, "--policy", policy).status == 2
