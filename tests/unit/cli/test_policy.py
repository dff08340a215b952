"""`atoll policy`."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.client.keystore import KeyStore
from atoll.corim.measured import TDX, to_corim
from atoll.corim.signed import sign_corim
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.corim.values import Corim
from atoll.errors import ConfigError, ConflictError
from atoll.policy.activation import activate
from atoll.policy.document import Mode
from atoll.policy.records import to_bytes
from atoll.policy.signed import VerifiedPolicy
from atoll_cli.policy_store import FilePolicyStore
from support import evidence, policies
from unit.cli.console import Console, Said
from unit.policy.test_records import record

ONE, TWO = "11" * 48, "22" * 48


@pytest.fixture
def signed(console: Console, tmp_path: Path) -> Path:
    """Version 1 of `fleet`, signed by `me`."""
    console("keys", "new", "me")
    draft, made = tmp_path / "p1.json", tmp_path / "p1.signed"
    assert console("policy", "new", "fleet", "--measurement", ONE, "-o", draft).status == 0
    assert console("policy", "sign", draft, "-o", made).status == 0
    return made


def _next(console: Console, before: Path, *options: str) -> Path:
    draft = before.with_name(f"{before.stem}-next.json")
    made = draft.with_suffix(".signed")
    origin = ("--from", before)
    assert console("policy", "new", "fleet", *origin, *options, "-o", draft).status == 0
    assert console("policy", "sign", draft, "-o", made).status == 0
    return made


def _error(said: Said) -> str:
    assert said.status == 1
    code: str = said.document()["error"]["code"]
    return code


def test_from_a_draft_to_a_policy_in_force(console: Console, signed: Path) -> None:
    said = console("policy", "activate", signed, "--json")
    assert said.status == 0
    assert said.document() == {
        "name": "fleet",
        "changed": True,
        "highest": 1,
        "enforced": 1,
        "candidate": None,
    }
    again = console("policy", "activate", signed, "--json")
    assert again.document()["changed"] is False


def test_refuses_a_rollback(console: Console, signed: Path) -> None:
    console("policy", "activate", signed)
    console("policy", "activate", _next(console, signed, "--measurement", TWO))
    assert _error(console("policy", "activate", signed, "--json")) == "policy.rollback"


def test_a_candidate_leaves_what_is_enforced(console: Console, signed: Path) -> None:
    console("policy", "activate", signed)
    trial = _next(console, signed, "--mode", "shadow")
    document = console("policy", "activate", trial, "--json").document()
    assert (document["enforced"], document["candidate"]) == (1, 2)


def test_says_when_nothing_is_enforced(console: Console, signed: Path) -> None:
    said = console("policy", "activate", _next(console, signed, "--mode", "warn"))
    assert "no enclave is admitted" in said.err


def test_refuses_a_draft_and_a_strangers_signature(
    console: Console, signed: Path, tmp_path: Path
) -> None:
    draft = signed.with_name("p1.json")
    assert _error(console("policy", "activate", draft, "--json")) == "policy.invalid"
    console("keys", "new", "eve")
    hers = tmp_path / "hers"
    console("policy", "sign", draft, "--key", "eve", "-o", hers)
    assert _error(console("policy", "activate", hers, "--json")) == "policy.signature"


def test_needs_as_many_owners_as_asked_for(console: Console, signed: Path, tmp_path: Path) -> None:
    console("keys", "new", "bob")
    owners: list[str | Path] = []
    for name in ("me", "bob"):
        path = tmp_path / f"{name}.pub"
        path.write_bytes(KeyStore(console.home).load(name).public.to_bytes())
        owners += ["--owner", path]
    line: list[str | Path] = [*owners, "--threshold", "2", "--json"]
    assert _error(console("policy", "activate", signed, *line)) == "policy.signature"
    both = tmp_path / "both"
    assert console("policy", "sign", signed, "--key", "bob", "-o", both).status == 0
    assert console("policy", "activate", both, *line).status == 0
    signers = console("policy", "show", both, "--json").document()["signatures"]
    assert {item["name"] for item in signers} == {"me", "bob"}


def test_lint_fails_on_errors_and_not_on_warnings(console: Console, signed: Path) -> None:
    said = console("policy", "lint", signed, "--json")
    assert said.status == 0
    assert [item["id"] for item in said.document()["remarks"]] == ["lint.rollback"]
    draft = signed.with_name("p1.json")
    plain = json.loads(draft.read_bytes())
    plain["sections"]["sev-snp"]["allow_debug"] = True
    draft.write_text(json.dumps(plain))
    said = console("policy", "lint", draft)
    assert said.status == 1
    assert "error" in said.out
    assert "allow_debug" in said.out


def test_lint_says_when_there_is_nothing(console: Console, signed: Path) -> None:
    draft = signed.with_name("p1.json")
    plain = json.loads(draft.read_bytes())
    tcb = {"bootloader": 4, "fmc": 0, "microcode": 219, "snp": 24, "tee": 0}
    plain["sections"]["sev-snp"]["minimum_tcb"] = tcb
    draft.write_text(json.dumps(plain))
    assert "nothing to remark" in console("policy", "lint", draft).out


def test_diff_is_against_what_is_active(console: Console, signed: Path) -> None:
    new = _next(console, signed, "--measurement", TWO)
    said = console("policy", "diff", new)
    assert "no version of fleet is active" in said.err
    console("policy", "activate", signed)
    changes = console("policy", "diff", new, "--json").document()["changes"]
    assert [item["path"] for item in changes] == ["version", "sections.sev-snp.measurements"]
    assert changes[1]["direction"] == "both"
    same = console("policy", "diff", new, "--against", new, "--json").document()
    assert same == {"changes": [], "replay": None}


def test_replays_kept_appraisals(console: Console, tmp_path: Path) -> None:
    kept = console.home / "appraisals"
    kept.mkdir(parents=True)
    (kept / "r1.appraisal").write_bytes(to_bytes(record()))
    root = tmp_path / "root.pem"
    root.write_bytes(evidence.chain().ark_pem)
    sections = {"sev-snp": evidence.policy(measurements=frozenset({bytes(48)}))}
    new = tmp_path / "new.json"
    new.write_bytes(policies.document(sections=sections).to_bytes())
    said = console("policy", "diff", new, "--replay", "--root", root)
    assert said.status == 0
    assert "replayed 1 appraisals: 1 would be refused now, 0 accepted" in said.out
    assert "pass -> fail (snp.measurement)" in said.out
    document = console("policy", "diff", new, "--replay", "--root", root, "--json").document()
    (change,) = document["replay"]["changes"]
    assert (change["id"], change["new"]["reason"]) == ("r1", "snp.measurement")
    (kept / "r2.appraisal").write_bytes(b"noise")
    assert console("policy", "diff", new, "--replay").status == 1


def _corim(tmp_path: Path, corim: Corim) -> list[str | Path]:
    key = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
    (tmp_path / "c.cbor").write_bytes(sign_corim(corim, key, kid=b"build", signer="Build"))
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "c.pem").write_bytes(pem)
    return ["--corim", tmp_path / "c.cbor", "--corim-key", "build", tmp_path / "c.pem"]


def test_takes_reference_values_from_a_signed_corim(console: Console, tmp_path: Path) -> None:
    values = SnpReferenceValues(measurements=frozenset({bytes.fromhex(TWO)}))
    options = _corim(tmp_path, snp_to_corim(values, corim_id="c", tag_id="t"))
    said = console("policy", "new", "fleet", *options, "-o", tmp_path / "p", "--json")
    assert said.status == 0
    assert said.document()["document"]["sections"]["sev-snp"]["measurements"] == [TWO]
    fields = {"mr_tds": frozenset({bytes.fromhex(ONE)})}
    options = _corim(tmp_path, to_corim(TDX, fields, corim_id="c", tag_id="t"))
    line = ("--from", tmp_path / "p", "--tee", "tdx", "-o", tmp_path / "p2", "--json")
    said = console("policy", "new", "fleet", *options, *line)
    document = said.document()["document"]
    assert document["sections"]["tdx"]["mr_tds"] == [ONE]
    assert document["sections"]["sev-snp"]["measurements"] == [TWO]
    assert document["version"] == 2


def test_refuses_a_corim_by_another_key(console: Console, tmp_path: Path) -> None:
    values = SnpReferenceValues(measurements=frozenset({bytes.fromhex(TWO)}))
    options = _corim(tmp_path, snp_to_corim(values, corim_id="c", tag_id="t"))
    other = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32).public_key()
    wrong = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    for key, code in ((other, "cose.signature"), (wrong, "key.invalid"), (None, "key.invalid")):
        (tmp_path / "c.pem").write_bytes(
            key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            if key
            else b"no key"
        )
        said = console("policy", "new", "x", *options, "-o", tmp_path / "x", "--json")
        assert _error(said) == code


@pytest.mark.parametrize(
    "line",
    [
        ("new", "../x", "-o", "x"),
        ("new", "x", "--measurement", "zz", "-o", "x"),
        ("new", "x", "--tee", "sgx", "-o", "x"),
        ("new", "x", "--corim", "{file}", "-o", "x"),
        ("new", "other", "--from", "{file}", "-o", "x"),
        ("show", "nothing-here"),
        ("activate", "{file}", "--threshold", "0"),
    ],
)
def test_usage_errors(console: Console, signed: Path, line: tuple[str, ...]) -> None:
    assert console("policy", *(part.format(file=signed) for part in line)).status == 2


def test_never_replaces_a_file(console: Console, signed: Path) -> None:
    said = console("policy", "new", "fleet", "--measurement", ONE, "-o", signed, "--json")
    assert _error(said) == "file.exists"


@pytest.mark.parametrize("text", ["", "{}", '{"a":1,"a":2}', "[" * 9999, "7"])
def test_refuses_files_that_are_no_policy(console: Console, tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad"
    path.write_text(text)
    assert _error(console("policy", "show", path, "--json")) == "policy.invalid"


def test_shows_a_document_to_a_person(console: Console, signed: Path) -> None:
    said = console("policy", "show", signed)
    assert "signed by" in said.out
    assert ONE in said.out


def test_the_store_never_loses_anothers_change(tmp_path: Path) -> None:
    store = FilePolicyStore(tmp_path / "policies")
    assert store.load("fleet") is None
    now = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    first = activate(None, VerifiedPolicy(document=policies.document(), signed_by=()), now=now)
    store.replace(None, first)
    assert store.load("fleet") == first
    made = policies.document(version=4, mode=Mode.SHADOW)
    second = activate(first, VerifiedPolicy(document=made, signed_by=()), now=now)
    with pytest.raises(ConflictError):
        store.replace(None, second)
    store.replace(first, second)
    assert store.load("fleet") == second
    assert (tmp_path / "policies" / "fleet.json").stat().st_mode & 0o777 == 0o600


def test_a_store_that_cannot_be_written_says_so(console: Console, signed: Path) -> None:
    (console.home / "policies").write_bytes(b"in the way")
    assert _error(console("policy", "activate", signed, "--json")) == "file.unreadable"
    now = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    state = activate(None, VerifiedPolicy(document=policies.document(), signed_by=()), now=now)
    with pytest.raises(ConfigError):
        FilePolicyStore(console.home / "policies").replace(None, state)


def test_reference_values_come_from_one_place(console: Console, tmp_path: Path) -> None:
    values = SnpReferenceValues(measurements=frozenset({bytes.fromhex(TWO)}))
    options = _corim(tmp_path, snp_to_corim(values, corim_id="c", tag_id="t"))
    line = ("--measurement", ONE, "-o", tmp_path / "p")
    assert console("policy", "new", "fleet", *options, *line).status == 2
