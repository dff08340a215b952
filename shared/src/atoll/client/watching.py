"""A headless releaser: answers every enclave that asks one party for keys, by that party's rules.

For each job that waits for keys of ours:

1. our consent was not taken back here; the job's manifest has us as a party
2. `Releaser.look`: consents, agreed policy, evidence (`atoll.client.release`)
3. the evidence passes our appraisal policy
4. our release policy allows every asset of ours in the manifest, uses so far included
5. the keys are here
6. the use is counted on the disk, then the keys go, then that they went is on the disk

Nothing is missed across a restart: events are read from where the last run stopped, and jobs that
wait are looked at once more, because the policy may be another one now. Killed between counting
and sending, it sends when it is back, without counting again.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from atoll.client.release import (
    EvidenceRefusedError,
    Prospect,
    Releaser,
    StaleAttemptError,
    Waiting,
    require_secrets,
)
from atoll.client.secret_files import SecretsFor
from atoll.client.uses import Cursor, Use, UseFile, rule_id
from atoll.client.withdrawn import Withdrawn
from atoll.computation.manifest import Manifest, digest
from atoll.computation.releasing import Decision, ReleasePolicy
from atoll.errors import AtollError, ConfigError, NotFoundError, RefusedError, UnreachableError
from atoll.evidence.findings import Appraisal, Verdict
from atoll.wire.messages import EventType, JobEvent, JobState, JobView

PAUSE_S: Final = 0.5
LAG_TRIES: Final = 10
"""How often what is not found yet is looked for, `PAUSE_S` apart: replicas may lag."""
MAX_LISTED: Final = 1000
MAX_JOB_MS: Final = 2_592_000_000
"""The longest deadline of a job; what is older waits for nothing."""
SAVE_EVERY: Final = 256
"""Events that were not about us, after which the place is saved all the same."""

_MAY_LAG: Final = frozenset({"manifest.not_found", "evidence.not_found"})


class Outcome(Enum):
    RELEASED = "released"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one enclave's wish for keys."""

    time_ms: int
    job_id: str
    attempt: int
    enclave_id: str
    manifest_digest: str
    outcome: Outcome
    code: str
    """`released`, or why not."""
    message: str
    assets: tuple[str, ...] = ()
    """The names of what was released."""
    appraisal: Appraisal | None = field(default=None, repr=False)


class Told(Protocol):
    """Whoever is told, and asked whether to go on."""

    def answered(self, answer: Answer) -> None: ...
    def waiting(self, error: UnreachableError) -> None: ...
    def checkpoint(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class HeadlessReleaser:
    """Releases in the name of one party, whose rules `policy` are."""

    releaser: Releaser
    policy: ReleasePolicy
    uses: UseFile
    cursor: Cursor
    withdrawn: Withdrawn
    secrets_for: SecretsFor
    told: Told
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    _answered: dict[str, tuple[int, str]] = field(default_factory=dict)

    async def watch(self) -> None:
        """Answer until cancelled.

        Raises:
            ConfigError: uses cannot be counted.
            RefusedError: the bus does not let us read.
        """
        place = await self._place()
        for job_id in await self._waiting_jobs():
            await self.settle(job_id)
        saved = place
        try:
            client = self.releaser.client
            async with aclosing(client.event_log(after=place)) as events:
                async for seq, event in events:
                    self.told.checkpoint()
                    if event is not None:
                        await self._event(event)
                    place = seq
                    if place - saved >= SAVE_EVERY or self._asks(event):
                        self.cursor.save(place)
                        saved = place
        finally:
            if place > saved:
                self.cursor.save(place)

    async def settle(self, job_id: str) -> None:
        """Answer one job, however long it takes to reach whom we must ask."""
        tries, told = 0, False
        while True:
            self.told.checkpoint()
            try:
                await self._consider(job_id, lagging=tries < LAG_TRIES)
            except UnreachableError as error:
                if not told:
                    self.told.waiting(error)
                told = True
            except _LaggingError:
                tries += 1
            else:
                return
            await asyncio.sleep(PAUSE_S)

    async def _place(self) -> int:
        """After which event to go on."""
        place = self.cursor.load()
        newest = await self.releaser.client.newest_event()
        # Another stream under the same name: its events would be taken for old ones.
        return place if newest >= place else 0

    async def _waiting_jobs(self) -> list[str]:
        listed = await self.releaser.client.list(state=JobState.AWAITING_ASSETS, limit=MAX_LISTED)
        return [view.job_id for view in reversed(listed.jobs)]

    def _asks(self, event: JobEvent | None) -> bool:
        return (
            event is not None
            and event.type is EventType.AWAITING_ASSETS
            and event.time_ms > self.clock_ms() - MAX_JOB_MS
        )

    async def _event(self, event: JobEvent) -> None:
        if event.state.terminal:
            self._answered.pop(event.job_id, None)
        elif self._asks(event):
            await self.settle(event.job_id)

    async def _consider(self, job_id: str, *, lagging: bool) -> None:
        """Answer, if this job waits for us and has no answer yet."""
        try:
            view = await self.releaser.client.get(job_id)
        except NotFoundError:
            return
        if view.state is not JobState.AWAITING_ASSETS or view.enclave_id is None:
            return
        if self._answered.get(job_id) == (view.attempt, view.enclave_id):
            return
        try:
            answer = await self._answer(view)
        except (UnreachableError, ConfigError):
            raise
        except StaleAttemptError:
            return  # the attempt that follows asks again
        except AtollError as error:
            if lagging and error.code in _MAY_LAG:
                raise _LaggingError from error
            appraisal = error.appraisal if isinstance(error, EvidenceRefusedError) else None
            answer = self._refused(view, error, appraisal)
        self._answered[job_id] = (view.attempt, view.enclave_id)
        if answer is not None:
            self.told.answered(answer)

    async def _answer(self, view: JobView) -> Answer | None:
        """The steps of the module's docstring; None if nothing of ours is asked for.

        Raises:
            AtollError: why no key goes.
        """
        waiting = Waiting.of(view, manifest_digest=bytes.fromhex(view.manifest_digest))
        if not await self._is_ours(waiting):  # 1
            return None
        party = self.releaser.keys.name
        self.withdrawn.require_standing(party, waiting.manifest_digest)
        prospect = await self.releaser.look(waiting)  # 2
        if prospect.appraisal.verdict is not Verdict.PASS:  # 3
            raise EvidenceRefusedError(prospect.appraisal)
        rules = self._rules(prospect)  # 4
        secrets = self.secrets_for(tuple(rules))  # 5
        require_secrets(prospect.manifest, party, secrets)
        use = Use(  # 6
            job_id=view.job_id,
            attempt=view.attempt,
            manifest_digest=view.manifest_digest,
            evidence_digest=hashlib.sha256(prospect.evidence.evidence).hexdigest(),
            assets=rules,
            counted_ms=self.clock_ms(),
        )
        if not self.uses.count(use):
            return None
        names = await self.releaser.release(prospect, secrets)
        self.uses.sent(use)
        return Answer(
            time_ms=self.clock_ms(),
            job_id=view.job_id,
            attempt=view.attempt,
            enclave_id=waiting.enclave_id,
            manifest_digest=view.manifest_digest,
            outcome=Outcome.RELEASED,
            code="released",
            message=f"released the keys of {', '.join(names)}",
            assets=names,
            appraisal=prospect.appraisal,
        )

    async def _is_ours(self, waiting: Waiting) -> bool:
        """Whether the manifest says that keys of ours are needed; `look` checks the rest."""
        agreed = await self.releaser.client.manifest(waiting.job_id)
        if digest(agreed.manifest) != waiting.manifest_digest:
            return True
        manifest = Manifest.from_bytes(agreed.manifest)
        keys = self.releaser.keys
        party = manifest.parties.get(keys.name)
        known = party is not None and party.signing_key == keys.signing_key
        return known and bool(manifest.assets_of(keys.name))

    def _rules(self, prospect: Prospect) -> dict[str, str]:
        """By asset id the rule that allows it.

        Raises:
            RefusedError: `release_policy.*`: the policy does not allow all of them.
        """
        manifest_digest = prospect.manifest_digest
        decisions = self.policy.decide(
            prospect.manifest,
            manifest_digest,
            self.releaser.keys.name,
            now_s=self.clock_ms() // 1000,
            uses=self.uses.before(
                self.policy, manifest_digest=manifest_digest.hex(), job_id=prospect.job_id
            ),
        )
        assets = prospect.manifest.assets()
        found = {}
        for one in decisions:
            require_released(one)
            if one.rule is not None:
                found[assets[one.asset].asset_id] = rule_id(self.policy.rules[one.rule])
        return found

    def _refused(self, view: JobView, error: AtollError, appraisal: Appraisal | None) -> Answer:
        return Answer(
            time_ms=self.clock_ms(),
            job_id=view.job_id,
            attempt=view.attempt,
            enclave_id=view.enclave_id or "",
            manifest_digest=view.manifest_digest,
            outcome=Outcome.REFUSED,
            code=error.code,
            message=error.message,
            appraisal=appraisal,
        )


class _LaggingError(Exception):
    """Something that must be there is not there yet."""


def require_released(decision: Decision) -> None:
    """Return if a policy allows to release an asset.

    Raises:
        RefusedError: `release_policy.no_rule`, or `release_policy.<field>` of the first field
            that the closest rule is broken in.
    """
    if decision.rule is None:
        raise RefusedError(
            f"no rule of the release policy is about {decision.asset}",
            code="release_policy.no_rule",
        )
    if decision.refusals:
        first = decision.refusals[0]
        raise RefusedError(
            f"rule {decision.rule} of the release policy does not allow {decision.asset}: "
            f"{first.field} is {first.actual}, want {first.expected}",
            code=f"release_policy.{first.field}",
        )
