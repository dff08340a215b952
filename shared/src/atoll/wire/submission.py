"""What is said about submissions that were published to the intake (`atoll.v1.intake.<key>`)."""

from enum import Enum

from atoll.wire.messages import Reason
from atoll.wire.schema import Digest, Timestamp, Token, message


class SubmissionOutcome(Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"


@message
class SubmissionEvent:
    """What became of a submission that was published to the intake."""

    idempotency_key: Token
    outcome: SubmissionOutcome
    time_ms: Timestamp
    message_digest: Digest
    """SHA-256 of the published payload: which of the publisher's messages this is about."""
    job_id: Token | None = None
    reason: Reason | None = None
