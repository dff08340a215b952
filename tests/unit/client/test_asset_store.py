"""Records are private files, found under their own name, and give keys out by asset id."""

import multiprocessing
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.client.asset_record import AssetState
from atoll.client.asset_store import AssetStore
from atoll.errors import AtollError, ConflictError, InputError, NotFoundError
from support.assets import record


@pytest.fixture
def store(tmp_path: Path) -> AssetStore:
    return AssetStore(tmp_path / "home")


def test_a_record_is_kept_in_a_private_file_and_found_again(store: AssetStore) -> None:
    store.save(record())
    path = store.path("iris")
    assert store.load("iris") == record()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["iris.json"]


def test_a_record_is_replaced_by_its_next_state(store: AssetStore) -> None:
    store.save(record())
    store.save(replace(record(), state=AssetState.STORED))
    assert store.load("iris").state is AssetState.STORED


def test_what_is_not_there_is_not_found(store: AssetStore) -> None:
    for use in (store.load, store.remove):
        with pytest.raises(NotFoundError) as caught:
            use("iris")
        assert caught.value.code == "asset.not_found"
    assert store.find("iris") is None
    assert store.names() == ()
    assert store.secrets_for(["00" * 16]) == {}
    assert not store.home.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "nul\0", "x" * 65])
def test_a_name_that_could_be_a_path_is_refused(store: AssetStore, name: str) -> None:
    for use in (store.load, store.find, store.remove, store.path):
        with pytest.raises(InputError) as caught:
            use(name)
        assert caught.value.code == "name.invalid"
    with pytest.raises(InputError), store.locked(name):
        pass
    assert not store.home.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[" * 10_000, b"\xff", b"x" * 100_000])
def test_a_damaged_record_is_refused_and_can_be_removed(store: AssetStore, content: bytes) -> None:
    store.save(record())
    store.path("iris").write_bytes(content)
    with pytest.raises(InputError) as caught:
        store.load("iris")
    assert caught.value.code == "asset.malformed"
    assert "atoll asset delete iris --local" in (caught.value.hint or "")
    assert store.names() == ("iris",)
    store.remove("iris")
    assert store.names() == ()


def test_a_record_under_another_name_is_refused(store: AssetStore) -> None:
    store.save(record())
    store.path("iris").rename(store.path("rose"))
    with pytest.raises(InputError) as caught:
        store.load("rose")
    assert caught.value.code == "asset.malformed"


def test_gives_the_keys_of_those_that_are_asked_for(store: AssetStore) -> None:
    first, second = record("first"), record("second")
    store.save(first)
    store.save(second)
    found = store.secrets_for([second.asset_id, "00" * 16])
    assert found == {second.asset_id: second.released}
    assert found[second.asset_id].content_key == second.content_key
    assert found[second.asset_id].salt == second.salt


def test_a_damaged_record_is_in_nobody_s_way_but_its_own(store: AssetStore) -> None:
    whole, damaged = record("whole"), record("damaged")
    store.save(whole)
    store.save(damaged)
    store.path("damaged").write_bytes(b"{}")
    assert store.secrets_for([whole.asset_id]).keys() == {whole.asset_id}
    with pytest.raises(InputError) as caught:
        store.secrets_for([whole.asset_id, damaged.asset_id])
    assert caught.value.code == "asset.malformed"


def hold(home: Path, name: str) -> str:
    """In another process."""
    try:
        with AssetStore(home).locked(name):
            return "held"
    except AtollError as error:
        return error.code


def test_one_process_at_a_time_puts_an_asset(store: AssetStore) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as other:
        with store.locked("iris"):
            assert other.apply(hold, (store.home, "iris")) == "asset.busy"
            assert other.apply(hold, (store.home, "rose")) == "held"
            with pytest.raises(ConflictError), store.locked("iris"):
                pass
        assert other.apply(hold, (store.home, "iris")) == "held"
    assert store.names() == ()


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    store = AssetStore(tmp_path / "home")
    with pytest.raises(AtollError) as caught, store.locked("iris"):
        pass
    assert caught.value.code == "file.unwritable"
    with pytest.raises(AtollError) as caught:
        store.save(record())
    assert caught.value.code == "file.unwritable"
    assert store.names() == ()
