"""Uses are counted on the disk, by job and rule, and no word of a gateway's stretches a limit."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atoll import canonical
from atoll.client.uses import Cursor, Use, UseFile, rule_id
from atoll.computation.releasing import FIELDS, ReleasePolicy, Rule
from atoll.errors import ConfigError, RefusedError

ASSET, OTHER = "0" * 32, "1" * 32
MANIFEST = "a" * 64


def rule(**changes: Any) -> Rule:
    fields: dict[str, Any] = dict.fromkeys(FIELDS)
    return Rule(**(fields | {"allow_network": False} | changes))


def policy(*rules: Rule) -> ReleasePolicy:
    return ReleasePolicy(rules=rules)


def use(job: str, **changes: Any) -> Use:
    fields: dict[str, Any] = {
        "job_id": job,
        "attempt": 1,
        "manifest_digest": MANIFEST,
        "evidence_digest": "e" * 64,
        "assets": {ASSET: rule_id(rule())},
        "counted_ms": 1,
    }
    return Use(**(fields | changes))


def counted(uses: UseFile, *, job: str = "next", rules: ReleasePolicy | None = None) -> int:
    found = uses.before(rules or policy(rule()), manifest_digest=MANIFEST, job_id=job)
    return found.get((0, ASSET), 0)


def test_a_use_is_on_the_disk_before_it_counts_and_after_a_restart(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        assert counted(uses) == 0
        assert uses.count(use("j1"))
        # As another process would find it if this one died now.
        assert uses.path.read_bytes().count(b'"job_id":"j1"') == 1
        assert stat.S_IMODE(uses.path.stat().st_mode) == 0o600
    with UseFile.opened(tmp_path, "north") as uses:
        assert counted(uses) == 1
        assert counted(uses, job="j1") == 0


def test_the_file_is_canonical_and_holds_every_use_in_order(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        for number in range(5):
            uses.count(use(f"j{number}"))
        uses.sent(use("j2"))
        uses.count(use("j5"))
        kept = list(uses.releases)
        plain = canonical.loads(uses.path.read_bytes().removesuffix(b"\n"))
        assert [one["job_id"] for one in plain["releases"]] == [f"j{number}" for number in range(6)]
        assert [one["sent"] for one in plain["releases"]] == [False] * 2 + [True] + [False] * 3
    with UseFile.opened(tmp_path, "north") as uses:
        assert uses.releases == kept
        uses.sent(use("j5"))
    with UseFile.opened(tmp_path, "north") as uses:
        assert uses.releases == [*kept[:5], replace(kept[5], sent=True)]


def test_an_attempt_is_counted_once_and_its_keys_go_once(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        assert uses.count(use("j1"))
        # Killed before the keys went: they must go, and not count again.
        assert uses.count(use("j1"))
        uses.sent(use("j1"))
        assert not uses.count(use("j1"))
        assert len(uses.releases) == 1
    with UseFile.opened(tmp_path, "north") as uses:
        assert not uses.count(use("j1"))


def test_more_attempts_of_a_job_are_one_use_and_another_manifest_is_another(
    tmp_path: Path,
) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        for attempt in (1, 2, 3):
            uses.count(use("j1", attempt=attempt, evidence_digest=f"{attempt}" * 64))
        assert counted(uses) == 1
        uses.count(use("j1", manifest_digest="b" * 64))
        assert counted(uses) == 2
        assert counted(uses, job="j1") == 1


@pytest.mark.parametrize(
    ("again", "code"),
    [
        ({"evidence_digest": "f" * 64}, "release.other_enclave"),
        ({"attempt": 6}, "release.attempts"),
    ],
)
def test_a_gateway_cannot_get_more_out_of_one_job(
    tmp_path: Path, again: dict[str, Any], code: str
) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        uses.count(use("j1"))
        with pytest.raises(RefusedError) as caught:
            uses.count(use("j1", **again))
        assert caught.value.code == code
        assert len(uses.releases) == 1


def test_a_rule_keeps_its_count_when_only_its_limits_change_or_it_moves(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        uses.count(use("j1"))
        longer = policy(rule(allow_network=True), rule(max_uses=9, not_after=5))
        found = uses.before(longer, manifest_digest=MANIFEST, job_id="next")
        assert found == {(1, ASSET): 1}
        assert counted(uses, rules=policy(rule(max_wall_s=1))) == 0


def test_uses_are_counted_by_asset(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        uses.count(use("j1", assets={OTHER: rule_id(rule())}))
        assert counted(uses) == 0


def test_two_releasers_of_one_party_do_not_count_at_once(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north"):
        with (
            pytest.raises(ConfigError) as caught,
            UseFile.opened(tmp_path, "north"),
        ):
            pass
        assert caught.value.code == "release.busy"
        with UseFile.opened(tmp_path, "south"):
            pass
    with UseFile.opened(tmp_path, "north"):
        pass


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b'{"format":"atoll-release-uses","version":2,"releases":[]}', b"\xff"],
)
def test_a_count_that_cannot_be_read_stops_everything(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "releases" / "north.json"
    path.parent.mkdir()
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as caught, UseFile.opened(tmp_path, "north"):
        pass
    assert caught.value.code == "release.uses"
    assert path.read_bytes() == raw


def test_a_use_that_cannot_be_written_is_not_counted(tmp_path: Path) -> None:
    with UseFile.opened(tmp_path, "north") as uses:
        uses.path = tmp_path / "file" / "north.json"
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ConfigError) as caught:
            uses.count(use("j1"))
        assert caught.value.code == "file.unwritable"
        assert uses.releases == []


def test_the_place_in_the_stream_is_kept_and_nonsense_begins_anew(tmp_path: Path) -> None:
    cursor = Cursor.of(tmp_path, "north")
    assert cursor.load() == 0
    cursor.save(17)
    assert Cursor.of(tmp_path, "north").load() == 17
    for raw in (b"", b"x", b"-5", b"9" * 64):
        cursor.path.write_bytes(raw)
        assert cursor.load() == 0


def test_the_digest_of_a_rule_tells_rules_apart() -> None:
    assert rule_id(rule()) == rule_id(replace(rule(), max_uses=1))
    assert rule_id(rule()) != rule_id(replace(rule(), max_wall_s=1))


def test_a_full_count_releases_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atoll.client.uses.MAX_RELEASES", 1)
    with UseFile.opened(tmp_path, "north") as uses:
        uses.count(use("j1"))
        with pytest.raises(ConfigError) as caught:
            uses.count(use("j2"))
        assert caught.value.code == "release.uses"
        # Keys that were counted may still go.
        assert uses.count(use("j1"))
