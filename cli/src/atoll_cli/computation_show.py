"""How a computation looks: who, what runs, on what, and who gets what."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from atoll.client.agreement import ManifestFile, Standing, State
from atoll.computation.advice import Advice, Level
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import Manifest
from atoll.computation.network import NetworkMode
from atoll.computation.outputs import Output
from atoll.computation.placement import Placement
from atoll.computation.steps import Source, Step, order
from atoll.identity import fingerprint
from atoll.wire import schema
from atoll_cli.session import Session
from atoll_cli.text import printable, size, table

_STYLE = {Level.WARNING: "33", Level.NOTE: "36"}


def moment(ms: int) -> str:
    """A time as people and RFC 3339 write it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms after 1970"


def manifest_lines(file: ManifestFile) -> list[str]:
    """All of a manifest that a party should know before it signs."""
    manifest = file.manifest
    lines = [f"manifest  {file.digest.hex()}"]
    if manifest.title:
        lines.append(f"title     {printable(manifest.title)}")
    roles = manifest.roles()
    lines += ["", "parties"]
    lines += table(
        (name, fingerprint(party.signing_key), ", ".join(sorted(roles[name])))
        for name, party in manifest.parties.items()
    )
    for step in order(manifest.steps):
        lines += ["", f"step {step.name} ({step.kind.value})", *table(_step_rows(step))]
    if manifest.datasets:
        lines += ["", "datasets"]
        lines += table(
            (name, *_asset(dataset.asset), _unpacking(dataset.unpack is not None))
            for name, dataset in manifest.datasets.items()
        )
    lines += ["", "outputs"]
    for name, output in manifest.outputs.items():
        lines += table(_output_rows(name, output))
    return [*lines, "", "conditions", *table(_conditions(manifest))]


def manifest_document(file: ManifestFile) -> dict[str, Any]:
    """The same for programs."""
    return {
        "digest": file.digest.hex(),
        "roles": {name: sorted(roles) for name, roles in file.manifest.roles().items()},
        "assets": {
            name: schema.to_plain(asset, json=True)
            for name, asset in file.manifest.assets().items()
        },
        "manifest": file.manifest.to_plain(),
    }


def advice_document(advice: Iterable[Advice]) -> list[dict[str, str]]:
    """What there is to look at."""
    return [
        {"id": one.id, "level": one.level.value, "path": one.path, "message": one.message}
        for one in advice
    ]


def show_advice(session: Session, advice: Iterable[Advice]) -> None:
    """Each on a line."""
    for one in advice:
        line = f"{one.level.value:<8} {printable(one.path)}: {printable(one.message)} [{one.id}]"
        session.print(line, style=_STYLE[one.level])


def standing_lines(standings: Iterable[Standing]) -> list[str]:
    """Who has consented, who has not, and what is of no use."""
    return table((one.party, one.state.value, _standing_detail(one)) for one in standings)


def standing_document(one: Standing) -> dict[str, Any]:
    """The same for programs."""
    return {
        "party": one.party,
        "state": one.state.value,
        "code": one.code or None,
        "expires_ms": one.expires_ms,
        "detail": one.detail or None,
    }


def _standing_detail(one: Standing) -> str:
    if one.expires_ms is not None:
        word = "until" if one.state is State.GIVEN else "ended"
        return f"{word} {moment(one.expires_ms)}"
    return f"{one.detail} [{one.code}]" if one.detail else ""


def _step_rows(step: Step) -> Iterator[tuple[str, str]]:
    yield "algorithm", " ".join(_asset(step.algorithm))
    if step.entry:
        yield "entry", step.entry
    if step.bundle is not None:
        yield "bundle", " ".join(_asset(step.bundle))
    yield "arguments", " ".join(_asset(step.invocation))
    for name, source in step.inputs.items():
        yield "reads", f"{_source(source)} as /data/{name}"
    limits = step.limits
    yield "limits", f"{limits.wall_s} s, {size(limits.memory_bytes)} of memory"


def _output_rows(name: str, output: Output) -> Iterator[tuple[str, str]]:
    yield name, f"of step {output.step}, for {', '.join(output.consumers)}"
    kinds = ", ".join(output.media_types) or "any type"
    yield "", f"at most {size(output.max_bytes)} in {output.max_files} files, {kinds}"
    yield "", f"named {', '.join(output.names)}; {'with' if output.logs else 'without'} logs"


def _conditions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    network = manifest.network
    where = ", ".join(f"{one.host}:{one.port}" for one in network.destinations)
    yield "network", "none" if network.mode is NetworkMode.NONE else where
    yield "enclave", manifest.tee.kind.value
    yield "policy", manifest.tee.policy or "each party appraises by its own"
    yield "waits", f"{manifest.limits.release_wait_ms / 1000:g} s for the keys"
    yield "deadline", f"{manifest.limits.deadline_ms / 1000:g} s after submission"
    if manifest.placement is not None:
        yield "host", _placement(manifest.placement)
    for one in manifest.previous:
        yield "builds on", one


def _placement(asked: Placement) -> str:
    words = [f"{name}={value}" for name, value in sorted(asked.labels.items())]
    if asked.memory_bytes:
        words.append(f"{size(asked.memory_bytes)} of memory")
    if asked.cpus:
        words.append(f"{asked.cpus} processors for itself")
    if asked.dedicated:
        words.append("dedicated to the tenant that submits it")
    return ", ".join(words) or "any"


def _asset(asset: AssetRef) -> tuple[str, str, str]:
    digest = f"sha256:{asset.sha256}" if asset.sha256 else "no public digest"
    return f"of {asset.provider}", size(asset.size), digest


def _source(source: Source) -> str:
    if source.dataset is not None:
        return f"dataset {source.dataset}"
    return f"results of step {source.step}" + (f", {source.path}" if source.path else "")


def _unpacking(unpacked: bool) -> str:  # noqa: FBT001
    return "unpacked" if unpacked else ""
