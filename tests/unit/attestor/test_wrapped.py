"""Evidence comes out of its wrapper with what came along, or the wrapper is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence import cmw
from atoll_attestor.wrapped import unwrap

OCTETS = "application/octet-stream"


def item(raw: bytes, ind: cmw.CmType | None = None) -> cmw.Record:
    return cmw.Record(type=OCTETS, value=raw, ind=ind)


def both(found: cmw.Cmw) -> tuple[bytes, bytes]:
    return cmw.to_json(found), cmw.to_cbor(found)


def test_a_record_is_the_evidence_alone() -> None:
    for raw in both(item(b"x", cmw.CmType.EVIDENCE)):
        assert unwrap(raw) == (b"x", {})


def test_what_came_along_is_by_role_and_in_order() -> None:
    members = (("evidence", item(b"x")), ("certs.0", item(b"1")), ("certs.1", item(b"2")))
    for raw in both(cmw.Collection(members=(*members, ("event_log", item(b"3"))))):
        assert unwrap(raw) == (b"x", {"certs": (b"1", b"2"), "event_log": (b"3",)})


@pytest.mark.parametrize(
    "found",
    [
        item(b"x", cmw.CmType.ATTESTATION_RESULTS),
        cmw.Collection(members=(("certs", item(b"x")),)),
        cmw.Collection(members=(("evidence", cmw.Collection(members=(("a", item(b"")),))),)),
        cmw.Collection(members=(("evidence", item(b"x")), ("Certs", item(b"x")))),
        cmw.Collection(members=(("evidence", item(b"x")), ("certs.x", item(b"x")))),
    ],
)
def test_a_wrapper_without_evidence_or_with_other_names_is_refused(found: cmw.Cmw) -> None:
    for raw in both(found):
        with pytest.raises(EvidenceError) as caught:
            unwrap(raw)
        assert caught.value.code == "evidence.malformed"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_value_or_the_documented_error(raw: bytes) -> None:
    with suppress(MalformedEvidenceError):
        unwrap(raw)
