"""Messages about evidence of any vendor, and about what vendors sign."""

from typing import Annotated, Final

from atoll.wire.schema import Code, Pattern, Range, Size, Text, Timestamp, message

MAX_COLLATERAL: Final = 160 << 10
"""Of one signed document of a vendor, as it is served."""

MAX_CHAIN: Final = 32 << 10
"""Of the certificates of who signed it."""

MAX_WRAPPED: Final = 256 << 10
"""Of evidence in a conceptual message wrapper."""


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


@message
class CheckView:
    id: Code
    outcome: Annotated[str, Pattern("pass|fail|unchecked")]
    field: Text
    expected: Text
    actual: Text


@message
class VerifyReply:
    """A verdict that nobody signed, for who trusts the bus."""

    kind: Annotated[str, Size(1, 40)]
    product: Annotated[str, Size(0, 64)]
    verdict: Annotated[str, Pattern("valid|invalid|parse-only")]
    reason: Annotated[str, Size(0, 64)]
    """The id of the first check that failed, or empty."""
    simulated: bool
    tcb_status: Annotated[str, Size(0, 64)]
    checks: Annotated[tuple[CheckView, ...], Size(1, 128)]
