"""Who lives and what they speak, from three sources; and who stands in the way of a level."""

from dataclasses import replace

import pytest

from atoll.errors import RefusedError
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import Tee
from atoll.wire.upgrade import Kind, SpeakerRecord
from atoll_cli.discovery import ServiceInfo, parse_info
from atoll_cli.upgrading import MAX_NAMED, merged, require_spoken

GATEWAY = SpeakerRecord(
    kind=Kind.GATEWAY,
    name="g1",
    machine="m",
    release="0.2.0",
    started_ms=7,
    oldest=1,
    newest=2,
    written=1,
)
MANAGER = replace(GATEWAY, kind=Kind.MANAGER, name="h1")
HOST = HostRecord(
    host_id="h1",
    instance="i",
    machine="m",
    tees=(Tee.SIMULATED,),
    state=HostState.ACTIVE,
    slots=1,
    busy=0,
    cpus=1,
    memory_bytes=1,
    has_room=True,
    labels={},
    started_ms=7,
    version="0.1.0",
)


def service(name: str, **metadata: str) -> ServiceInfo:
    return ServiceInfo(name=name, id="abc", version="0.1.0", description="", metadata=metadata)


def spoken(*found: object) -> list[tuple[str, str, int, bool]]:
    speakers = [one for one in found if isinstance(one, SpeakerRecord)]
    hosts = [one for one in found if isinstance(one, HostRecord)]
    services = [one for one in found if isinstance(one, ServiceInfo)]
    return [
        (one.kind, one.name, one.newest, one.announced) for one in merged(speakers, hosts, services)
    ]


def test_whoever_says_what_it_speaks_is_believed() -> None:
    assert spoken(GATEWAY, MANAGER, HOST, service("atoll-gateway", protocol="1-2")) == [
        ("gateway", "g1", 2, True),
        ("manager", "h1", 2, True),
    ]


def test_whoever_says_nothing_is_of_a_release_without_levels() -> None:
    other = service("somebody-elses")
    assert spoken(HOST, service("atoll-gateway"), service("atoll-attestor"), other) == [
        ("attestor", "abc", 1, False),
        ("gateway", "abc", 1, False),
        ("manager", "h1", 1, False),
    ]


def test_the_word_of_another_run_of_a_host_is_not_its_own() -> None:
    """An older manager was started again where a newer one had been killed."""
    assert spoken(MANAGER, replace(HOST, started_ms=8)) == [("manager", "h1", 1, False)]


def test_a_level_is_refused_by_the_names_of_those_who_do_not_speak_it() -> None:
    require_spoken(merged([GATEWAY], [], []), 2)
    found = merged([GATEWAY, MANAGER], [replace(HOST, started_ms=8)], [])
    with pytest.raises(RefusedError) as caught:
        require_spoken(found, 2)
    assert caught.value.code == "protocol.spoken"
    assert "manager h1 (speaks 1)" in caught.value.message
    assert "gateway" not in caught.value.message
    many = [replace(GATEWAY, name=f"g{n}", newest=1) for n in range(MAX_NAMED + 3)]
    with pytest.raises(RefusedError, match="and 3 more"):
        require_spoken(merged(many, [], []), 2)
    with pytest.raises(RefusedError, match=r"speaks 1 to 2"):
        require_spoken(merged([GATEWAY], [], []), 3)


def test_what_a_service_says_of_itself_is_read_with_and_without_metadata() -> None:
    head = b'{"name": "atoll-gateway", "id": "a", "version": "1.0.0", "description": ""'
    with_metadata = parse_info(head + b', "metadata": {"protocol": "1-2"}}')
    assert with_metadata is not None
    assert with_metadata.metadata == {"protocol": "1-2"}
    for rest in (b"}", b', "metadata": null}'):
        found = parse_info(head + rest)
        assert found is not None
        assert found.metadata == {}
    assert parse_info(head + b', "metadata": {"a": 1}}') is None
