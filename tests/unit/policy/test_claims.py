"""The version of a stored document is read even where the rest of it is not understood."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError
from atoll.policy.claims import claimed_version
from atoll.policy.signed import MAX_SIGNED


def test_a_document_with_unknown_content_has_a_version() -> None:
    raw = canonical.dumps({"document": {"version": 7, "new": 1}, "more": []})
    assert claimed_version(raw) == 7


@pytest.mark.parametrize("version", [0, -1, True, "7", None, [7]])
def test_what_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(InputError) as caught:
        claimed_version(canonical.dumps({"document": {"version": version}}))
    assert caught.value.code == "policy.invalid"


@pytest.mark.parametrize("raw", [b"5", b"[]", b"{}", b'{"document":[]}', bytes(MAX_SIGNED + 1)])
def test_what_is_no_signed_document_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        claimed_version(raw)
    assert caught.value.code == "policy.invalid"


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        claimed_version(raw)
