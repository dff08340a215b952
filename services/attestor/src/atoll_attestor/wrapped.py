"""Evidence in a conceptual message wrapper (RATS CMW), with what came along. Pure.

A record is the evidence alone. A collection has a record `evidence`, and others by the role of
the file (`atoll.evidence.judge`); of several files of one role each is a record `ROLE.NUMBER`.
The media type is not looked at: the request says what kind it is.
"""

import re
from typing import Final

from atoll.errors import MalformedEvidenceError
from atoll.evidence import cmw
from atoll.evidence.needed import Files

EVIDENCE: Final = "evidence"

_LABEL: Final = re.compile(r"([a-z][a-z0-9_]{0,39})(?:\.[0-9]{1,3})?")


def unwrap(raw: bytes) -> tuple[bytes, Files]:
    """The evidence in a CMW, JSON or CBOR, and what came along with it by role.

    Raises:
        MalformedEvidenceError: no CMW, nested, without evidence, or evidence that says it is
            something else.
    """
    # In CBOR both start a string, which is no CMW.
    is_json = raw.lstrip(b" \t\r\n")[:1] in {b"[", b"{"}
    found = cmw.from_json(raw) if is_json else cmw.from_cbor(raw)
    members = found.members if isinstance(found, cmw.Collection) else ((EVIDENCE, found),)
    evidence = None
    files: Files = {}
    for label, member in members:
        match = _LABEL.fullmatch(label) if isinstance(label, str) else None
        if match is None or not isinstance(member, cmw.Record):
            raise _malformed("has a member that is no record with the name of a role")
        if label == EVIDENCE:
            if member.ind is not None and not member.ind & cmw.CmType.EVIDENCE:
                raise _malformed("has evidence that says it is something else")
            evidence = member.value
        else:
            files[match[1]] = (*files.get(match[1], ()), member.value)
    if evidence is None:
        raise _malformed(f"has no {EVIDENCE!r}")
    return evidence, files


def _malformed(why: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("CMW", 0, why)
