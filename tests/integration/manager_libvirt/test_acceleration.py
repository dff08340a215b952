"""The probe of acceleration, on a real QEMU."""

import json
import logging
import os
from pathlib import Path

import pytest

from atoll_manager.libvirt import acceleration
from atoll_manager.libvirt.acceleration import Found
from atoll_manager.libvirt.domain import Acceleration
from support.libvirt import qemu

LONG_S = 100.0


def emulator(folder: Path, script: str) -> Path:
    """A program in QEMU's place."""
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_the_rom_runs_and_says_so(tmp_path: Path) -> None:
    assert await acceleration._run_rom(qemu(), "tcg", tmp_path, LONG_S) is None
    assert (tmp_path / "word").read_bytes() == acceleration.WORD


async def test_a_rom_that_does_not_run_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halts = acceleration.rom().replace(b"\xe6\xf4", b"\x90\x90")
    monkeypatch.setattr(acceleration, "rom", lambda: halts)
    why = await acceleration._run_rom(qemu(), "tcg", tmp_path, 2.0)
    assert why is not None
    assert "did not come up" in why


async def test_something_that_is_no_kernel_does_not_pass_for_one(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(os.urandom(4096))
    folder = tmp_path / "probe"
    folder.mkdir()
    why = await acceleration._run_kernel(qemu(), tmp_path / "kernel", "tcg", folder, LONG_S)
    assert why is not None
    assert "a kernel did not run" in why


async def test_what_hangs_is_given_up_with_a_warning_and_guests_are_translated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_device", lambda: None)
    hangs = emulator(tmp_path, "exec sleep 1000")
    with caplog.at_level(logging.WARNING):
        found = await acceleration.probe(hangs, None, None, deadline_s=0.2)
    assert found.kind is Acceleration.TCG
    assert "did not come up under KVM in 0.2 s" in found.reason
    assert "slow" in caplog.text


async def test_what_was_found_is_kept_for_this_boot_and_this_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_device", lambda: None)
    kept, count = tmp_path / "kept.json", tmp_path / "count"
    broken = emulator(tmp_path, f"echo >> {count}; echo no such accelerator >&2; exit 3")
    first = await acceleration.probe(broken, None, kept)
    again = await acceleration.probe(broken, None, kept)
    assert first == again
    assert "status 3" in first.reason
    assert "no such accelerator" in first.reason
    assert count.read_text() == "\n"
    emulator(tmp_path, f"echo >> {count}; echo another now >&2; exit 4")
    assert "another now" in (await acceleration.probe(broken, None, kept)).reason
    (tmp_path / "kernel").write_bytes(b"kernel")
    await acceleration.probe(broken, tmp_path / "kernel", kept)
    assert count.read_text() == "\n\n\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', '{"key": "k", "kind": "x"}'])
def test_what_was_kept_and_cannot_be_read_is_probed_again(tmp_path: Path, content: str) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(content)
    assert acceleration._recall(kept, "k") is None


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    found = Found(kind=Acceleration.KVM, reason="it ran", kernel_tried=True)
    acceleration._keep(tmp_path / "kept.json", "k", found)
    assert acceleration._recall(tmp_path / "kept.json", "k") == found
    assert acceleration._recall(tmp_path / "kept.json", "other") is None
    assert json.loads((tmp_path / "kept.json").read_text())["kind"] == "kvm"


async def test_an_emulator_that_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_device", lambda: None)
    found = await acceleration.probe(tmp_path / "none", None, None)
    assert found.kind is Acceleration.TCG
    assert "No such file" in found.reason
