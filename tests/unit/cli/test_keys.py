"""`atoll keys`."""

from atoll.client.keystore import KeyStore
from atoll.sealing.signature import SigningKey
from unit.cli.console import Console


def test_makes_keys_that_only_their_owner_can_read(console: Console) -> None:
    said = console("keys", "new", "alice", "--json")
    assert said.status == 0
    path = KeyStore(console.home).path("alice")
    assert path.stat().st_mode & 0o777 == 0o600
    assert console.home.stat().st_mode & 0o777 == 0o700
    public = KeyStore(console.home).load("alice").public
    assert said.document() == {
        "name": "alice",
        "fingerprint": public.fingerprint,
        "algorithm": "Ed25519",
        "signing_key": public.signing_key.hex(),
        "hpke_key": public.hpke_key.hex(),
        "protected": False,
    }


def test_never_shows_a_secret(console: Console) -> None:
    console("keys", "new", "alice")
    keys = KeyStore(console.home).load("alice")
    said = [console("keys", "show", "alice"), console("keys", "show", "alice", "--json")]
    shown = "".join(item.out + item.err for item in said)
    assert isinstance(keys.signing, SigningKey)
    assert keys.signing.seed.hex() not in shown
    assert keys.hpke.seed.hex() not in shown


def test_never_replaces_keys(console: Console) -> None:
    first = console("keys", "new", "alice", "--json").document()
    again = console("keys", "new", "alice", "--json")
    assert again.status == 1
    assert again.document()["error"]["code"] == "key.exists"
    assert console("keys", "show", "alice", "--json").document() == first


def test_lists_keys_by_name(console: Console) -> None:
    assert console("keys", "list", "--json").document() == {"keys": []}
    for name in ("bob", "alice"):
        console("keys", "new", name)
    listed = console("keys", "list", "--json").document()["keys"]
    assert [item["name"] for item in listed] == ["alice", "bob"]


def test_keys_that_are_not_there_are_not_found(console: Console) -> None:
    said = console("keys", "show", "alice", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "key.not_found"


def test_a_damaged_key_file_is_refused_without_its_content(console: Console) -> None:
    console("keys", "new", "alice")
    path = KeyStore(console.home).path("alice")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"version":1', b'"version":2'))
    said = console("keys", "show", "alice", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "identity.malformed"
    assert raw.decode()[20:60] not in said.out + said.err
