"""`atoll computation`, `submit` and `release` where no stack is needed, and where there is none."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from atoll.client.agreement import ConsentFile, ManifestFile
from atoll.client.keystore import KeyStore
from atoll.client.plan import write_card
from atoll.computation.releasing import FIELDS
from support.computations import LATER_MS, NAMES, NOW_MS, keys, manifest
from unit.cli.console import Console, Said
from unit.client.test_plan import FILES, plain

FILE = ManifestFile.from_bytes(manifest().to_bytes())


@pytest.fixture
def folder(tmp_path: Path, console: Console) -> Path:
    """The manifest and what its plan names; the keys of all parties are here."""
    for name, raw in FILES.items():
        (tmp_path / name).write_bytes(raw)
    for name in NAMES:
        KeyStore(console.home).add(keys(name))
    (tmp_path / "plan.json").write_text(json.dumps(plain(), indent=2))
    (tmp_path / "manifest.json").write_bytes(FILE.raw)
    return tmp_path


def code(said: Said) -> str:
    """Of a refusal, which is one document and no traceback."""
    assert said.status in {1, 3}, said
    assert "Traceback" not in said.err
    found: str = said.document()["error"]["code"]
    return found


def consents(folder: Path, *names: str, until: int = LATER_MS) -> list[Path]:
    paths = []
    for name in names:
        path = folder / f"{name}.consent"
        path.write_bytes(ConsentFile.sign(keys(name), FILE.digest, expires_ms=until).to_bytes())
        paths.append(path)
    return paths


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def test_a_plan_of_cards_becomes_a_manifest_without_a_stack(console: Console, folder: Path) -> None:
    out = folder / "new.json"
    said = console("computation", "new", folder / "plan.json", "--out", out, "--json")
    assert said.status == 0, said
    made = ManifestFile.from_bytes(out.read_bytes())
    assert said.document() == {"path": str(out), "digest": made.digest.hex()}
    assert made.manifest.parties == manifest().parties
    assert made.manifest.nonce != manifest().nonce
    again = console("computation", "new", folder / "plan.json", "--out", out, "--json")
    assert code(again) == "file.exists"
    assert out.read_bytes() == made.raw


def test_arguments_of_somebody_else_are_not_sealed(console: Console, folder: Path) -> None:
    steps: list[dict[str, Any]] = plain()["steps"]
    steps[0] |= {"invocation": {"provider": "coder"}}
    (folder / "plan.json").write_text(json.dumps(plain(steps=steps)))
    new = ("computation", "new", folder / "plan.json", "--out", folder / "new.json", "--json")
    assert code(console(*new, "--key", "north")) == "plan.provider"
    said = console(*new, "--key", "coder")
    assert (said.status, code(said)) == (3, "profile.missing")
    assert not (folder / "new.json").exists()


def test_lint_says_what_to_look_at_and_refuses_what_is_illegal(
    console: Console, folder: Path
) -> None:
    path = folder / "manifest.json"
    said = console("computation", "lint", path, "--json")
    assert said.status == 0
    assert said.document()["digest"] == FILE.digest.hex()
    assert {one["id"] for one in said.document()["advice"]} >= {"advice.own_data"}
    assert "advice.own_data" in console("computation", "lint", path).out
    changed = manifest().to_plain()
    changed["outputs"]["model"]["consumers"] = ["mallory"]
    path.write_text(json.dumps(changed))
    assert code(console("computation", "lint", path, "--json")) == "manifest.output"


def test_show_names_everybody_and_everything(console: Console, folder: Path) -> None:
    path = folder / "manifest.json"
    said = console("computation", "show", path)
    assert said.status == 0
    for word in (
        *(FILE.digest.hex(), *NAMES, *(keys(name).public.fingerprint for name in NAMES)),
        *("data-provider", "north.csv", "as /data/table.csv", "model.main:run", "5000"),
    ):
        shown = "4.9 KiB" if word == "5000" else word
        assert shown in said.out
    document = console("computation", "show", path, "--json").document()
    assert document["manifest"] == manifest().to_plain()
    assert document["roles"]["north"] == ["data-provider"]


def test_what_a_manifest_says_cannot_paint_the_terminal(console: Console, folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(manifest(title="\x1b[2J\u202etitle").to_bytes())
    for verb in ("show", "lint"):
        said = console("computation", verb, path)
        assert "\x1b" not in said.out + said.err
        assert "\u202e" not in said.out + said.err
    said = console("computation", "sign", path, "--key", "north", "--yes", "-o", folder / "c")
    assert "\x1b" not in said.out + said.err


def test_who_signs_is_shown_what_and_consents_to_that(console: Console, folder: Path) -> None:
    out = folder / "north.consent"
    sign = ("computation", "sign", folder / "manifest.json", "--key", "north", "--out", out)
    said = console(*sign, "--yes", "--expires", "2h", "--json")
    assert said.status == 0, said
    assert "south.csv" in said.err
    consent = ConsentFile.from_bytes(out.read_bytes(), "north")
    assert consent.manifest_digest == FILE.digest
    assert consent.consent.expires_ms == said.document()["expires_ms"]
    assert code(console(*sign, "--yes", "--json")) == "file.exists"


def test_without_an_answer_nothing_is_signed(
    console: Console, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "north.consent"
    sign = ("computation", "sign", folder / "manifest.json", "--key", "north", "--out", out)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert code(console(*sign, "--json")) == "answer.no_terminal"
    for answer in ("n\n", "\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert code(console(*sign, "--json")) == "answer.no"
    assert not out.exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert console(*sign).status == 0
    assert out.exists()


def test_only_a_party_signs_and_only_with_its_own_key(console: Console, folder: Path) -> None:
    sign = ("computation", "sign", folder / "manifest.json", "--yes", "--json")
    console("keys", "new", "mallory")
    assert code(console(*sign, "--key", "mallory")) == "manifest.not_a_party"
    assert code(console(*sign, "--key", "nobody")) == "key.not_found"
    (console.home / "keys" / "north.json").unlink()
    console("keys", "new", "north")
    assert code(console(*sign, "--key", "north")) == "manifest.not_a_party"


def test_status_says_who_is_missing(console: Console, folder: Path) -> None:
    path = folder / "manifest.json"
    given = consents(folder, "coder", "north")
    said = console("computation", "status", path, *given, "--json")
    assert said.status == 1
    assert said.document()["complete"] is False
    assert [one["state"] for one in said.document()["consents"]] == [
        "given", "missing", "given", "missing",
    ]  # fmt: skip
    assert "missing" in console("computation", "status", path, *given).out
    said = console("computation", "status", path, *consents(folder, *NAMES), "--json")
    assert (said.status, said.document()["complete"]) == (0, True)


def test_submit_refuses_here_what_a_gateway_would(console: Console, folder: Path) -> None:
    def submitted(*paths: Path) -> str:
        given = [word for path in paths for word in ("--consent", str(path))]
        return code(console("submit", folder / "manifest.json", *given, "--json"))

    assert submitted() == "consent.missing"
    assert submitted(*consents(folder, *NAMES, until=NOW_MS // 2)) == "consent.expired"
    assert submitted(*consents(folder, *NAMES, "mallory")) == "consent.foreign"
    assert submitted(folder / "6.card") == "consent.invalid"
    assert submitted(folder / "manifest.json") == "file.too_large"
    # Only now is anybody asked.
    assert submitted(*consents(folder, *NAMES)) == "profile.missing"


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "manifest.invalid"),
    "no JSON": (b"{", "manifest.invalid"),
    "no text": (b"\xff\xfe", "manifest.invalid"),
    "a list": (b"[]", "manifest.version"),
    "another type": (b'{"type":"atoll.manifest/v1"}', "manifest.version"),
    "too deep": (b"[" * 100_000, "manifest.invalid"),
    "too large": (b" " * (2 << 20), "file.too_large"),
    "fields missing": (b'{"type":"atoll.manifest/v2"}', "manifest.invalid"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_manifest_is_refused_everywhere(
    console: Console, folder: Path, what: str
) -> None:
    raw, want = BAD[what]
    path = folder / "manifest.json"
    path.write_bytes(raw)
    for line in (
        ("computation", "lint", path),
        ("computation", "show", path),
        ("computation", "sign", path, "--key", "north", "--yes"),
        ("computation", "status", path),
        ("computation", "withdraw", path, "--key", "north", "--yes"),
        ("submit", path),
    ):
        assert code(console(*line, "--json")) == want, line


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (b"{", "json.malformed"),
        (b"{}", "plan.version"),
        (b" " * (5 << 20), "file.too_large"),
        (json.dumps(plain(parties=["nowhere.json"])).encode(), "file.not_found"),
        (json.dumps(plain(parties=["."])).encode(), "file.unreadable"),
        (json.dumps(plain(parties=["a\0b"])).encode(), "plan.invalid"),
        (json.dumps(plain(parties=["/dev/zero"])).encode(), "file.too_large"),
        (json.dumps(plain(datasets={"../x": {"asset": "6.card"}})).encode(), "plan.invalid"),
        (json.dumps(plain(datasets={"x": {"asset": "6.card"}})).encode(), "manifest.source"),
    ],
)
def test_what_is_no_plan_is_refused(console: Console, folder: Path, raw: bytes, want: str) -> None:
    (folder / "plan.json").write_bytes(raw)
    out = folder / "new.json"
    assert code(console("computation", "new", folder / "plan.json", "-o", out, "--json")) == want
    assert not out.exists()


@pytest.mark.parametrize(
    "line",
    [
        ("computation", "lint", "nowhere.json"),
        ("computation", "lint", "."),
        ("computation", "sign", "MANIFEST", "--expires", "soon"),
        ("computation", "sign", "MANIFEST", "--expires", "0d"),
        ("computation", "sign", "MANIFEST", "--expires", "9999d"),
        ("computation", "status", "MANIFEST", "nowhere.json"),
        ("computation", "status", "MANIFEST", "--job", "a/b"),
        ("submit", "MANIFEST", "--consent", "nowhere.json"),
        ("release",),
        ("release", "j1", "--watch", "--policy", "MANIFEST"),
        ("release", "--watch"),
        ("release", "j1", "--policy", "MANIFEST"),
        ("release", "--policy", "MANIFEST"),
        ("release", "a*"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    console: Console, folder: Path, line: tuple[str, ...]
) -> None:
    words = [str(folder / "manifest.json") if word == "MANIFEST" else word for word in line]
    assert console(*words, "--json").status == 2


def test_withdraw_wants_a_file_or_a_job(console: Console, folder: Path) -> None:
    withdraw = ("computation", "withdraw", "--key", "north", "--yes", "--json")
    assert code(console(*withdraw, "no/where")) == "file.not_found"
    assert code(console(*withdraw, "j123")) == "profile.missing"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b" " * (2 << 20)])
def test_a_watch_begins_with_a_legal_policy_only(
    console: Console, folder: Path, raw: bytes
) -> None:
    path = folder / "policy.json"
    path.write_bytes(raw)
    watch = ("release", "--watch", "--policy", path, "--key", "north", "--json")
    assert code(console(*watch)) in {"release_policy.invalid", "json.malformed", "file.too_large"}
    rule = dict.fromkeys(FIELDS, "unchecked") | {"assets": "any", "allow_network": False}
    path.write_text(json.dumps({"format": "atoll-release-policy", "version": 1, "rules": [rule]}))
    assert code(console(*watch)) == "profile.missing"


def test_a_card_is_what_the_plan_reads(folder: Path) -> None:
    card = manifest().datasets["north.csv"].asset
    assert (folder / "6.card").read_bytes() == write_card(card)
