"""Keys are made once, kept private, and found under their own name only."""

import secrets
import stat
from pathlib import Path

import pytest

from atoll.client.keystore import KeyStore
from atoll.errors import AtollError, ConfigError, InputError, NotFoundError
from atoll.identity import PartyKeys
from support import signing


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home")


def test_a_key_is_kept_in_a_private_file_and_found_again(store: KeyStore) -> None:
    made = store.new("alice")
    assert store.load("alice").signing_key == made.signing_key
    assert stat.S_IMODE(store.path("alice").stat().st_mode) == 0o600
    assert store.names() == ("alice",)


def test_a_key_is_never_replaced(store: KeyStore) -> None:
    made = store.new("alice")
    with pytest.raises(ConfigError) as caught:
        store.new("alice")
    assert caught.value.code == "key.exists"
    assert store.load("alice").signing_key == made.signing_key


def test_a_key_that_is_not_there_says_how_to_make_it(store: KeyStore) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.load("bob")
    assert caught.value.code == "key.not_found"
    assert caught.value.hint == "`atoll keys new bob` makes one"
    assert store.names() == ()


def test_a_key_is_made_on_first_use_and_kept(store: KeyStore) -> None:
    assert store.load_or_new("me").signing_key == store.load_or_new("me").signing_key


def test_a_key_that_somebody_made_meanwhile_is_used(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = KeyStore(store.home).new("me")
    real, calls = KeyStore.load, 0

    def late(self: KeyStore, name: str) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise NotFoundError("not yet", code="key.not_found")
        return real(self, name)

    monkeypatch.setattr(KeyStore, "load", late)
    assert store.load_or_new("me").signing_key == theirs.signing_key


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "nul\0", "x" * 65])
def test_a_name_that_is_none_is_refused(store: KeyStore, name: str) -> None:
    for use in (store.new, store.load, store.load_or_new):
        with pytest.raises(InputError) as caught:
            use(name)
        assert caught.value.code.startswith(("name.", "identity.", "message."))
    assert not store.home.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[" * 100_000, b"\xff" * 10])
def test_a_damaged_file_is_refused(store: KeyStore, content: bytes) -> None:
    store.new("alice")
    store.path("alice").write_bytes(content)
    with pytest.raises(AtollError) as caught:
        store.load("alice")
    assert caught.value.code in {"identity.malformed", "file.too_large"}


def test_a_file_with_another_s_keys_is_refused(store: KeyStore) -> None:
    store.new("alice")
    store.path("alice").rename(store.path("bob"))
    with pytest.raises(InputError) as caught:
        store.load("bob")
    assert caught.value.code == "identity.malformed"


# --- under a passphrase ---


@pytest.fixture
def asked() -> list[str]:
    """For which keys a passphrase was asked."""
    return []


@pytest.fixture
def asking(tmp_path: Path, asked: list[str]) -> KeyStore:
    def ask(name: str) -> bytes:
        asked.append(name)
        return b"open sesame"

    return KeyStore(tmp_path / "home", ask)


def test_a_protected_key_is_asked_for_only_to_load_it(asking: KeyStore, asked: list[str]) -> None:
    made = asking.new("alice", b"open sesame")
    assert stat.S_IMODE(asking.path("alice").stat().st_mode) == 0o600
    assert asking.public("alice") == made.public
    assert asking.is_protected("alice")
    assert asking.names() == ("alice",)
    assert asked == []
    assert asking.load("alice").to_bytes() == made.to_bytes()
    assert asking.load_or_new("alice").public == made.public
    assert asked == ["alice", "alice"]


def test_without_anybody_to_ask_a_protected_key_is_refused(store: KeyStore) -> None:
    store.new("alice", b"open sesame")
    for use in (store.load, store.load_or_new):
        with pytest.raises(InputError) as caught:
            use("alice")
        assert caught.value.code == "key.passphrase"


def test_a_key_is_protected_and_unprotected_and_stays_the_same(
    asking: KeyStore, asked: list[str]
) -> None:
    made = asking.new("alice")
    clear = asking.path("alice").read_bytes()
    assert asking.protect("alice", lambda: b"open sesame") == made.public
    assert made.hpke.seed.hex().encode() not in asking.path("alice").read_bytes()
    with pytest.raises(InputError) as caught:
        asking.protect("alice", lambda: b"other")
    assert caught.value.code == "key.protected"
    assert asking.unprotect("alice") == made.public
    assert asked == ["alice"]
    assert asking.path("alice").read_bytes() == clear
    assert stat.S_IMODE(asking.path("alice").stat().st_mode) == 0o600
    with pytest.raises(InputError) as caught:
        asking.unprotect("alice")
    assert caught.value.code == "key.unprotected"


def test_a_wrong_passphrase_changes_nothing(asking: KeyStore) -> None:
    asking.new("alice", b"another one")
    before = asking.path("alice").read_bytes()
    with pytest.raises(InputError) as caught:
        asking.unprotect("alice")
    assert caught.value.code == "key.passphrase"
    assert asking.path("alice").read_bytes() == before


def test_protected_keys_under_another_name_are_refused(asking: KeyStore) -> None:
    asking.new("alice", b"open sesame")
    asking.path("alice").rename(asking.path("bob"))
    for use in (asking.load, asking.public, asking.is_protected, asking.unprotect):
        with pytest.raises(InputError) as caught:
            use("bob")
        assert caught.value.code == "identity.malformed"


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_imported_keys_are_kept_and_never_replaced(store: KeyStore, kind: str) -> None:
    keys = PartyKeys.imported("alice", signing.imported(kind), secrets.token_bytes)
    store.add(keys)
    assert store.load("alice").to_bytes() == keys.to_bytes()
    with pytest.raises(ConfigError) as caught:
        store.add(keys, b"open sesame")
    assert caught.value.code == "key.exists"
    assert not store.is_protected("alice")
