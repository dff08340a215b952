"""Answers to `$SRV.INFO` come from anybody."""

import json

from hypothesis import given
from hypothesis import strategies as st

from atoll_cli.discovery import is_service, parse_info

GOOD = {"name": "atoll-gateway", "id": "x1", "version": "1.2.3", "description": "d", "more": [1]}
VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4)


def test_reads_what_a_service_says() -> None:
    info = parse_info(json.dumps(GOOD).encode())
    assert info is not None
    assert (info.name, info.id, info.version) == ("atoll-gateway", "x1", "1.2.3")
    assert is_service(info, "gateway")
    assert not is_service(info, "attestor")


@given(st.binary(max_size=64))
def test_noise_is_no_service(raw: bytes) -> None:
    assert parse_info(raw) is None


@given(st.sampled_from(sorted(GOOD.keys() - {"more"})), VALUES)
def test_a_field_of_another_kind_never_raises(name: str, value: object) -> None:
    info = parse_info(json.dumps({**GOOD, name: value}).encode())
    assert info is None or isinstance(value, str)


def test_what_is_too_deep_or_too_large_is_no_service() -> None:
    assert parse_info(b"[" * 60_000) is None
    assert parse_info(json.dumps({**GOOD, "pad": "x" * 70_000}).encode()) is None
