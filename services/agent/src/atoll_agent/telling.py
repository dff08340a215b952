"""What a failed job may say of itself outside the enclave. Pure.

The ledger is open to the operator, so a sentence that could carry a name, a number or a
text of the guest's or the data's making stays inside. Errors about ciphertext, key
releases and the manifest speak only of what is public anyway and keep their message; all
others get a fixed sentence. The code always goes out: codes are ours.
"""

from typing import Final

from atoll.errors import AtollError
from atoll.wire.messages import Reason

MAX_TEXT: Final = 1024
"""Characters that a reason may have."""

_PUBLIC: Final = ("asset.", "assignment.", "bus.", "manifest.", "release.", "seal.")
"""Beginnings of the codes whose messages are made of public things only."""

_SENTENCES: Final = {
    "invocation.invalid": "the arguments and the environment are not well-formed",
    "invocation.too_large": "the arguments and the environment are too large",
    "workload.arguments": "the arguments or the environment cannot be given to a guest",
    "workload.output_names": "the algorithm left a path that is not allowed under /results",
}
_OTHERWISE: Final = "the enclave could not finish the job"


def tell(error: AtollError) -> Reason:
    """The reason that goes to the ledger for `error`."""
    if error.code.startswith(_PUBLIC):
        return Reason(code=error.code, message=error.message[:MAX_TEXT])
    return Reason(code=error.code, message=_SENTENCES.get(error.code, _OTHERWISE))
