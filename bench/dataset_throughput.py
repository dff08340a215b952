"""Sealed datasets: how fast they travel and open, and how much memory that takes.

Atoll's side is what really runs: the client's `upload_file` and the agent's `open_asset`.
Beside it, in the same run and in turns with it: the same bytes as plain JetStream messages of
512 KiB with the same number in flight, AES-256-GCM alone, and SHA-256 alone, of which Atoll
needs two passes on each side (of the content, for the commitment; of the ciphertext, for the
object store).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from atoll_cli.nats_server import EmbeddedNats, NatsUser
from bench import dataset, guests
from bench.children import call
from bench.machine import MemoryWatch
from bench.report import Report, Table, median
from bench.scale import MIB, Scale
from bench.stack import Stack, running

NAME: Final = "dataset_throughput"
MEMORY_LIMIT: Final = 128 * MIB

_SIDES: Final = (
    ("seal and upload", ("seal_upload", "publish_chunks", "aes_seal", "sha256")),
    ("fetch and open", ("fetch_open", "fetch_chunks", "aes_open", "sha256")),
)
_LABELS: Final = {
    "seal_upload": "Atoll",
    "fetch_open": "Atoll",
    "publish_chunks": "raw JetStream publish",
    "fetch_chunks": "raw JetStream fetch",
    "aes_seal": "AES-256-GCM alone",
    "aes_open": "AES-256-GCM alone",
    "sha256": "SHA-256 alone, one pass",
}

Found = dict[str, list[dict[str, Any]]]


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    tables = []
    async with running(scratch / "stack", slots=2) as stack, raw_server(scratch) as raw:
        for size in scale.dataset_sizes:
            found = await _measure(scale, scratch, stack, raw, size)
            tables.append(_throughput(size, found))
        tables.append(await _memory(scale, scratch, stack))
    return Report(
        name=NAME,
        tables=tuple(tables),
        notes=(
            f"MB are 10^6 bytes; medians of {scale.dataset_rounds} rounds",
            "all contenders in turn in each round, every one in a fresh process",
            "resident memory is VmHWM, shared libraries included; tmpfs pages are not in it",
        ),
    )


@asynccontextmanager
async def raw_server(scratch: Path) -> AsyncIterator[dict[str, str]]:
    """A nats-server configured as the stack's, whose user may do everything."""
    user = NatsUser(
        name="raw", password="raw limits", publish=(">",), subscribe=(">",), allow_responses=True
    )
    async with EmbeddedNats(scratch / "raw", [user]) as server:
        yield {"url": server.url, "user": user.name, "password": user.password}


async def _measure(
    scale: Scale, scratch: Path, stack: Stack, raw: dict[str, str], size: int
) -> Found:
    path = scratch / "dataset"
    dataset.write(path, size)
    given: dict[str, Any] = {
        "home": str(stack.home),
        "data": str(stack.home.parent / "data"),
        "path": str(path),
        "size": size,
        **raw,
    }
    found: Found = {name: [] for name in _LABELS}
    for _ in range(scale.dataset_rounds):
        for _, contenders in _SIDES:
            for name in contenders:
                result = await call(name, **given)
                found[name].append(result)
                given["asset"] = result.get("asset", given.get("asset"))
        await call("forget", **given)
    path.unlink()
    return found


def _throughput(size: int, found: Found) -> Table:
    rows: list[tuple[str, str, float, float, float | None]] = []
    for side, contenders in _SIDES:
        ours = median(item["seconds"] for item in found[contenders[0]])
        for name in contenders:
            seconds = median(item["seconds"] for item in found[name])
            peaks = [item["peak"] for item in found[name] if "peak" in item]
            peak = max(peaks) / MIB if peaks else None
            rows.append((side, _LABELS[name], size / seconds / 1e6, seconds / ours, peak))
    return Table(
        title=f"{size // MIB} MiB",
        columns=("direction", "contender", "MB/s", "Atoll / it", "peak MiB"),
        rows=tuple(rows),
    )


async def _memory(scale: Scale, scratch: Path, stack: Stack) -> Table:
    """A real job over a dataset of `memory_size`, which its guest reads to the end."""
    size = scale.memory_size
    path, module = scratch / "dataset", scratch / "sum.wasm"
    total = dataset.write(path, size)
    module.write_bytes(guests.sum_words())
    with MemoryWatch(stack.pid) as watch:
        found = await call(
            "jobs",
            home=str(stack.home),
            party="bench",
            module=str(module),
            data={"big": str(path)},
            out=str(scratch / "out"),
            count=1,
            expect=guests.answer_of_sum(size, total).decode(),
        )
    path.unlink()
    peaks = {"client": found["peak"], **dict(sorted(watch.peaks.items()))}
    return Table(
        title=f"peak resident memory, one job that reads {size // MIB} MiB "
        f"({found['seconds']:.1f} s from sealing to the opened result)",
        columns=("process", "MiB", "below 128 MiB"),
        rows=tuple(
            (name, peak / MIB, "yes" if peak < MEMORY_LIMIT else "NO")
            for name, peak in peaks.items()
        ),
    )
