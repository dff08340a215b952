"""Every process ends with the status that says why, and with its supervisor."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, os, sys
from dataclasses import dataclass
from atoll import process
from atoll.errors import AtollError, ConfigError, RefusedError, UnreachableError

@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    mode: str
    slots: int = 1

async def body(config, stop):
    match config.mode:
        case "end": return
        case "refused": raise RefusedError("no", code="test.refused", hint="ask again")
        case "config": raise ConfigError("bad", code="test.config")
        case "unreachable": raise UnreachableError("gone", code="test.gone")
        case "bug": raise ValueError("marker text")
        case "cancelled": raise asyncio.CancelledError
        case "exit": sys.exit(9)
        case "group":
            raise ExceptionGroup("both", [RefusedError("one"), UnreachableError("two")])
        case "nested":
            deep = ConfigError("deep", code="test.deep")
            raise ExceptionGroup("a", [ExceptionGroup("b", [deep])])
        case "serve":
            process.announce_ready(kid="k1")
            await stop.wait()
        case "supervised":
            async with asyncio.TaskGroup() as group:
                group.create_task(process.wait_for_end_of_input(stop))
                process.announce_ready()
                await stop.wait()

sys.exit(process.run("test", Config, "T_", os.environ, body, discreet="--discreet" in sys.argv))
"""


def started(
    mode: str | None,
    *arguments: str,
    stdin: int = subprocess.PIPE,
    settings: dict[str, str] | None = None,
) -> "subprocess.Popen[str]":
    settings = {"T_MODE": mode} if mode is not None else settings or {}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", SCRIPT, *arguments],
        env=settings,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit status and log."""
    _, log = process.communicate(timeout=30)
    return process.returncode, log


@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [
        ("end", 0, ""),
        ("refused", 1, "no (test.refused); ask again"),
        ("config", 2, "bad (test.config)"),
        ("unreachable", 3, "gone (test.gone)"),
        ("bug", 1, "ValueError: marker text"),
        ("cancelled", 1, "unexpected error"),
        ("group", 3, "one (refused)"),
        ("nested", 2, "deep (test.deep)"),
    ],
)
def test_the_exit_status_says_why(mode: str, status: int, said: str) -> None:
    actual, log = ended(started(mode))
    assert actual == status
    assert said in log
    assert ("Traceback" in log) is (mode in {"bug", "cancelled"})


def test_every_cause_of_a_group_is_told() -> None:
    _, log = ended(started("group"))
    assert "one (refused)" in log
    assert "two (unreachable)" in log


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "config.missing"),
        ({"T_MODE": "end", "T_SLOTS": "many"}, "config.invalid"),
        ({"T_MODE": "end", "T_SLOT": "1"}, "config.unknown"),
    ],
)
def test_settings_that_are_refused_are_status_2(settings: dict[str, str], code: str) -> None:
    status, log = ended(started(None, settings=settings))
    assert status == 2
    assert code in log
    assert "Traceback" not in log


def test_a_discreet_process_logs_where_a_bug_is_and_not_its_text() -> None:
    status, log = ended(started("bug", "--discreet"))
    assert status == 1
    assert "unexpected ValueError at" in log
    assert "body:" in log
    assert "marker" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_clean_stop(number: signal.Signals) -> None:
    process = started("serve")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ready": True, "kid": "k1"}
    process.send_signal(number)
    status, log = ended(process)
    assert (status, log) == (0, "")


def test_a_supervised_process_ends_with_its_standard_input() -> None:
    process = started("supervised")
    assert process.stdin is not None
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ready": True}
    process.stdin.write("what is written does not matter\n")
    process.stdin.flush()
    process.send_signal(0)
    assert process.poll() is None
    process.stdin.close()
    process.stdin = None
    assert ended(process)[0] == 0


def test_a_supervised_process_is_told_when_its_input_can_never_end(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_text("")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        status, log = ended(started("supervised", stdin=descriptor))
    finally:
        os.close(descriptor)
    assert status == 2
    assert "process.stdin" in log
