"""Messages about evidence of any vendor, and about what vendors sign."""

from typing import Annotated, Final

from atoll.wire.schema import Code, Digest, Pattern, Range, Size, Text, Timestamp, message

MAX_COLLATERAL: Final = 160 << 10
"""Of one signed document of a vendor, as it is served."""

MAX_CHAIN: Final = 32 << 10
"""Of the certificates of who signed it."""

MAX_WRAPPED: Final = 256 << 10
"""Of evidence in a conceptual message wrapper."""

MAX_ASKED: Final = 128 << 10
"""Of a policy that stands in a request."""

MAX_EAR: Final = 16 << 10


@message
class CollateralRecord:
    """What a vendor signed, as it is served (bucket `collateral`, keys `amd.>`, `intel.>`)."""

    version: Annotated[int, Range(1, 1)] = 1
    body: Annotated[bytes, Size(1, MAX_COLLATERAL)]
    chain: Annotated[bytes, Size(0, MAX_CHAIN)]
    """Certificates of its signer up to the root, PEM or DER; the signer's first."""
    fetched_ms: Timestamp


@message
class VerifyRequest:
    """Evidence of any kind, to be judged by the collateral that the attestor has."""

    kind: Annotated[str, Pattern(r"[a-z][a-z0-9_]{0,39}")]
    """As the verification API names it (`atoll.evidence.judge`)."""
    cmw: Annotated[bytes, Size(1, MAX_WRAPPED)]
    """A CMW in JSON or CBOR: a record that is the evidence, or a collection with a record
    `evidence` and others by the role of the file."""
    report_data: Annotated[bytes, Size(0, 64)] = b""
    """What the evidence must be bound to, all of it; empty: not compared."""
    product: Annotated[str, Size(0, 32)] = ""
    """The product line that it must be of, or empty."""
    policy: Annotated[bytes, Size(0, MAX_ASKED)] = b""
    """JSON: a policy document that the owners signed, one that nobody signed, the policy of one
    TEE, or requirements. Empty: the safe defaults."""
    in_force: bool = False
    """Judge under the policy that is activated, instead of one of the request's own."""
    nonce: Annotated[bytes, Size(0, 64)] = b""
    """Repeated in the signed result, so that it is known to be an answer to this; or empty."""


@message
class CheckView:
    id: Code
    outcome: Annotated[str, Pattern("pass|fail|unchecked")]
    field: Text
    expected: Text
    actual: Text


@message
class VerifyReply:
    """A verdict with all checks, and what of it is signed."""

    kind: Annotated[str, Size(1, 40)]
    product: Annotated[str, Size(0, 64)]
    verdict: Annotated[str, Pattern("pass|fail")]
    reason: Annotated[str, Size(0, 64)]
    """The id of the first check that failed, or empty."""
    simulated: bool
    tcb_status: Annotated[str, Size(0, 64)]
    checks: Annotated[tuple[CheckView, ...], Size(1, 128)]
    claims: Annotated[dict[str, Text], Size(0, 64)]
    """What valid evidence says, as far as it fits."""
    policy_digest: Digest
    """SHA-256 of the policy document or, where there is none, of the request's policy."""
    ear: Annotated[str, Size(1, MAX_EAR)]
    """The attestation result (`atoll.evidence.ear_kind`)."""
