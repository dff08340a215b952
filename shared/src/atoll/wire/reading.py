"""What a client asks the gateway for of a job that its tenant may see."""

from typing import Annotated, Final

from atoll.wire.messages import Attempt
from atoll.wire.schema import Digest, Pattern, Range, Size, Token, message

MAX_RELEASE: Final = 16 << 10
MAX_CHUNK: Final = 1 << 20
"""Bytes of the largest stored chunk."""

ObjectId = Annotated[str, Pattern(r"[0-9a-f]{32}")]
Place = Annotated[int, Range(0, (1 << 53) - 1)]
ObjectSize = Annotated[int, Range(0, 1 << 45)]
Chunks = Annotated[int, Range(0, 1 << 32)]


@message
class EvidenceRequest:
    enclave_id: Token


@message
class ReleaseRequest:
    """A key release on its way; what it is worth is for the enclave to say."""

    enclave_id: Token
    release: Annotated[bytes, Size(1, MAX_RELEASE)]
    """Encoded `atoll.sealing.release.KeyRelease`."""


@message
class ReleaseTaken:
    """The enclave will hear of it, also if nobody is there at the moment."""


@message
class OutcomeRequest:
    job_id: Token
    attempt: Attempt


@message
class ResultRequest:
    job_id: Token
    result_id: ObjectId


@message
class ResultView:
    """A sealed result, as it is stored."""

    size: ObjectSize
    chunks: Chunks
    sha256: Digest


@message
class ChunkRequest:
    """The chunk of a result behind the place of the one before it."""

    job_id: Token
    result_id: ObjectId
    after: Place = 0


@message
class Chunk:
    place: Place
    """Where it is stored; ask for the next one behind it."""
    content: Annotated[bytes, Size(0, MAX_CHUNK)]
