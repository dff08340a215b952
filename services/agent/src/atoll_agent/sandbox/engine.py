"""Compile, link and run one guest with wasmtime. Only the worker imports this module.

Recipe, each step with its own way to fail:

1. the first eight bytes: a module, version 1, or a component; binary (wasmtime's Python
   binding would also compile the text format)     NOT_WASM
2. compile, with the features listed in `_config`, or load what an earlier worker of the same
   job compiled                                    NOT_WASM
3. `_start`, or a component's `wasi:cli/run`       NO_START
4. imports: WASI by name, then by type             UNSUPPORTED_IMPORT
5. instantiate under the store's limits            OUT_OF_MEMORY, or as 6 (start section)
6. call it                                         EXITED, TRAPPED, TIMEOUT, FUEL

A module has WASI preview 1, a component preview 2 (`components`): one configuration serves both,
so that the directories and their permissions are the same.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import wasmtime
from wasmtime import Trap, TrapCode, WasmtimeError
from wasmtime.component import Component

from atoll_agent.sandbox import artifact, components
from atoll_agent.sandbox.ended import Ended
from atoll_agent.sandbox.exchange import MAX_DETAIL, MAX_EXIT_CODE, Answer, Job
from atoll_agent.sandbox.limits import (
    COMPONENT_INSTANCES,
    COMPONENT_TABLES,
    INSTANCES,
    MAX_MODULE,
    MEMORIES,
    TABLE_ELEMENTS,
    TABLES,
    WASM_STACK,
    Limits,
)
from atoll_agent.sandbox.outcome import Kind

WASI: Final = "wasi_snapshot_preview1"
MODULE_HEADER: Final = b"\0asm\x01\0\0\0"
COMPONENT_HEADER: Final = b"\0asm\x0d\0\x01\0"
"""Version 13, layer 1 (component model, Binary.md)."""
ARGV0: Final = "algorithm"

_Code = TypeVar("_Code", wasmtime.Module, Component)
_TRAP_TEXT: Final = "wasm trap: "
_TRAPS: Final = {
    TrapCode.INTERRUPT: Kind.TIMEOUT,
    TrapCode.OUT_OF_FUEL: Kind.FUEL,
    TrapCode.ALLOCATION_TOO_LARGE: Kind.OUT_OF_MEMORY,
}


@dataclass(slots=True)
class _Run:
    """What is known about a run when it ends, however it ends."""

    exit_code: int = 0
    memory_bytes: int | None = None
    """Of a module. A component keeps its memory to itself, so nobody can ask for its size."""
    overdue: bool = False
    """The deadline has passed."""


def execute(job: Job) -> Answer:
    """Run the job's module once and say how it ended. Raises nothing on purpose."""
    run = _Run()
    try:
        _execute(job, run)
        end = Ended(Kind.EXITED, exit_code=run.exit_code)
    except Ended as ended:
        end = ended
    return Answer(
        kind=end.kind,
        exit_code=end.exit_code,
        memory_bytes=run.memory_bytes,
        detail=end.detail.encode("utf-8", "replace").decode("utf-8")[:MAX_DETAIL],
    )


def _execute(job: Job, run: _Run) -> None:
    raw = _read(job.module)
    component = raw.startswith(COMPONENT_HEADER)
    engine = wasmtime.Engine(_config(job.limits, component=component))
    with _deadline(engine, job.limits.wall_s, run):
        if component:
            compiled = _compiled(Component, engine, job, raw)
            del raw
            _execute_component(engine, job, run, compiled)
        else:
            module = _compiled(wasmtime.Module, engine, job, raw)
            del raw
            _execute_module(engine, job, run, module)


def _compiled(kind: type[_Code], engine: wasmtime.Engine, job: Job, raw: bytes) -> _Code:
    """Compile, or load what an earlier worker of this job compiled. No guest has run yet.

    An artifact is run as it is, so it must come from where no guest could write (`artifact`).
    When the descriptor is closed here, the file is sealed, and the guest does not even hold it.
    """
    if not job.artifact:
        return _compile(kind, engine, raw)
    try:
        if job.known:
            if kept := artifact.read(job.artifact):
                with suppress(WasmtimeError):  # of another version or configuration
                    return kind.deserialize(engine, kept)
            return _compile(kind, engine, raw)
        module = _compile(kind, engine, raw)
        with suppress(WasmtimeError):
            artifact.write(job.artifact, module.serialize())
        artifact.seal(job.artifact)
        return module
    finally:
        os.close(job.artifact)


def _compile(kind: type[_Code], engine: wasmtime.Engine, raw: bytes) -> _Code:
    try:
        return kind(engine, raw)
    except WasmtimeError as error:
        raise Ended(Kind.NOT_WASM, detail=str(error)) from error


def _execute_module(engine: wasmtime.Engine, job: Job, run: _Run, module: wasmtime.Module) -> None:
    _require_start(module)
    store = _store(engine, job, component=False)
    instance = _instantiate(engine, store, module)
    exports = instance.exports(store)
    start = exports["_start"]
    try:
        if isinstance(start, wasmtime.Func):
            start(store)
    except (WasmtimeError, Trap) as error:
        raise _ended_by(error) from error
    finally:
        memories = [item for _, item in exports.items() if isinstance(item, wasmtime.Memory)]
        # One memory at most, perhaps exported twice.
        run.memory_bytes = max((item.data_len(store) for item in memories), default=0)


def _execute_component(engine: wasmtime.Engine, job: Job, run: _Run, component: Component) -> None:
    try:
        index = components.require_run(engine, component)
        components.require_imports(engine, component)
    except TypeError as error:  # a kind of item or type that the binding does not know
        raise Ended(Kind.UNSUPPORTED_IMPORT, detail=str(error)) from error
    store = _store(engine, job, component=True)
    try:
        command = components.instantiate(engine, store, component, index)
    except WasmtimeError as error:
        # What is neither an exit nor a trap are the store's limits.
        other = Kind.TRAPPED if _TRAP_TEXT in str(error) else Kind.OUT_OF_MEMORY
        raise _component_ended_by(error, store, job, run, other) from error
    try:
        run.exit_code = components.call(store, command)
    except WasmtimeError as error:
        raise _component_ended_by(error, store, job, run, Kind.TRAPPED) from error


def _component_ended_by(
    error: WasmtimeError, store: wasmtime.Store, job: Job, run: _Run, other: Kind
) -> Ended:
    """As `_ended_by`. The binding has no trap codes for components: what was used up tells."""
    if isinstance(error, wasmtime.ExitTrap):
        return _ended_by(error)
    if run.overdue:
        return Ended(Kind.TIMEOUT, detail=str(error))
    if job.limits.fuel and store.get_fuel() == 0:
        return Ended(Kind.FUEL, detail=str(error))
    return Ended(other, detail=str(error))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is one more import at start
        raw = file.read(MAX_MODULE + 1)
    if not raw.startswith((MODULE_HEADER, COMPONENT_HEADER)):
        raise Ended(Kind.NOT_WASM, detail="begins neither as a Wasm 1 module nor as a component")
    if len(raw) > MAX_MODULE:
        raise Ended(Kind.NOT_WASM, detail=f"larger than {MAX_MODULE} bytes")
    return raw


def _config(limits: Limits, *, component: bool) -> wasmtime.Config:
    """WebAssembly 2.0 and tail calls; nothing with threads, a collector or 64-bit memories.

    Floating point is made reproducible: one NaN, and relaxed SIMD in its deterministic form.
    """
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = limits.fuel > 0
    config.max_wasm_stack = WASM_STACK
    config.shared_memory = False
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_component_model = component
    config.wasm_gc = False
    config.wasm_function_references = False
    config.wasm_exceptions = False
    config.wasm_stack_switching = False
    config.wasm_custom_page_sizes = False
    config.wasm_relaxed_simd_deterministic = True
    # The binding has no properties for these.
    ffi = wasmtime._ffi  # noqa: SLF001
    ffi.wasmtime_config_cranelift_nan_canonicalization_set(config.ptr(), True)  # noqa: FBT003
    ffi.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)  # noqa: FBT003
    return config


def _store(engine: wasmtime.Engine, job: Job, *, component: bool) -> wasmtime.Store:
    limits = job.limits
    store = wasmtime.Store(engine)
    store.set_limits(
        memory_size=limits.memory_bytes,
        table_elements=TABLE_ELEMENTS,
        instances=COMPONENT_INSTANCES if component else INSTANCES,
        tables=COMPONENT_TABLES if component else TABLES,
        memories=MEMORIES,
    )
    store.set_epoch_deadline(1)
    if limits.fuel:
        store.set_fuel(limits.fuel)
    wasi = wasmtime.WasiConfig()
    wasi.argv = [ARGV0, *job.args]
    wasi.env = [(variable.name, variable.value) for variable in job.env]
    wasi.stdout_file = job.stdout
    wasi.stderr_file = job.stderr
    wasi.preopen_dir(job.data, "/data", fs_mutable=False)
    wasi.preopen_dir(job.results, "/results", fs_mutable=True)
    store.set_wasi(wasi)
    return store


@contextmanager
def _deadline(engine: wasmtime.Engine, wall_s: int, run: _Run) -> Iterator[None]:
    """Move the engine's epoch once, after `wall_s`: guest code then traps at its next branch."""

    def pass_it() -> None:
        run.overdue = True
        engine.increment_epoch()

    timer = threading.Timer(wall_s, pass_it)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _require_start(module: wasmtime.Module) -> None:
    for export in module.exports:
        if export.name == "_start":
            kind = export.type
            if isinstance(kind, wasmtime.FuncType) and not kind.params and not kind.results:
                return
    raise Ended(Kind.NO_START)


def _instantiate(
    engine: wasmtime.Engine, store: wasmtime.Store, module: wasmtime.Module
) -> wasmtime.Instance:
    for item in module.imports:
        if item.module != WASI:
            detail = f"import {item.module[:80]!r} {(item.name or '')[:80]!r}"
            raise Ended(Kind.UNSUPPORTED_IMPORT, detail=detail)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    try:
        ready = linker.instantiate_pre(module)
    except WasmtimeError as error:
        raise Ended(Kind.UNSUPPORTED_IMPORT, detail=str(error)) from error
    try:
        return ready.instantiate(store)
    except Trap as error:
        raise _ended_by(error) from error
    except WasmtimeError as error:
        if isinstance(error, wasmtime.ExitTrap):
            raise _ended_by(error) from error
        # Types fit and nothing ran, so what is left are the store's limits.
        raise Ended(Kind.OUT_OF_MEMORY, detail=str(error)) from error


def _ended_by(error: WasmtimeError | Trap) -> Ended:
    if isinstance(error, wasmtime.ExitTrap):
        if 0 <= error.code <= MAX_EXIT_CODE:
            return Ended(Kind.EXITED, exit_code=error.code)
        return Ended(Kind.TRAPPED, detail=f"exit code {error.code}, want 0 to {MAX_EXIT_CODE}")
    kind = Kind.TRAPPED
    if isinstance(error, Trap):
        try:
            code = error.trap_code
        except ValueError:  # a code that this binding does not know yet
            code = None
        kind = _TRAPS.get(code, Kind.TRAPPED) if code else Kind.TRAPPED
    return Ended(kind, detail=str(error))
