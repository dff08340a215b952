"""`atoll keys` with passphrases and imported keys."""

import os
import pty
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from atoll.client.keystore import KeyStore
from atoll.errors import InputError
from atoll.identity import PartyKeys
from atoll.sealing.public_key import encode_public_key
from atoll_cli.policy_files import read_public_key
from support import policies, signing
from support.command import ATOLL, environment
from unit.cli.console import Console, Said

SECRET = "open sesame"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(SECRET + "\n")
    return path


def refused(said: Said, code: str) -> str:
    """The hint."""
    assert said.status == 1, said
    error = said.document()["error"]
    assert error["code"] == code
    assert SECRET not in said.out + said.err
    return error["hint"] or ""


def test_protected_keys_show_and_list_without_the_passphrase(
    console: Console, secret_file: Path
) -> None:
    made = console("keys", "new", "alice", "--passphrase-file", secret_file, "--json").document()
    assert made["protected"] is True
    assert console("keys", "show", "alice", "--json").document() == made
    (listed,) = console("keys", "list", "--json").document()["keys"]
    assert listed == {
        "name": "alice",
        "fingerprint": made["fingerprint"],
        "algorithm": "Ed25519",
        "protected": True,
    }
    assert "passphrase" in console("keys", "list").out


def test_protects_and_unprotects(console: Console, secret_file: Path) -> None:
    made = console("keys", "new", "alice", "--json").document()
    clear = KeyStore(console.home).path("alice").read_bytes()
    option = ("--passphrase-file", secret_file)
    done = console("keys", "protect", "alice", *option, "--json").document()
    assert done == made | {"protected": True}
    refused(console("keys", "protect", "alice", *option, "--json"), "key.protected")
    again = console(
        "keys", "unprotect", "alice", "--json", env={"ATOLL_PASSPHRASE_FILE": str(secret_file)}
    )
    assert again.document() == made
    assert KeyStore(console.home).path("alice").read_bytes() == clear
    refused(console("keys", "unprotect", "alice", *option, "--json"), "key.unprotected")


def test_without_file_and_terminal_the_hint_says_what_helps(
    console: Console, secret_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        console("keys", "new", "alice", "--passphrase-file", secret_file)
        for line in (
            ("keys", "unprotect", "alice"),
            ("keys", "new", "bob", "--passphrase"),
            ("result", "job-1", "--out", console.home / "out", "--key", "alice"),
        ):
            hint = refused(console(*line, "--json"), "key.passphrase")
            assert "ATOLL_PASSPHRASE_FILE" in hint
        assert console("keys", "show", "bob").status == 1


def test_a_wrong_passphrase_is_refused(console: Console, secret_file: Path, tmp_path: Path) -> None:
    console("keys", "new", "alice", "--passphrase-file", secret_file)
    wrong = tmp_path / "wrong"
    wrong.write_text("open says me")
    said = console("keys", "unprotect", "alice", "--passphrase-file", wrong, "--json")
    refused(said, "key.passphrase")
    assert "open says me" not in said.out + said.err


@pytest.mark.parametrize("content", ["", "\n", "two\nlines\n", "x" * 1100, "x" * 1025 + "\n"])
def test_a_passphrase_file_has_one_line(console: Console, tmp_path: Path, content: str) -> None:
    path = tmp_path / "passphrase"
    path.write_text(content)
    said = console("keys", "new", "alice", "--passphrase-file", path, "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] in {"key.passphrase", "file.too_large"}
    assert not KeyStore(console.home).path("alice").exists()


def test_a_passphrase_file_that_is_not_there_is_an_error(console: Console, tmp_path: Path) -> None:
    console("keys", "new", "alice")
    env = {"ATOLL_PASSPHRASE_FILE": str(tmp_path / "none")}
    said = console("keys", "protect", "alice", "--json", env=env)
    assert refused(said, "file.not_found") == ""
    assert not KeyStore(console.home).is_protected("alice")


def test_exclusive_options_are_a_matter_of_usage(console: Console, secret_file: Path) -> None:
    said = console("keys", "new", "a", "--passphrase", "--passphrase-file", secret_file, "--json")
    assert (said.status, said.document()["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "rsa2048", "rsa4096"])
def test_imports_keys(console: Console, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(signing.pem(kind))
    made = console("keys", "import", "alice", path, "--json")
    assert made.status == 0
    assert made.document()["algorithm"] == signing.ALGORITHMS.get(kind, "Ed25519")
    assert made.document()["signing_key"] == signing.signer(kind).public_bytes.hex()
    assert console("keys", "show", "alice", "--json").document() == made.document()
    assert made.document()["fingerprint"] in console("keys", "show", "alice").out
    again = console("keys", "import", "alice", path, "--json")
    refused(again, "key.exists")


def test_imports_an_encrypted_key_under_another_passphrase(
    console: Console, tmp_path: Path, secret_file: Path
) -> None:
    path, theirs = tmp_path / "key.pem", tmp_path / "theirs"
    path.write_bytes(signing.pem("rsa2048", signing.TRADITIONAL, b"their own"))
    theirs.write_bytes(b"their own\r\n")
    line = ("keys", "import", "alice", path, "--json")
    said = console(*line, "--pem-passphrase-file", secret_file)
    refused(said, "key.passphrase")
    made = console(*line, "--pem-passphrase-file", theirs, "--passphrase-file", secret_file)
    assert made.document()["protected"] is True
    keys = KeyStore(console.home, ask=lambda _: SECRET.encode()).load("alice")
    assert keys.signing_key == signing.imported("rsa2048").public_bytes
    assert "their own" not in made.out + made.err


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "key.pem"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key.pem"),
        (b"\xff" * 100_000, "file.too_large"),
        (signing.pem("p521"), "key.unusable"),
        (signing.pem("rsa1024"), "key.unusable"),
    ],
    ids=["empty", "damaged", "large", "p521", "rsa1024"],
)
def test_refuses_what_cannot_be_imported(
    console: Console, tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    refused(console("keys", "import", "alice", path, "--json"), code)
    assert console("keys", "list", "--json").document() == {"keys": []}


def test_policies_and_corims_are_signed_with_ed25519_only(
    console: Console, tmp_path: Path, secret_file: Path
) -> None:
    document = tmp_path / "policy.json"
    document.write_bytes(policies.document().to_bytes())
    store = KeyStore(console.home)
    store.add(PartyKeys.imported("rsa", signing.imported("rsa2048"), secrets.token_bytes))
    line = ("policy", "sign", document, "--json", "-o", tmp_path / "signed.json")
    refused(console(*line, "--key", "rsa"), "key.unsupported")
    line_of_corim = ("policy", "corim", "export", document, "--tee", "sev-snp", "--json")
    out = ("-o", tmp_path / "out.corim")
    refused(console(*line_of_corim, *out, "--key", "rsa"), "key.unsupported")
    # And with a protected one.
    store.new("alice", SECRET.encode())
    said = console(*line, "--key", "alice", "--passphrase-file", secret_file)
    assert said.status == 0, said
    option = ("--passphrase-file", secret_file)
    assert console(*line_of_corim, *out, "--key", "alice", *option).status == 0


def test_a_party_s_public_file_is_a_key_for_cose_unless_it_is_rsa(tmp_path: Path) -> None:
    path = tmp_path / "party.json"
    for kind in ("ed25519", "p384"):
        keys = PartyKeys.imported("alice", signing.signer(kind), secrets.token_bytes)
        path.write_bytes(keys.public.to_bytes())
        assert encode_public_key(read_public_key(path)) == keys.signing_key
    keys = PartyKeys.imported("alice", signing.signer("rsa2048"), secrets.token_bytes)
    path.write_bytes(keys.public.to_bytes())
    with pytest.raises(InputError) as caught:
        read_public_key(path)
    assert caught.value.code == "key.invalid"


def typed(home: Path, lines: list[str], *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal of its own, where a person types `lines`."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*ATOLL, *arguments],
        env=environment(home),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            for line in lines:
                while b": " not in shown.rpartition(b"\n")[2]:
                    shown += os.read(ours, 1000)
                os.write(ours, line.encode() + b"\n")
                shown += b"\n"
            while chunk := os.read(ours, 1000):
                shown += chunk
        except OSError:  # how a terminal ends on Linux
            pass
        status = process.wait(30)
    os.close(ours)
    return status, shown.decode()


def test_asks_on_the_terminal_and_shows_nothing_of_what_is_typed(tmp_path: Path) -> None:
    status, shown = typed(tmp_path, [SECRET, SECRET], "keys", "new", "alice", "--passphrase")
    assert status == 0, shown
    assert SECRET not in shown
    assert KeyStore(tmp_path, ask=lambda _: SECRET.encode()).load("alice").name == "alice"
    status, shown = typed(tmp_path, ["wrong"], "keys", "unprotect", "alice")
    assert (status, "key.passphrase" in shown, "wrong" in shown) == (1, True, False)
    status, shown = typed(tmp_path, [SECRET], "keys", "unprotect", "alice")
    assert status == 0, shown
    assert not KeyStore(tmp_path).is_protected("alice")


def test_two_passphrases_that_differ_make_no_key(tmp_path: Path) -> None:
    status, shown = typed(tmp_path, [SECRET, "other"], "keys", "new", "alice", "--passphrase")
    assert (status, "differ" in shown) == (1, True)
    assert KeyStore(tmp_path).names() == ()
