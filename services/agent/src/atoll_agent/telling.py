"""What a failed job may say of itself outside the enclave. Pure.

The ledger is open to the operator, so a sentence that could carry a name, a number or a
text of the guest's or the data's making stays inside. Errors about ciphertext, key
releases, the manifest and what a host lacks speak only of what is public anyway and keep
their message; all others get a fixed sentence. The code always goes out: codes are ours.
"""

from typing import Final

from atoll.errors import AtollError
from atoll.wire.messages import Reason

MAX_TEXT: Final = 1024
"""Characters that a reason may have."""

_PUBLIC: Final = (
    "asset.",
    "assignment.",
    "bus.",
    "consent.",
    "manifest.",
    "network.",
    "release.",
    "sandbox.unavailable",
    "seal.",
)
"""Beginnings of the codes whose messages are made of public things only."""

_SENTENCES: Final = {
    "archive.malformed": "a dataset is not the archive that the manifest says, or holds more "
    "than regular files",
    "archive.too_large": "a dataset unpacks to more than the manifest allows",
    "bundle.archive": "the bundle is not a zip or tar of wheels and a requirements.txt",
    "bundle.hash": "a wheel of the bundle is not the one that its lock names",
    "bundle.incompatible": "a wheel of the bundle is for another interpreter or machine",
    "bundle.lock": "the bundle's requirements.txt does not pin every version with hashes",
    "bundle.missing": "the bundle lacks a wheel that its lock names",
    "bundle.too_large": "the bundle unpacks to more than is allowed",
    "bundle.unlocked": "the bundle has a wheel that its lock does not name",
    "bundle.wheel": "the bundle has a wheel that is not well-formed",
    "invocation.invalid": "the arguments and the environment are not well-formed",
    "invocation.too_large": "the arguments and the environment are too large",
    "pipeline.no_such_result": "a step did not leave the results that a later one reads",
    "workload.arguments": "the arguments or the environment cannot be given to a guest",
    "workload.output_names": "the algorithm left a path that is not allowed under /results",
}
_OTHERWISE: Final = "the enclave could not finish the job"


def tell(error: AtollError) -> Reason:
    """The reason that goes to the ledger for `error`."""
    if error.code.startswith(_PUBLIC):
        return Reason(code=error.code, message=error.message[:MAX_TEXT])
    return Reason(code=error.code, message=_SENTENCES.get(error.code, _OTHERWISE))
