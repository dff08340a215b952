"""Every fuzz target, without a fuzzer: over all vectors and random mutations of good seeds."""

import importlib
import random
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.judge import JUDGES
from atoll.evidence.snp import REPORT_SIZE
from support import dcap, fuzz_seeds, vectors

PROJECT = Path(__file__).resolve().parents[2]
FILES = PROJECT / "tests" / "vectors" / "files"
MUTATIONS = 200
MAX_SEED = 64 << 10
KIND_FILES = tuple(kind.replace("_", "-") for kind in JUDGES)
CHECK_MORE = {"ear", "ear_cwt"}
"""Targets that verify, too: their seeds parse, and are refused for being about other evidence."""


def module(name: str) -> Any:
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    return importlib.import_module(f"fuzz.{name}")


TARGETS: dict[str, Any] = module("targets").TARGETS


@cache
def seeds() -> dict[str, bytes]:
    """Our own vectors, and the published ones if they are there, without what is very long."""
    found = {path.name: path.read_bytes() for path in sorted(FILES.iterdir())}
    for kind in sorted(vectors.all_kinds()):
        for case in vectors.of_kind(kind):
            found[case["path"]] = vectors.read(case["path"])
    return {name: content for name, content in found.items() if len(content) <= MAX_SEED}


@cache
def good(name: str) -> tuple[bytes, ...]:
    """Inputs of the target's own kind."""
    if name in fuzz_seeds.made():
        return (fuzz_seeds.made()[name],)
    own = (raw for file, raw in seeds().items() if file.startswith(roles_of(name)))
    match name:
        case "cert_table":
            return tuple(raw[REPORT_SIZE:] for raw in own)
        case "intel_certificate":
            return dcap.pck_chain()
        case "judge":
            kinds = range(len(module("targets").KINDS))
            files = [raw for file, raw in seeds().items() if file.startswith(KIND_FILES)]
            return tuple(bytes((kind,)) + raw for kind in kinds for raw in files)
        case _:
            return tuple(own)


def roles_of(name: str) -> tuple[str, ...]:
    return TARGETS[name].roles or ("no such role",)


def mutated(raw: bytes, source: random.Random) -> bytes:
    """One to eight changes: a byte, a cut, a repeated piece, a number at its edges."""
    data = bytearray(raw)
    for _ in range(source.randint(1, 8)):
        at = source.randint(0, len(data))
        end = min(len(data), at + source.randint(0, 16))
        match source.randrange(5):
            case 0:
                data[at : at + 1] = source.randbytes(1)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:end] = source.choice((b"\0", b"\xff")) * (end - at)
            case _:
                data[at:] = b""
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_accepts_or_refuses_as_documented(name: str) -> None:
    target, one_input = TARGETS[name], module("harness").one_input
    source = random.Random(name)
    for raw in seeds().values():
        one_input(target, raw)
    for raw in source.choices(good(name), k=MUTATIONS):
        one_input(target, mutated(raw, source))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - CHECK_MORE))
def test_has_a_seed_that_is_accepted(name: str) -> None:
    target, one_input = TARGETS[name], module("harness").one_input
    assert any(one_input(target, raw) for raw in good(name))


def test_every_kind_is_judged_on_evidence_of_every_kind() -> None:
    target, one_input = TARGETS["judge"], module("harness").one_input
    accepted = {raw[0] for raw in good("judge") if one_input(target, raw)}
    assert accepted == set(range(len(module("targets").KINDS)))


def test_every_target_has_a_script_and_every_script_a_target() -> None:
    scripts = {path.stem.removeprefix("fuzz_") for path in (PROJECT / "fuzz").glob("fuzz_*.py")}
    assert scripts == set(TARGETS)


def test_an_error_that_is_not_documented_is_a_finding() -> None:
    def broken(raw: bytes) -> object:
        return raw[5]

    harness = module("harness")
    target = harness.Target(parse=broken, refusals=(ValueError,), roles=())
    with pytest.raises(IndexError):
        harness.one_input(target, b"")
