"""Check, link and run one component of the command world. Only the engine imports this.

A command exports an instance `wasi:cli/run@0.2.x` with a function `run` from nothing to
`result` (WASI 0.2, wasi-cli, `run.wit`). What it may import are the interfaces of WASI 0.2
listed in `_PACKAGES`; all are wasmtime's own and work on what the store's `WasiConfig` has.

Sockets: `add_wasip2` defines `wasi:sockets` and the configuration denies every address, but the
binding has no switch that forbids to make a socket. So a component that imports any function of
`wasi:sockets` is refused before it is linked. Types and resources alone are let through: some
adapters from preview 1 import the type of a socket that they can never come by.
"""

import re
from typing import Final

import wasmtime
from wasmtime import WasmtimeError
from wasmtime.component import (
    Component,
    ComponentInstanceType,
    ExportIndex,
    Func,
    FuncType,
    Linker,
    ResultType,
)

from atoll_agent.sandbox.ended import Ended
from atoll_agent.sandbox.outcome import Kind

_RUN: Final = re.compile(r"wasi:cli/run@0\.2\.[0-9]{1,3}")
_PACKAGES: Final = re.compile(r"wasi:(?:cli|clocks|filesystem|io|random)/[a-z0-9-]+@0\.2\.[0-9]+")
_SOCKETS: Final = re.compile(r"wasi:sockets/[a-z0-9-]+@0\.2\.[0-9]+")
_UNLINKED: Final = "component imports "
"""How wasmtime begins what it says of an import that is missing or of another type."""


def require_run(engine: wasmtime.Engine, component: Component) -> ExportIndex:
    """Where the component's `run` is.

    Raises:
        Ended: NO_START.
    """
    for name, item in component.type.exports(engine).items():
        if not _RUN.fullmatch(name) or not isinstance(item.ty, ComponentInstanceType):
            continue
        run = item.ty.exports(engine).get("run")
        if run is None or not isinstance(kind := run.ty, FuncType) or kind.params:
            continue
        result = kind.result
        if not isinstance(result, ResultType) or result.ok or result.err:
            continue
        instance = component.get_export_index(name)
        index = component.get_export_index("run", instance) if instance else None
        if index is not None:
            return index
    raise Ended(Kind.NO_START)


def require_imports(engine: wasmtime.Engine, component: Component) -> None:
    """Refuse what is not WASI 0.2, and sockets.

    Raises:
        Ended: UNSUPPORTED_IMPORT.
    """
    for name, item in component.type.imports(engine).items():
        if isinstance(kind := item.ty, ComponentInstanceType):
            if _PACKAGES.fullmatch(name):
                continue
            if _SOCKETS.fullmatch(name) and not _functions(engine, kind):
                continue
        raise Ended(Kind.UNSUPPORTED_IMPORT, detail=f"import {name[:160]!r}")


def _functions(engine: wasmtime.Engine, instance: ComponentInstanceType) -> list[str]:
    return [
        name for name, item in instance.exports(engine).items() if isinstance(item.ty, FuncType)
    ]


def instantiate(
    engine: wasmtime.Engine, store: wasmtime.Store, component: Component, run: ExportIndex
) -> Func:
    """The component's `run`, ready to be called. Start sections have run by then.

    Raises:
        Ended: UNSUPPORTED_IMPORT.
        WasmtimeError: a trap, or a limit of the store.
    """
    linker = Linker(engine)
    linker.add_wasip2()
    try:
        instance = linker.instantiate(store, component)
    except WasmtimeError as error:
        # There is no instantiate_pre for components; only the text tells this one apart.
        if str(error).startswith(_UNLINKED):
            raise Ended(Kind.UNSUPPORTED_IMPORT, detail=str(error)) from error
        raise
    function = instance.get_func(store, run)
    if function is None:
        raise Ended(Kind.NO_START)
    return function


def call(store: wasmtime.Store, run: Func) -> int:
    """Run it; the exit code that its result means.

    Raises:
        WasmtimeError: a trap, or an exit.
    """
    return 0 if run(store).tag == "ok" else 1
