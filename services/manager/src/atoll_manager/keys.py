"""The attestor's verification keys, as it answers them."""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.bus import Bus
from atoll.wire import endpoints, schema
from atoll.wire.messages import KeysReply, KeysRequest

TIMEOUT_S = 10.0


class AttestorKeys:
    """Key id to key. Asked for at each admission, which happens once an enclave."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self) -> Mapping[str, Ed25519PublicKey]:
        """Raises: UnreachableError when no attestor answers; MessageError for a bad answer.

        Checks nothing: that the answer is the attestor's is the bus's permissions.
        """
        reply = await self._bus.request(
            endpoints.KEYS.subject.of(),
            schema.encode(KeysRequest()),
            timeout_s=TIMEOUT_S,
            retry=True,
        )
        keys = schema.decode(KeysReply, reply.payload).keys
        return {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in keys}
