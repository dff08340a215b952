"""`atoll doctor` without a stack."""

from pathlib import Path

import pytest

from atoll_cli import doctor
from atoll_cli.doctor import Health
from unit.cli.console import Console


def test_an_environment_without_a_stack_is_usable(console: Console) -> None:
    said = console("doctor", "--json")
    document = said.document()
    assert said.status == 0, document
    assert document["usable"] is True
    checks = {item["name"]: item["status"] for item in document["checks"]}
    assert checks["profile"] == "off"
    assert checks["wasmtime"] == checks["nats-server"] == checks["packages"] == "ok"


def test_something_broken_makes_it_fail_and_says_what_to_do(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("atoll", "no-such-package-here"))
    said = console("doctor")
    assert said.status == 1
    assert "no-such-package-here" in said.out
    assert "hint: " in said.out


def test_a_check_that_stumbles_has_failed(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "TINY", b"\xff no module")
    checks = {item["name"]: item for item in console("doctor", "--json").document()["checks"]}
    assert checks["wasmtime"]["status"] == "fail"
    assert checks["nats-server"]["status"] == "ok"


def test_a_disk_is_no_place_for_plaintext(tmp_path: Path) -> None:
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n"
    assert doctor._filesystem(Path("/dev/shm"), mounts) == "tmpfs"
    assert doctor._filesystem(Path("/dev/shm/x"), mounts) == "tmpfs"
    assert doctor._filesystem(Path("/dev/shmx"), mounts) == "ext4"
    assert doctor._filesystem(tmp_path, "") == ""


def test_warns_of_keys_that_others_may_read(console: Console) -> None:
    console("keys", "new", "alice")
    assert doctor.home(console.home).health is Health.OK
    (console.home / "keys" / "alice.json").chmod(0o644)
    check = doctor.home(console.home)
    assert check.health is Health.WARN
    assert "alice.json" in check.detail


def test_a_damaged_profile_is_a_fault(console: Console) -> None:
    console.home.mkdir()
    (console.home / "profile.json").write_text("{}")
    said = console("doctor", "--json")
    assert said.status == 1
    checks = {item["name"]: item["status"] for item in said.document()["checks"]}
    assert checks["profile"] == "fail"
