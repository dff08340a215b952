"""One enclave's vTPM, by the real swtpm: made, certified, run for a machine, and gone."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from atoll.errors import ConfigError
from atoll.tpm import codes, responses
from atoll.tpm.authority import VtpmAuthority
from atoll.tpm.device import ALL
from atoll_manager.vtpm.instance import Vtpm, erase
from support.swtpm import machine, needs_swtpm

pytestmark = needs_swtpm
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> VtpmAuthority:
    return VtpmAuthority.generate(now=NOW)


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def provision(folder: Path, authority: VtpmAuthority) -> Vtpm:
    return await Vtpm.provision(folder, authority, host_id="host-7", now=NOW)


async def test_the_machine_makes_the_key_that_was_certified(
    tmp_path: Path, authority: VtpmAuthority
) -> None:
    made = await provision(tmp_path / "a", authority)
    certified = x509.load_der_x509_certificate(made.certificates[0]).public_key()
    made.start()
    with machine(made.control) as tpm:
        tpm.startup()
        found = responses.ecc_public(tpm.attestation_key().public)
    await made.end()

    assert isinstance(certified, ec.EllipticCurvePublicKey)
    numbers = certified.public_numbers()
    assert (found.x, found.y) == (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


async def test_the_machine_starts_with_registers_at_zero_and_one_bank(
    tmp_path: Path, authority: VtpmAuthority
) -> None:
    made = await provision(tmp_path / "a", authority)
    made.start()
    with machine(made.control) as tpm:
        tpm.startup()
        registers, banks = tpm.read(ALL), tpm.banks()
    await made.end()

    assert all(registers[number] == bytes(32) for number in range(17))
    assert {bank for bank, numbers in banks.items() if numbers} == {codes.SHA256}


async def test_no_two_have_one_key(tmp_path: Path, authority: VtpmAuthority) -> None:
    first, second = [await provision(tmp_path / name, authority) for name in "ab"]
    keys = [
        x509.load_der_x509_certificate(one.certificates[0]).public_key() for one in (first, second)
    ]
    for one in (first, second):
        await one.end()

    assert keys[0] != keys[1]


async def test_nobody_else_reaches_its_state_or_its_socket(
    tmp_path: Path, authority: VtpmAuthority
) -> None:
    made = await provision(tmp_path / "a", authority)
    made.start()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.folder.rglob("*")}
    modes["folder"] = stat.S_IMODE(made.folder.stat().st_mode)
    await made.end()

    assert modes["folder"] == modes["state"] == 0o700
    assert modes["control"] == modes["tpm2-00.permall"] == 0o600


async def test_it_ends_with_its_machine(tmp_path: Path, authority: VtpmAuthority) -> None:
    made = await provision(tmp_path / "a", authority)
    process = made.start()
    with machine(made.control) as tpm:
        tpm.startup()

    assert process.wait(30) == 0
    await made.end()


async def test_nothing_is_left_of_it(tmp_path: Path, authority: VtpmAuthority) -> None:
    made = await provision(tmp_path / "a", authority)
    process = made.start()

    await made.end()
    await made.end()

    assert process.returncode is not None
    assert is_empty(tmp_path)


async def test_a_folder_that_is_there_is_no_new_tpm(
    tmp_path: Path, authority: VtpmAuthority
) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError) as caught:
        await provision(tmp_path / "a", authority)

    assert caught.value.code == "vtpm.failed"
    assert (tmp_path / "a").exists()


async def test_a_path_that_no_socket_can_have_is_refused(
    tmp_path: Path, authority: VtpmAuthority
) -> None:
    with pytest.raises(ConfigError, match="too long for a socket"):
        await provision(tmp_path / ("a" * 100), authority)

    assert is_empty(tmp_path)


async def test_a_tpm_that_does_not_start_leaves_nothing(
    tmp_path: Path, authority: VtpmAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "swtpm"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no such state >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))

    with pytest.raises(ConfigError) as caught:
        await provision(tmp_path / "a", authority)

    assert (caught.value.code, caught.value.hint) == ("vtpm.failed", "no such state")
    assert not (tmp_path / "a").exists()


async def test_a_host_without_swtpm_says_so(
    tmp_path: Path, authority: VtpmAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        await provision(tmp_path / "a", authority)

    assert caught.value.code == "vtpm.no_swtpm"


def test_erasing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    erase(tmp_path / "a")
