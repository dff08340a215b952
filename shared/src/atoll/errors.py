"""The errors that Atoll code raises on purpose.

* `AtollError`: base; every one has a stable dotted `code` and an optional `hint`
    * `InputError`: what the caller gave us is not legal; fix it and call again
        * `MessageError`: bytes from the bus are not the message they should be
        * `ManifestError`: a manifest is not well-formed or not signed as it must be
        * `UnsupportedError`: a version, kind or algorithm that this build does not know
    * `SealError`: sealed bytes are not what was sealed, or not for us
    * `EvidenceError`: what an attester presented is malformed, unsupported or untrue
        * `MalformedEvidenceError`: the bytes are not the structure they claim to be
        * `UnsupportedEvidenceError`: well-formed, but a version or algorithm we do not accept
        * `RejectedEvidenceError`: well-formed, and not authentic or not acceptable
    * `ReceiptError`: a receipt does not prove what it claims
    * `NotFoundError`: there is no such job, asset, key or result
    * `ConflictError`: somebody else changed it first; read again and decide again
    * `RefusedError`: understood, and the answer is no
    * `UnreachableError`: the other side did not answer; trying again may help
    * `ConfigError`: this process was started with settings it cannot work with

Anything else that escapes is a bug. `code` is part of the wire contract (it is
what a remote caller sees); the message is for people and may change.
"""

from typing import ClassVar


class AtollError(Exception):
    """Base of every error raised on purpose.

    Args:
        message: what was wrong, where, and what was expected; one sentence.
        code: a more specific stable code than the class's own.
        hint: what the reader can do about it.
    """

    default_code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.error_id: str | None = None  # set when it came from a service that logged it


class InputError(AtollError):
    default_code = "input.invalid"


class MessageError(InputError):
    default_code = "message.invalid"


class ManifestError(InputError):
    default_code = "manifest.invalid"


class UnsupportedError(InputError):
    default_code = "input.unsupported"


class SealError(AtollError):
    default_code = "seal.invalid"


class EvidenceError(AtollError):
    default_code = "evidence.invalid"


class MalformedEvidenceError(EvidenceError):
    """The bytes are not the structure they claim to be; `offset` is where that shows."""

    default_code = "evidence.malformed"

    def __init__(self, structure: str, offset: int, reason: str) -> None:
        super().__init__(f"{structure} at 0x{offset:x}: {reason}")
        self.structure = structure
        self.offset = offset
        self.reason = reason


class UnsupportedEvidenceError(EvidenceError):
    default_code = "evidence.unsupported"


class RejectedEvidenceError(EvidenceError):
    default_code = "evidence.rejected"


class ReceiptError(AtollError):
    default_code = "receipt.invalid"


class NotFoundError(AtollError):
    default_code = "not_found"


class ConflictError(AtollError):
    default_code = "conflict"


class RefusedError(AtollError):
    default_code = "refused"


class UnreachableError(AtollError):
    default_code = "unreachable"


class ConfigError(AtollError):
    default_code = "config"
