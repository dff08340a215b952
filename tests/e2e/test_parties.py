"""Several parties with keys of their own: what they agree on, who refuses, who takes it back."""

import json
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio

from atoll.client.agreement import ConsentFile
from atoll.client.connection import AtollClient
from atoll.wire.messages import JobState
from e2e.guests import talking
from support.client import describe, ended, party, reached, until
from support.parties import Parties, PartyHome, policy, rule
from support.stack import Stack, wait_until

GUEST = talking(stdout="seen", stderr="", files={"answer": "done"}, exit_code=0)


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@dataclass(frozen=True, kw_only=True)
class Computation:
    """A coder's program on the data of north and south, for a reader."""

    coder: PartyHome
    north: PartyHome
    south: PartyHome
    reader: PartyHome
    manifest: Path

    @property
    def parties(self) -> tuple[PartyHome, ...]:
        return (self.coder, self.north, self.south, self.reader)

    def consents(self) -> list[Path]:
        return [one.sign(self.manifest) for one in self.parties]

    def submit(self, consents: list[Path]) -> str:
        """The id of a new job."""
        job: str = self.reader.done("submit", self.manifest, *given(consents))["job_id"]
        return job

    def release(self, who: PartyHome, job: str) -> Any:
        """Released by hand."""
        return who.done("release", job, "--key", who.name, "--yes")


def given(consents: list[Path]) -> list[str]:
    return [word for path in consents for word in ("--consent", str(path))]


@pytest_asyncio.fixture
async def computation(stack: Stack, client: AtollClient, tmp_path: Path) -> Computation:
    parties = Parties(stack, tmp_path)
    coder, north, south, reader = map(parties.party, ("coder", "north", "south", "reader"))
    cards = {
        "algorithm": await coder.upload(client, "program", GUEST, public=True),
        "north.csv": await north.upload(client, "north.csv", b"1,2\n"),
        "south.csv": await south.upload(client, "south.csv", b"3,4\n"),
    }
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps(
            {
                "format": "atoll-computation-plan",
                "version": 1,
                "title": "two tables",
                "parties": [str(one.public()) for one in (coder, north, south, reader)],
                "steps": [
                    {
                        "name": "join",
                        "kind": "wasm",
                        # Relative to the plan's folder.
                        "algorithm": str(cards["algorithm"].relative_to(tmp_path)),
                        "invocation": {"provider": "coder", "args": ["--quiet"]},
                        "inputs": {
                            "north": {"dataset": "north.csv"},
                            "south": {"dataset": "south.csv"},
                        },
                        "limits": {"wall_s": 60},
                    }
                ],
                "datasets": {
                    name: {"asset": str(cards[name])} for name in ("north.csv", "south.csv")
                },
                "outputs": {"table": {"step": "join", "consumers": ["reader"]}},
                "tee": {"kind": "simulated"},
                "limits": {"release_wait_ms": 60_000, "deadline_ms": 120_000},
            }
        )
    )
    manifest = tmp_path / "manifest.json"
    coder.done("computation", "new", plan, "--out", manifest, "--key", "coder")
    return Computation(coder=coder, north=north, south=south, reader=reader, manifest=manifest)


async def completed(client: AtollClient, job: str) -> None:
    last = (await until(client, job, ended))[-1]
    assert last.state is JobState.COMPLETED, describe(last)


async def waiting(client: AtollClient, job: str) -> None:
    await until(client, job, reached(JobState.AWAITING_ASSETS))


def digest_of(computation: Computation) -> str:
    digest: str = computation.coder.done("computation", "lint", computation.manifest)["digest"]
    return digest


async def test_two_providers_answer_by_their_policies_and_only_the_consumer_reads(
    client: AtollClient, computation: Computation, tmp_path: Path
) -> None:
    coder, north, south, reader = computation.parties
    manifest = computation.manifest
    consents = [one.sign(manifest) for one in (coder, north, south)]
    status = reader.atoll("computation", "status", manifest, *consents, "--json")
    assert status.status == 1
    states = {one["party"]: one["state"] for one in status.document()["consents"]}
    assert states == {"coder": "given", "north": "given", "south": "given", "reader": "missing"}
    consents.append(reader.sign(manifest))
    assert reader.done("computation", "status", manifest, *consents)["complete"]

    program = json.loads((coder.folder / "program.card.json").read_bytes())["sha256"]
    careful = rule(
        manifests=[digest_of(computation)],
        algorithms=[program],
        consumers=[reader.keys().signing_key.hex()],
        kinds=["wasm"],
        tees=["simulated"],
        max_uses=1,
    )
    async with (
        north.watching(policy(careful)) as by_north,
        south.watching(policy(rule(max_wall_s=1))) as by_south,
    ):
        job = computation.submit(consents)
        assert (await by_north.about(job))["decision"] == "released"
        refusal = await by_south.about(job)
        assert (refusal["decision"], refusal["code"]) == ("refused", "release_policy.max_wall_s")
        assert await by_south.stop() == 0
        released = computation.release(coder, job)
        assert sorted(released["released"]) == ["join.algorithm", "join.invocation"]
        seen = reader.done("computation", "status", manifest, "--job", job)
        assert seen["keys_may_be_missing"]["south"] == ["south.csv"]
        assert seen["job"]["state"] == "awaiting_assets"
        async with south.watching(policy(rule(max_wall_s=600))) as again:
            assert (await again.about(job))["assets"] == ["south.csv"]
            await completed(client, job)
            assert await again.stop(signal.SIGINT) == 0

    opened = reader.done("result", job, "--key", "reader", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "results" / "answer").read_text() == "done"
    assert set(opened["outputs"]) == {"table"}
    for other in (coder, north, south):
        out = tmp_path / f"out-{other.name}"
        assert other.refused("result", job, "--key", other.name, "--out", out) == "result.not_ours"
    seen = reader.done("computation", "status", manifest, "--job", job)
    assert seen["keys_may_be_missing"] == {}


async def test_a_consent_taken_back_before_the_keys_ends_the_job_for_good(
    client: AtollClient, computation: Computation
) -> None:
    north = computation.north
    consents = computation.consents()
    job = computation.submit(consents)
    await waiting(client, job)
    computation.release(computation.coder, job)
    reply = north.done("computation", "withdraw", job, "--key", "north", "--yes")
    assert reply["ended"] == [job]
    last = (await until(client, job, ended))[-1]
    assert last.state is JobState.CANCELLED
    assert last.reason is not None
    assert last.reason.code == "consent.withdrawn"

    again = given(consents)
    refused = computation.reader.refused("submit", computation.manifest, *again, "--wait")
    assert refused == "consent.withdrawn"
    sign = ("computation", "sign", computation.manifest, "--key", "north", "--yes", "-o", "again")
    assert north.refused(*sign) == "consent.withdrawn"


async def test_who_took_its_consent_back_releases_nothing_whatever_the_stack_says(
    client: AtollClient, computation: Computation
) -> None:
    north = computation.north
    consents = computation.consents()
    # The stack does not hear of it: nothing was submitted yet.
    withdraw = ("computation", "withdraw", computation.manifest, "--key", "north", "--yes")
    assert north.refused(*withdraw) == "manifest.not_found"
    async with north.watching(policy(rule())) as by_north:
        job = computation.submit(consents)
        line = await by_north.about(job)
        assert (line["decision"], line["code"]) == ("refused", "consent.withdrawn")
    by_hand = ("release", job, "--key", "north", "--yes")
    assert north.refused(*by_hand) == "consent.withdrawn"
    await client.cancel(job)


def test_every_consent_is_needed_and_is_worth_something_for_one_manifest_only(
    computation: Computation, tmp_path: Path
) -> None:
    coder, north, south, reader = computation.parties
    manifest = computation.manifest
    good = [one.sign(manifest) for one in (coder, north, south)]

    def submitted(*more: Path) -> str:
        return reader.refused("submit", manifest, *given([*good, *more]))

    assert submitted() == "consent.missing"

    short = reader.sign(manifest, "--expires", "1s")
    expires_ms = json.loads(short.read_bytes())["expires_ms"]
    wait_until(lambda: time.time() * 1000 > expires_ms, "the consent has expired")
    assert submitted(short) == "consent.expired"
    status = reader.atoll("computation", "status", manifest, *good, short, "--json")
    codes = {one["party"]: one["code"] for one in status.document()["consents"]}
    assert codes == {"coder": None, "north": None, "south": None, "reader": "consent.expired"}

    other = tmp_path / "other.json"
    changed = json.loads(manifest.read_bytes())
    changed["steps"][0]["limits"]["wall_s"] += 1
    other.write_text(json.dumps(changed))
    replayed = reader.sign(other)
    assert submitted(replayed) == "consent.other"
    file = json.loads(replayed.read_bytes())
    file["manifest_digest"] = digest_of(computation)
    forged = tmp_path / "forged.json"
    forged.write_bytes(json.dumps(file, sort_keys=True, separators=(",", ":")).encode())
    assert submitted(forged) == "consent.signature"

    stranger = ConsentFile.sign(
        party("stranger"), bytes.fromhex(digest_of(computation)), expires_ms=1 << 45
    )
    foreign = tmp_path / "stranger.json"
    foreign.write_bytes(stranger.to_bytes())
    reader_consents = tmp_path / "reader.json"
    reader.done(
        *("computation", "sign", manifest, "--key", "reader", "--yes", "-o", reader_consents)
    )
    assert submitted(reader_consents, foreign) == "consent.foreign"
    assert submitted(reader_consents, good[0]) == "consent.foreign"


async def test_keys_that_are_released_twice_change_nothing_and_too_late_are_refused(
    client: AtollClient, computation: Computation
) -> None:
    job = computation.submit(computation.consents())
    await waiting(client, job)
    first = computation.release(computation.coder, job)
    assert computation.release(computation.coder, job)["released"] == first["released"]
    assert computation.reader.refused("release", job, "--key", "reader", "--yes") == (
        "release.nothing"
    )
    for one in (computation.north, computation.south):
        computation.release(one, job)
    await completed(client, job)
    late = ("release", job, "--key", "north", "--yes")
    assert computation.north.refused(*late) == "release.not_waiting"


async def test_uses_are_counted_through_a_kill_and_no_job_is_missed_meanwhile(
    client: AtollClient, computation: Computation
) -> None:
    coder, north, south, _ = computation.parties
    consents = computation.consents()
    rules = policy(rule(max_uses=2))
    async with north.watching(rules) as by_north:
        first = computation.submit(consents)
        assert (await by_north.about(first))["decision"] == "released"
        assert await by_north.stop(signal.SIGKILL) != 0
    path = north.home / "releases" / "north.json"
    uses = json.loads(path.read_bytes())
    assert [(one["job_id"], one["sent"]) for one in uses["releases"]] == [(first, True)]
    # As if it had been killed one step earlier: counted, and the keys not yet on their way.
    uses["releases"][0]["sent"] = False
    path.write_text(json.dumps(uses))
    async with north.watching(policy(rule(max_uses=1))) as by_north:
        assert (await by_north.about(first))["decision"] == "released"
    assert len(json.loads(path.read_bytes())["releases"]) == 1
    for one in (coder, south):
        computation.release(one, first)
    await completed(client, first)

    second = computation.submit(consents)
    await waiting(client, second)
    async with north.watching(rules) as by_north:
        assert (await by_north.about(second))["decision"] == "released"
        busy = ("release", "--watch", "--policy", north.folder / "release-policy.json")
        assert north.refused(*busy, "--key", "north") == "release.busy"
        for one in (coder, south):
            computation.release(one, second)
        await completed(client, second)
        third = computation.submit(consents)
        line = await by_north.about(third)
        assert (line["decision"], line["code"]) == ("refused", "release_policy.max_uses")
    await client.cancel(third)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:-10])
    assert north.refused(*busy, "--key", "north") == "release.uses"


async def test_a_releaser_outlives_the_bus_and_reads_no_job_of_others(
    stack: Stack, client: AtollClient, computation: Computation, tmp_path: Path
) -> None:
    north = computation.north
    consents = computation.consents()
    stranger = Parties(stack, tmp_path).party("stranger")
    async with (
        north.watching(policy(rule())) as by_north,
        stranger.watching(policy(rule())) as by_stranger,
    ):
        first = computation.submit(consents)
        await by_north.about(first)
        await client.cancel(first)
        stack.kill_service("nats-server")
        second = computation.submit(consents)
        assert (await by_north.about(second))["decision"] == "released"
        for one in (computation.coder, computation.south):
            computation.release(one, second)
        await completed(client, second)
        assert await by_stranger.stop() == 0
        assert by_stranger.process.stdout is not None
        assert await by_stranger.process.stdout.read() == b""


async def test_a_missing_key_is_said_and_a_later_start_releases(
    client: AtollClient, computation: Computation
) -> None:
    north = computation.north
    job = computation.submit(computation.consents())
    await waiting(client, job)
    kept = north.home / "asset-secrets"
    away = kept.rename(north.folder / "away")
    by_hand = ("release", job, "--key", "north", "--yes")
    assert north.refused(*by_hand) == "asset.no_key"
    async with north.watching(policy(rule())) as by_north:
        assert (await by_north.about(job))["code"] == "asset.no_key"
    assert not (north.home / "releases" / "north.json").exists()
    away.rename(kept)
    async with north.watching(policy(rule(assets=["00" * 16]))) as by_north:
        assert (await by_north.about(job))["code"] == "release_policy.no_rule"
    async with north.watching(policy(rule())) as by_north:
        assert (await by_north.about(job))["decision"] == "released"
    await client.cancel(job)


async def test_a_foreign_policy_on_evidence_refuses_by_hand_and_by_watch(
    client: AtollClient, computation: Computation
) -> None:
    north = computation.north
    job = computation.submit(computation.consents())
    await waiting(client, job)
    profile = north.home / "profile.json"
    plain = json.loads(profile.read_text())
    # Without the development root nothing simulated is believed.
    profile.write_text(json.dumps(plain | {"development_root": ""}))
    said = north.atoll("release", job, "--key", "north", "--yes", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "evidence.refused"
    assert said.document()["evidence"]["verdict"] == "fail"
    async with north.watching(policy(rule())) as by_north:
        assert (await by_north.about(job))["code"] == "evidence.refused"
    assert not (north.home / "releases" / "north.json").exists()
    await client.cancel(job)
