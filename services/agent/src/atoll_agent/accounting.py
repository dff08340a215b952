"""The receipt of a computation: what ran on what, how it ended, and what was sealed. Pure."""

from datetime import datetime

from atoll.computation.steps import StepLimits
from atoll.receipt.statement import (
    DatasetRef,
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
    rfc3339,
    round_up_ms,
)
from atoll_agent.assignment import Task
from atoll_agent.pipeline import StepRun
from atoll_agent.sandbox.outcome import Outcome


def make_statement(
    task: Task,
    runs: tuple[StepRun, ...],
    outputs: tuple[OutputRef, ...],
    *,
    evidence_digest: bytes,
    outcome: str,
    started: datetime,
    finished: datetime,
    agent_version: str,
) -> Receipt:
    """The receipt's predicate."""
    manifest = task.manifest
    return Receipt(
        job_id=task.job_id,
        attempt=task.attempt,
        manifest_digest=task.manifest_digest.hex(),
        evidence_digest=evidence_digest.hex(),
        parties=tuple(
            PartyRef(
                name=name,
                signing_key=manifest.parties[name].signing_key.hex(),
                roles=tuple(sorted(roles)),
            )
            for name, roles in sorted(manifest.roles().items())
        ),
        steps=tuple(_step(one) for one in runs),
        datasets=tuple(
            DatasetRef(name=name, commitment=dataset.asset.commitment)
            for name, dataset in sorted(manifest.datasets.items())
        ),
        outputs=outputs,
        outcome=outcome,
        started=rfc3339(_milliseconds(started)),
        finished=rfc3339(_milliseconds(finished)),
        previous=manifest.previous,
        agent_version=agent_version,
    )


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below `size`; 0 for 0."""
    return 1 << (size - 1).bit_length() if size else 0


def _step(run: StepRun) -> StepRef:
    step, outcome = run.step, run.outcome
    return StepRef(
        name=step.name,
        kind=step.kind.value,
        algorithm=step.algorithm.commitment,
        bundle=step.bundle.commitment if step.bundle else None,
        invocation=step.invocation.commitment,
        outcome=run.code,
        # Receipts are open. An exit code other than 0 can say what the guest likes, so it
        # stands only in the sealed archive, to which the receipt commits.
        exit_code=0 if outcome is not None and outcome.succeeded else None,
        limits=_limits(step.limits),
        used=_used(outcome),
    )


def _limits(limits: StepLimits) -> Resources:
    return Resources(
        wall_ms=limits.wall_s * 1000,
        fuel=limits.fuel or None,
        memory_bytes=limits.memory_bytes,
        output_bytes=limits.output_bytes,
        output_files=limits.output_files,
    )


def _used(outcome: Outcome | None) -> Resources:
    if outcome is None:
        return Resources(wall_ms=0, fuel=None, memory_bytes=0, output_bytes=0, output_files=0)
    used = outcome.used
    return Resources(
        wall_ms=round_up_ms(used.wall_ms),
        fuel=None,
        # Rounded, for the receipt is open and the guest chooses how much it takes.
        memory_bytes=power_of_two(used.memory_bytes or 0),
        output_bytes=used.output_bytes,
        output_files=used.output_files,
    )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
