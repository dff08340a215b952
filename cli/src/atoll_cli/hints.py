"""What a person can do about a job's end, by its stable code."""

from collections.abc import Mapping
from typing import Final

HINTS: Final[Mapping[str, str]] = {
    "workload.exit_nonzero": "the guest's own words are in `stderr` of the result",
    "workload.trap": "the guest's own words, if any, are in `stderr` of the result",
    "workload.timeout": "allow more with --wall-s",
    "workload.fuel": "allow more with --fuel, or leave it out",
    "workload.memory": "allow more with --memory-mib",
    "workload.output_limit": "allow more with --output-mib and --output-files",
    "workload.output_names": "results need printable names without a backslash, below 256 bytes",
    "workload.output_kind": "only regular files can be results",
    "workload.not_wasm": "compile for wasm32-wasip1 (a module) or wasm32-wasip2 (a component)",
    "workload.no_start": "export `_start` (a module) or `wasi:cli/run` (a component): a command",
    "workload.import": "only WASI preview 1, or preview 2 without sockets, can be imported",
}


def for_code(code: str) -> str | None:
    """The hint, if there is one."""
    return HINTS.get(code)
