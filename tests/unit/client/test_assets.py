"""A file is sealed while it goes out, and its manifest entry fits what it opens to."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from atoll.client.assets import PIECE, upload_file
from atoll.errors import InputError
from atoll.framing import commitment
from atoll.sealing.asset import open_chunks

if TYPE_CHECKING:
    from atoll.client.connection import AtollClient


class FakeClient:
    """Keeps what is uploaded."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def upload(self, asset_id: str, chunks: Iterator[bytes]) -> None:
        self.objects[asset_id] = b"".join(chunks)


@pytest.mark.parametrize("content", [b"", b"marker", b"marker" * (PIECE // 3)])
async def test_an_upload_opens_to_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    client = FakeClient()
    asset = await upload_file(cast("AtollClient", client), tmp_path / "file", provider="me")
    sealed = client.objects[asset.ref.asset_id]
    digest = hashlib.sha256(content)
    assert b"marker" not in sealed
    secrets = asset.secrets
    opened = open_chunks(secrets.content_key, [sealed], asset_id=secrets.asset_id)
    assert b"".join(opened) == content
    assert asset.ref.size == len(content)
    assert asset.ref.commitment == commitment(secrets.salt, digest.digest()).hex()
    assert asset.content_sha256 == digest.hexdigest()
    assert secrets.content_key.hex() not in repr(asset)
    assert repr(secrets.content_key) not in repr(asset)


async def test_each_upload_has_secrets_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"same")
    client = cast("AtollClient", FakeClient())
    one, other = [await upload_file(client, tmp_path / "file", provider="me") for _ in range(2)]
    assert one.secrets.content_key != other.secrets.content_key
    assert one.ref.commitment != other.ref.commitment


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError) as caught:
            await upload_file(cast("AtollClient", FakeClient()), path, provider="me")
        assert caught.value.code == "file.unreadable"
