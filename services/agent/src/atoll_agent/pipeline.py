"""Run the steps of a computation one after the other, in one enclave.

A step that does not succeed ends the pipeline: those behind it do not run, and every consumer is
told which it was and how it ended.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll.computation.steps import Step, StepLimits, WorkloadKind, order
from atoll.errors import InputError, RefusedError
from atoll.invocation import Invocation
from atoll.telemetry import names as spans
from atoll.telemetry.tracing import Tracer
from atoll_agent.egress.proxy import Proxy
from atoll_agent.egress.way import Way
from atoll_agent.sandbox.compiled import CompiledModules
from atoll_agent.sandbox.kinds import UNAVAILABLE, available
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.outcome import Kind, Outcome
from atoll_agent.sandbox.runner import run
from atoll_agent.sandbox.step import Step as SandboxStep
from atoll_agent.staging import Staging

NOT_RUN: Final = "workload.not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step and how it ended; None: it did not come to run."""

    step: Step
    outcome: Outcome | None

    @property
    def code(self) -> str:
        """Fit to leave the enclave in the clear."""
        return NOT_RUN if self.outcome is None else self.outcome.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything is in its place but what the steps themselves will make."""

    staging: Staging
    invocations: Mapping[str, Invocation] = field(repr=False)
    """By step."""
    tracer: Tracer
    docker_host: str
    way: Way
    """Out of the enclave, for a manifest with destinations."""

    async def run(self) -> tuple[StepRun, ...]:
        """Run all steps, or up to the first that fails; in the order in which they run.

        Raises:
            RefusedError: `pipeline.no_such_result`.
            InputError: `workload.arguments`, `workload.output_names`.
            ConfigError: this host cannot: `sandbox.unavailable`.
        """
        with CompiledModules() as compiled:
            return await self._run_all(compiled)

    async def _run_all(self, compiled: CompiledModules) -> tuple[StepRun, ...]:
        found: list[StepRun] = []
        waiting = list(order(self.staging.manifest.steps))
        # With one step of its kind there is nobody who would use it.
        several = sum(step.kind is WorkloadKind.WASM for step in waiting) > 1
        kept = compiled if several else None
        places = self.staging.manifest.network.places
        egress = Proxy(places, self.way) if places else None
        while waiting:
            step = waiting.pop(0)
            self.staging.link_inputs(step)
            with self.tracer.span(spans.RUN_WORKLOAD) as span:
                outcome = await self._run(step, kept, egress)
                if not outcome.succeeded:
                    span.fail(outcome.code)
            self.staging.forget(step.name)
            found.append(StepRun(step=step, outcome=outcome))
            if not outcome.succeeded:
                break
        return (*found, *(StepRun(step=step, outcome=None) for step in waiting))

    async def _run(
        self, step: Step, compiled: CompiledModules | None, egress: Proxy | None
    ) -> Outcome:
        invocation = self.invocations[step.name]
        given = SandboxStep(
            space=self.staging.space(step.name),
            entry=step.entry,
            args=tuple(invocation.args),
            env=dict(invocation.env),
            limits=sandbox_limits(step.limits),
        )
        try:
            return await run(
                step.kind, given, docker_host=self.docker_host, compiled=compiled, egress=egress
            )
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            # Opening directory by directory, a guest can make paths that nobody can name.
            raise InputError("a path is too long", code=Kind.OUTPUT_NAMES.value) from error


def sandbox_limits(given: StepLimits) -> Limits:
    """A step's limits as the sandbox has them."""
    return Limits(
        wall_s=given.wall_s,
        cpu_s=given.cpu_s,
        memory_bytes=given.memory_bytes,
        fuel=given.fuel,
        processes=given.processes,
        open_files=given.open_files,
        scratch_bytes=given.scratch_bytes,
        output_bytes=given.output_bytes,
        output_files=given.output_files,
        log_bytes=given.log_bytes,
    )


def require_kinds(kinds: frozenset[WorkloadKind], *, docker_host: str) -> None:
    """Refuse a computation that this host cannot wall in. Blocks; to be asked before any key is.

    Raises:
        RefusedError: `sandbox.unavailable`, with what is missing.
    """
    for kind in sorted(kinds, key=lambda one: one.value):
        if (why := available(kind, docker_host=docker_host)) is not None:
            raise RefusedError(f"kind {kind.value}: {why}", code=UNAVAILABLE)
