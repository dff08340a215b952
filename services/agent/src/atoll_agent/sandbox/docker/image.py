"""An image archive judged as a whole, and what it is made of. Pure but for the file it reads.

Recipe; nothing of the archive is used before all of it holds:

1. the archive is a tar within `MAX_ARCHIVE`, its names stay inside, none is there twice
2. it holds exactly one image, as docker-archive, OCI layout, or both in agreement
3. every file whose name is a digest has that digest
4. the configuration is for Linux and for this machine, has something to start, and wants
   to write nowhere but where every workload may
5. each layer, before compression, has the digest that the configuration gives for it

What is not checked: what the programs in it do, and whether the layers fit together.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from atoll_agent.sandbox.docker.layers import Blob, Budget, check_layer
from atoll_agent.sandbox.docker.layout import (
    as_list,
    as_object,
    digest_hex,
    find_image,
    parse_json,
)
from atoll_agent.sandbox.docker.refusal import refuse

MAX_ARCHIVE: Final = 4 << 30
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
"""What the kernel calls a machine, and what images call it (GOARCH)."""
WRONG_ARCHITECTURE: Final = "image.architecture"
DATA: Final = ("/data", "/cocos/datasets")
RESULTS: Final = ("/results", "/cocos/results")
SCRATCH: Final = "/tmp"  # noqa: S108 - the guest's own
_MAY_BE_VOLUMES: Final = frozenset({*DATA, *RESULTS, SCRATCH})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the configuration says about starting it (config.md, "config")."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    folder: str = "/"
    """Where it starts: absolute, without ".."."""

    def argv(self, args: tuple[str, ...]) -> tuple[str, ...]:
        """What to start; arguments stand in the place of the command. Empty: nothing is said."""
        return (*self.entrypoint, *(args or self.command))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that was checked. `image_id` is the digest of its configuration."""

    image_id: str
    config: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]
    unpacked_size: int
    run: Run


def read_image(file: BinaryIO, *, machine: str) -> Image:
    """Judge the archive in `file`, which can be read at any place.

    Args:
        file: the archive; read several times, in pieces.
        machine: as the kernel names it ("x86_64").

    Raises:
        InputError: a code that begins with `image.`; `image.architecture` is for another
            machine or another system.
    """
    size = file.seek(0, io.SEEK_END)
    if size > MAX_ARCHIVE:
        raise refuse("too_large", f"the archive has {size} bytes, want at most {MAX_ARCHIVE}")
    parts = find_image(file, size)
    config = as_object(parse_json(parts.config_raw, "the configuration"), "the configuration")
    diff_ids = _diff_ids(config)
    if len(diff_ids) != len(parts.layers):
        raise refuse(
            "layer_digest",
            f"there are {len(parts.layers)} layers, the configuration has {len(diff_ids)}",
        )
    run = _run(config)
    _require_machine(config, machine)
    # The same layer may be there several times: each counts against the budget.
    budget = Budget.of(sum(layer.size for layer in parts.layers))
    unpacked = 0
    for number, (layer, diff_id) in enumerate(zip(parts.layers, diff_ids, strict=True), 1):
        unpacked += check_layer(file, layer, diff_id, budget, f"layer {number}")
    return Image(
        image_id=parts.image_id,
        config=parts.config,
        layers=parts.layers,
        diff_ids=diff_ids,
        unpacked_size=unpacked,
        run=run,
    )


def _diff_ids(config: Mapping[str, Any]) -> tuple[str, ...]:
    what = "the configuration, rootfs"
    rootfs = as_object(config.get("rootfs"), what)
    if rootfs.get("type") != "layers":
        raise refuse("json", f"{what} is of another type than layers")
    listed = as_list(rootfs.get("diff_ids"), f"{what}, diff_ids")
    return tuple(f"sha256:{digest_hex(item, what)}" for item in listed)


def _require_machine(config: Mapping[str, Any], machine: str) -> None:
    wanted = ("linux", ARCHITECTURES.get(machine, machine))
    found = (config.get("os"), config.get("architecture"))
    if found != wanted:
        shown = "/".join(str(item)[:20] for item in found)
        raise refuse("architecture", f"the image is for {shown!a}, want {'/'.join(wanted)}")


def _run(config: Mapping[str, Any]) -> Run:
    """How it is started; refuses places to write of its own."""
    what = "the configuration, config"
    run = as_object(config.get("config") or {}, what)
    entrypoint, command, pairs = (
        _texts(run.get(name), f"{what}, {name}") for name in ("entrypoint", "cmd", "env")
    )
    env = [pair.partition("=") for pair in pairs]
    if not all(name and equals for name, equals, _ in env):
        raise refuse("json", f"{what}, env: has something that is not NAME=value")
    volumes = as_object(run.get("volumes") or {}, f"{what}, volumes")
    foreign = set(volumes) - _MAY_BE_VOLUMES
    if foreign:
        raise refuse(
            "volumes",
            f"the image wants a volume at {min(foreign)[:80]!a}; only /results and "
            f"{SCRATCH} can be written to",
        )
    return Run(
        entrypoint=entrypoint,
        command=command,
        env=tuple((name, value) for name, _, value in env),
        folder=_folder(run.get("workingdir") or "/", f"{what}, workingdir"),
    )


def _texts(value: Any, what: str) -> tuple[str, ...]:
    listed = as_list(value or [], what)
    if not all(isinstance(item, str) and "\0" not in item for item in listed):
        raise refuse("json", f"{what}: has something that is no text")
    return tuple(listed)


def _folder(value: Any, what: str) -> str:
    # Engines take one without a slash as below the root.
    if not isinstance(value, str) or "\0" in value or ".." in value.split("/"):
        raise refuse("json", f"{what}: is no path that goes down")
    return "/" + "/".join(part for part in value.split("/") if part not in {"", "."})
