"""The attestor's keys on the bus."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.bus import Bus, Endpoint, Service
from atoll.errors import UnreachableError
from atoll.wire import endpoints, schema
from atoll.wire.messages import KeysReply, VerificationKey
from atoll_manager import keys
from atoll_manager.keys import AttestorKeys


async def test_keys_are_asked_of_the_attestor(site: Bus) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    reply = KeysReply(keys=(VerificationKey(kid="k1", public_key=public.public_bytes_raw()),))

    async def handler(_payload: bytes, _headers: object) -> bytes:
        return schema.encode(reply)

    row = endpoints.KEYS
    endpoint = Endpoint(name=row.name, subject=row.subject.template, handler=handler)
    async with Service(
        site, name="attestor", version="0.0.0", description="a test", endpoints=[endpoint]
    ):
        assert await AttestorKeys(site)() == {"k1": public}


async def test_without_an_attestor_the_keys_are_unreachable(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "TIMEOUT_S", 0.1)
    with pytest.raises(UnreachableError):
        await AttestorKeys(site)()
