"""Result record: the enclave gives the content key of an output to each of its consumers.

    bound   = version, job_id, attempt, manifest_digest, evidence_digest, output's name,
              asset_id, size, archive_commitment, enclave's public signing key
    wrapped = for each consumer: HPKE(consumer key, content_key (32) || salt (32), info =
              transcript("atoll result v2", bound, consumer name))
    signed  = transcript("atoll result signature v2", bound, then name and wrapped of each
              consumer in order)

Integers enter a transcript as 8 bytes, big-endian. Consumers stand in ascending order of
their names, each once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from atoll.errors import SealError
from atoll.framing import transcript
from atoll.sealing import hpke, signature
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.release import DIGEST_SIZE, MAX_ATTEMPT, WRAPPED_SIZE, ReleasedKey
from atoll.sealing.signature import SigningKey, verify_signature
from atoll.sealing.stream import ASSET_ID_SIZE, KEY_SIZE, SALT_SIZE
from atoll.wire.schema import Name, Range, Size, Token, message

VERSION: Final = 2
MAX_CONSUMERS: Final = 64

_INFO: Final = "atoll result v2"
_SIGNATURE: Final = "atoll result signature v2"

_Digest = Annotated[bytes, Size(DIGEST_SIZE, DIGEST_SIZE)]


@message
class WrappedKey:
    """The key of a result, wrapped to one consumer."""

    consumer: Name
    wrapped: Annotated[bytes, Size(WRAPPED_SIZE, WRAPPED_SIZE)]


@message
class ResultRecord:
    """On the bus. Its fields are claims until `open_result` checked them.

    `size` is that of the sealed archive, `archive_commitment` is to the archive itself.
    """

    version: Annotated[int, Range(VERSION, VERSION)]
    job_id: Token
    attempt: Annotated[int, Range(1, MAX_ATTEMPT)]
    manifest_digest: _Digest
    evidence_digest: _Digest
    output: Name
    asset_id: Annotated[bytes, Size(ASSET_ID_SIZE, ASSET_ID_SIZE)]
    size: Annotated[int, Range(0, 2**53 - 1)]
    archive_commitment: _Digest
    consumers: Annotated[tuple[WrappedKey, ...], Size(1, MAX_CONSUMERS)]
    signature: Annotated[bytes, Size(signature.SIGNATURE_SIZE, signature.SIGNATURE_SIZE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContext:
    """What a consumer knows from its manifest and from the evidence it appraised."""

    job_id: str
    attempt: int
    manifest_digest: bytes
    evidence_digest: bytes
    output: str


class Recipient(Protocol):
    """A consumer's own keys, for instance `PartyKeys`."""

    @property
    def name(self) -> str: ...
    @property
    def hpke(self) -> HpkePrivateKey: ...


def make_result(
    enclave: SigningKey,
    *,
    context: ResultContext,
    asset_id: bytes,
    size: int,
    archive_commitment: bytes,
    key: ReleasedKey,
    consumers: Mapping[str, bytes],
) -> ResultRecord:
    """A signed record for `consumers`: X-Wing public key by name.

    Raises:
        SealError: `seal.key`, a consumer's key is none.
        ValueError: no consumer or too many, or a key or salt that is not 32 bytes.
    """
    if not 1 <= len(consumers) <= MAX_CONSUMERS:
        raise ValueError(f"a result has 1 to {MAX_CONSUMERS} consumers")
    if len(key.content_key) != KEY_SIZE or len(key.salt) != SALT_SIZE:
        raise ValueError("a content key and a salt are 32 bytes each")
    bound = _bound(context, asset_id, size, archive_commitment, enclave.public_bytes)
    wrapped = tuple(
        WrappedKey(
            consumer=name,
            wrapped=hpke.seal(public, key.raw, transcript(_INFO, *bound, name.encode())),
        )
        for name, public in sorted(consumers.items())
    )
    return ResultRecord(
        version=VERSION,
        job_id=context.job_id,
        attempt=context.attempt,
        manifest_digest=context.manifest_digest,
        evidence_digest=context.evidence_digest,
        output=context.output,
        asset_id=asset_id,
        size=size,
        archive_commitment=archive_commitment,
        consumers=wrapped,
        signature=enclave.sign(_SIGNATURE, *bound, *_listed(wrapped)),
    )


def verify_result(
    record: ResultRecord, *, enclave_signing_key: bytes, expected: ResultContext
) -> None:
    """Return if the attested key signed `record` for exactly this job; anybody can check.

    1. job  2. manifest  3. evidence  4. attempt and output  5. consumers in order, each once
    6. signature

    Raises:
        SealError: `result.unsupported` version, `result.other_job`, `result.other_manifest`,
            `result.other_evidence`, `result.stale_attempt`, `result.other_output`,
            `result.malformed`, `result.signature`.
    """
    _require(record.version == VERSION, "unsupported", f"version {record.version} is unknown")
    # 1 to 4
    _require(record.job_id == expected.job_id, "other_job", f"is of job {record.job_id}")
    _require(
        record.manifest_digest == expected.manifest_digest,
        "other_manifest",
        f"is for manifest {record.manifest_digest.hex()}",
    )
    _require(
        record.evidence_digest == expected.evidence_digest,
        "other_evidence",
        f"is under evidence {record.evidence_digest.hex()}",
    )
    _require(record.attempt == expected.attempt, "stale_attempt", f"is of attempt {record.attempt}")
    _require(record.output == expected.output, "other_output", f"is of output {record.output}")
    # 5
    listed = [item.consumer for item in record.consumers]
    _require(listed == sorted(set(listed)), "malformed", "lists consumers twice or out of order")
    # 6
    bound = _bound(
        expected, record.asset_id, record.size, record.archive_commitment, enclave_signing_key
    )
    try:
        verify_signature(
            enclave_signing_key, record.signature, _SIGNATURE, *bound, *_listed(record.consumers)
        )
    except SealError as error:
        raise SealError(
            "result record is not signed by the attested key", code="result.signature"
        ) from error


def open_result(
    record: ResultRecord,
    *,
    consumer: Recipient,
    enclave_signing_key: bytes,
    expected: ResultContext,
) -> ReleasedKey:
    """The key of the result archive, after `verify_result`.

    Raises:
        SealError: as `verify_result`; `result.not_a_consumer`, `result.wrapped`.
    """
    verify_result(record, enclave_signing_key=enclave_signing_key, expected=expected)
    wrapped = next((i.wrapped for i in record.consumers if i.consumer == consumer.name), None)
    if wrapped is None:
        raise SealError(
            f"result record has no key for {consumer.name}", code="result.not_a_consumer"
        )
    bound = _bound(
        expected, record.asset_id, record.size, record.archive_commitment, enclave_signing_key
    )
    info = transcript(_INFO, *bound, consumer.name.encode())
    try:
        raw = hpke.open_(consumer.hpke, wrapped, info)
    except SealError as error:
        raise SealError(
            f"result record is not wrapped to this key of {consumer.name}", code="result.wrapped"
        ) from error
    _require(len(raw) == KEY_SIZE + SALT_SIZE, "wrapped", f"holds {len(raw)} bytes")
    return ReleasedKey(content_key=raw[:KEY_SIZE], salt=raw[KEY_SIZE:])


def _bound(
    context: ResultContext, asset_id: bytes, size: int, commitment: bytes, enclave: bytes
) -> tuple[bytes, ...]:
    return (
        VERSION.to_bytes(8, "big"),
        context.job_id.encode(),
        context.attempt.to_bytes(8, "big"),
        context.manifest_digest,
        context.evidence_digest,
        context.output.encode(),
        asset_id,
        size.to_bytes(8, "big"),
        commitment,
        enclave,
    )


def _listed(consumers: tuple[WrappedKey, ...]) -> tuple[bytes, ...]:
    return tuple(part for item in consumers for part in (item.consumer.encode(), item.wrapped))


def _require(holds: bool, code: str, why: str) -> None:  # noqa: FBT001
    if not holds:
        raise SealError(f"result record {why}", code=f"result.{code}")
