"""What a computation needs of a host follows from its limits, and what it asks comes on top."""

import json
from dataclasses import replace
from typing import Any

import pytest

from atoll.computation.manifest import ArchiveFormat, Dataset, Manifest, Unpacking, digest
from atoll.computation.placement import AGENT_BYTES, Placement, file_bytes, guest_bytes, needs_of
from atoll.errors import ManifestError
from atoll.wire.placement import Needs
from support.computations import asset, manifest, with_step

GIB = 1 << 30
BEFORE = "716c43a4d97febb6195d2ee85d48474f70b1aa655152ea03f9ab4a0b8b4da688"
"""The digest that `manifest()` had before there were placements."""


def test_a_manifest_that_asks_for_nothing_is_what_it_was() -> None:
    raw = manifest().to_bytes()
    assert digest(raw).hex() == BEFORE
    assert b"placement" not in raw
    assert Manifest.from_bytes(raw).placement is None


def test_what_is_asked_is_covered_by_the_digest() -> None:
    asked = Placement(labels={"gpu": "a100"}, cpus=2, memory_bytes=GIB, dedicated=True)
    raw = manifest(placement=asked).to_bytes()
    assert Manifest.from_bytes(raw).placement == asked
    assert digest(raw).hex() != BEFORE
    assert digest(manifest(placement=replace(asked, dedicated=False)).to_bytes()) != digest(raw)


@pytest.mark.parametrize(
    "placement",
    [
        {"cpus": -1},
        {"cpus": 4097},
        {"memory_bytes": (1 << 50) + 1},
        {"labels": {"gpu": "a b"}},
        {"labels": {"a/b": "c"}},
        {"labels": {f"l{number}": "v" for number in range(17)}},
        {"dedicated": 1},
        {"tenant": "north"},
        [],
    ],
)
def test_refuses_what_is_no_placement(placement: Any) -> None:
    plain = json.loads(manifest().to_bytes()) | {"placement": placement}
    with pytest.raises(ManifestError) as caught:
        Manifest.from_plain(plain)
    assert caught.value.code == "manifest.invalid"


def test_memory_follows_from_the_largest_step_and_all_files() -> None:
    """Steps run one after the other, and their files stay until the end."""
    of = with_step(0, limits=replace(manifest().steps[0].limits, memory_bytes=5 * GIB))
    assert guest_bytes(of) == 5 * GIB
    limits = [step.limits for step in of.steps]
    files = sum(one.output_bytes + 2 * one.log_bytes for one in limits)
    files += sum(one.size for one in of.assets().values()) + limits[1].scratch_bytes
    assert file_bytes(of) == files
    assert needs_of(of, "main") == Needs(memory_bytes=AGENT_BYTES + 5 * GIB + files)


def test_an_archive_needs_room_unpacked() -> None:
    datasets = dict(manifest().datasets)
    packed = Dataset(
        asset=asset("north", 6),
        unpack=Unpacking(format=ArchiveFormat.ZIP, max_bytes=3 * GIB, max_files=1),
    )
    of = manifest(datasets=datasets | {"north.csv": packed})
    assert file_bytes(of) == file_bytes(manifest()) + 3 * GIB


def test_one_can_ask_for_more_memory_and_not_for_less() -> None:
    follows = needs_of(manifest(), "main").memory_bytes
    for asked, found in ((0, follows), (follows - 1, follows), (follows + 1, follows + 1)):
        needs = needs_of(manifest(placement=Placement(memory_bytes=asked)), "main")
        assert needs.memory_bytes == found


def test_dedication_is_to_the_tenant_that_submits() -> None:
    of = manifest(placement=Placement(dedicated=True, cpus=2, labels={"a": "b"}))
    needs = needs_of(of, "north")
    assert (needs.tenant, needs.cpus, needs.labels) == ("north", 2, {"a": "b"})
    assert needs_of(manifest(placement=Placement()), "north").tenant is None
