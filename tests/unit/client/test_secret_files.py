"""Keys of assets are private files; what is none is refused without repeating it."""

import stat
from pathlib import Path

import pytest

from atoll.client.secret_files import SecretFiles, first_of
from atoll.client.withdrawn import Withdrawn
from atoll.computation.consent import withdraw
from atoll.errors import ConfigError, InputError, RefusedError
from atoll.sealing.release import ReleasedKey
from support.computations import keys

ASSET, OTHER = "0a" * 16, "0b" * 16
KEY = ReleasedKey(content_key=b"k" * 32, salt=b"s" * 32)


def test_a_key_is_kept_private_and_found_by_its_asset(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets")
    path = files.save(ASSET, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files.secrets_for([ASSET, OTHER]) == {ASSET: KEY}
    with pytest.raises(ConfigError) as caught:
        files.save(ASSET, KEY)
    assert caught.value.code == "file.exists"


def test_the_key_of_another_asset_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path)
    good = files.save(ASSET, KEY).read_bytes()
    for raw in (
        good.replace(ASSET.encode(), OTHER.encode()),
        good.replace(b'version":1', b'version":2'),
        good.replace(b"6b", b"", 1),
        good[:-20],
        b"",
        b"x" * 5000,
    ):
        (tmp_path / f"{ASSET}.json").write_bytes(raw)
        with pytest.raises(InputError) as caught:
            files.secrets_for([ASSET])
        assert "6b6b" not in caught.value.message


def test_what_was_taken_back_stays_taken_back(tmp_path: Path) -> None:
    digest, other = bytes(32), bytes(31) + b"1"
    Withdrawn(tmp_path).require_standing("north", digest)
    for _ in range(2):
        Withdrawn(tmp_path).record(withdraw(keys("north"), digest))
    with pytest.raises(RefusedError) as caught:
        Withdrawn(tmp_path).require_standing("north", digest)
    assert caught.value.code == "consent.withdrawn"
    Withdrawn(tmp_path).require_standing("north", other)
    Withdrawn(tmp_path).require_standing("south", digest)


def test_a_source_is_asked_for_what_others_do_not_have(tmp_path: Path) -> None:
    first, second = SecretFiles(tmp_path / "first"), SecretFiles(tmp_path / "second")
    first.save(ASSET, KEY)
    other = ReleasedKey(content_key=b"o" * 32, salt=b"s" * 32)
    for asset in (ASSET, OTHER):
        second.save(asset, other)
    both = first_of(first.secrets_for, second.secrets_for)
    assert both([ASSET, OTHER, "0c" * 16]) == {ASSET: KEY, OTHER: other}
    # What the first has, nobody else is asked for: its file there may be damaged.
    (tmp_path / "second" / f"{ASSET}.json").write_bytes(b"")
    assert both([ASSET]) == {ASSET: KEY}
