"""Keys are made once, kept private, and found under their own name only."""

import stat
from pathlib import Path

import pytest

from atoll.client.keystore import KeyStore
from atoll.errors import AtollError, ConfigError, InputError, NotFoundError


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
