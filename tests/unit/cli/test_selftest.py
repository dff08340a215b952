"""`atoll hosts selftest`: on fake guests with what real and simulated hardware answers."""

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.judgement import Roots
from atoll_agent.evidence import looking, sev_guest, tdx_guest
from atoll_agent.evidence.choose import Source
from atoll_agent.evidence.looking import TPM, look
from atoll_cli.selftest import report as reports
from atoll_cli.selftest import survey as surveys
from atoll_cli.selftest.attempt import Attempt, Prober, Result
from atoll_cli.selftest.machine import MAX_TEXT, ThisMachine
from atoll_cli.selftest.report import Survey, Verdict
from support import dcap, evidence, intel_pcs
from support.dcap import Platform
from support.kernel import recorded
from support.kernel.configfs import ConfigFs, Driver
from support.kernel.machine import Machine
from support.kernel.sev import SevGuest
from support.kernel.tdx import Service, TdxGuest, framed, response
from unit.cli.console import Console

CHIP = evidence.guest().attest(bytes(64))[0x1A0:0x1E0].hex()
OWN = Roots(certificates=(dcap.root_der(),))
EMPTY = Survey(guest={}, host={}, versions={}, processor={})


def report(data: bytes, vmpl: int = 0) -> bytes:
    return evidence.guest().attest(data, vmpl=vmpl)


def quote(data: bytes) -> bytes:
    return Platform(body=dcap.td_report(report_data=data)).quote()


def snp_guest(table: bytes = b"") -> Machine:
    """A guest of the simulated processor, with both interfaces."""
    driver = Driver("sev_guest", lambda data, vmpl: (report(data, vmpl), table), floor=0)
    devices: Any = {sev_guest.DEVICE: SevGuest(report, table)}
    return Machine(files=ConfigFs(driver=driver), devices=devices)


def attempts(on: Machine, **changes: Any) -> tuple[Attempt, ...]:
    ticks = count()
    given: dict[str, Any] = {
        "now": evidence.NOW,
        "random": bytes,
        "roots": Roots(certificates=(evidence.chain().ark_pem,)),
        "clock": lambda: float(next(ticks)),
    }
    return Prober(kernel=on, **(given | changes)).try_all(look(on))


def document(found: Sequence[Attempt], *, with_chip_id: bool = False) -> dict[str, Any]:
    return reports.document(
        EMPTY, found, made="2026-06-01T12:00:00+00:00", version="0", with_chip_id=with_chip_id
    )


def test_every_interface_of_a_guest_is_tried_and_verified() -> None:
    found = attempts(snp_guest(evidence.chain().table().to_bytes()))
    assert [one.source for one in found] == [Source.TSM, Source.SEV_GUEST]
    assert [one.result for one in found] == [Result.VERIFIED] * 2, found
    assert reports.verdict(found) is Verdict.GOOD
    assert {one.seconds for one in found} == {1.0}


def test_vendors_roots_alone_do_not_believe_the_simulated_processor() -> None:
    found = attempts(snp_guest(evidence.chain().table().to_bytes()), roots=Roots())
    assert {one.result for one in found} == {Result.REFUSED}
    assert reports.verdict(found) is Verdict.BAD


def test_a_host_without_certificates_is_helped_by_those_that_are_given() -> None:
    found = attempts(snp_guest())
    assert {one.result for one in found} == {Result.REFUSED}
    assert all("--certs" in one.hint for one in found)
    helped = attempts(snp_guest(), certs=evidence.chain().certificates)
    assert {one.result for one in helped} == {Result.VERIFIED}


def td() -> Machine:
    devices: Any = {tdx_guest.DEVICE: TdxGuest()}
    service = Service(lambda asked: framed(response(quote(asked[0x80:0xC0]))))
    return Machine(devices=devices, services={tdx_guest.QGS_PORT: lambda _: service})


def test_a_trust_domain_is_verified_with_collateral_and_partly_without() -> None:
    (with_it,) = attempts(td(), collateral=intel_pcs.own(), now=dcap.NOW, roots=OWN)
    assert (with_it.result, with_it.tcb_status) == (Result.VERIFIED, "UpToDate")
    (without,) = attempts(td(), now=dcap.NOW, roots=OWN)
    assert without.result is Result.PARTLY
    assert "collateral" in without.hint
    assert reports.verdict((without,)) is Verdict.BAD


def test_recorded_evidence_is_refused_for_it_is_over_another_nonce() -> None:
    old = recorded.snp()
    driver = Driver("sev_guest", lambda _data, _vmpl: (old.raw, old.table()), floor=0)
    (found,) = attempts(Machine(files=ConfigFs(driver=driver)), roots=Roots(), now=old.moment)
    assert (found.result, found.code) == (Result.FAILED, "evidence.other_data")


def test_what_fails_is_said_and_the_rest_is_tried_all_the_same() -> None:
    on = snp_guest(evidence.chain().table().to_bytes())
    assert isinstance(on.files, ConfigFs)
    on.files.fail("read outblob", errno.EIO)
    first, second = attempts(on)
    assert (first.result, first.code) == (Result.FAILED, "tsm.failed")
    assert second.result is Result.VERIFIED
    assert reports.verdict((first, second)) is Verdict.BAD


def test_nothing_here_is_a_verdict_of_its_own() -> None:
    assert attempts(Machine()) == ()
    assert reports.verdict(()) is Verdict.NOTHING


def test_the_report_has_the_firmware_and_no_identity() -> None:
    found = attempts(snp_guest(evidence.chain().table().to_bytes()))
    text = json.dumps(document(found))
    assert CHIP not in text
    assert found[0].quoted is not None
    assert found[0].quoted.report.hex() not in text
    first = json.loads(text)["attempts"][0]
    assert first["identity"]["chip_id"].startswith("sha256:")
    assert first["claims"]["reported_tcb"]
    assert first["checks"]["snp.signature"] == "pass"
    assert first["certificates"] == 3


def test_the_report_has_the_identity_if_it_was_let_in() -> None:
    first = document(attempts(snp_guest(evidence.chain().table().to_bytes())), with_chip_id=True)[
        "attempts"
    ][0]
    assert first["identity"]["chip_id"] == CHIP
    assert CHIP in first["evidence"]


def test_a_failed_check_quotes_no_identity() -> None:
    other = evidence.other_chain().table().to_bytes()
    found = attempts(snp_guest(other))
    text = json.dumps(document(found))
    assert {one.result for one in found} == {Result.REFUSED}
    assert CHIP not in text
    for chip in (evidence.chain(), evidence.other_chain()):
        assert chip.to_pem().hex() not in text


@dataclass
class Papers:
    """A machine's files and programs."""

    files: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        return path in self.files

    def text(self, path: str) -> str:
        return self.files.get(path, "")

    def first_line(self, command: Sequence[str]) -> str:
        return self.programs.get(command[0], "")


def test_a_survey_reads_versions_processor_and_switches() -> None:
    cpu = (
        "processor\t: 0\nmodel name\t: EPYC\nmicrocode\t: 0x1\nserial\t: 42\n\nmodel name: other\n"
    )
    machine = Papers(
        {
            "/etc/os-release": 'NAME="x"\nPRETTY_NAME="Debian 13"\n',
            "/proc/cpuinfo": cpu,
            surveys.SWITCHES["sev_snp"]: "Y\n",
            surveys.SWITCHES["tdx"]: "N\n",
            "/dev/sev": "",
        },
        {"uname": "Linux 6.12"},
    )
    assert surveys.versions(machine) == {"kernel": "Linux 6.12", "distribution": "Debian 13"}
    assert surveys.processor(machine) == {"model name": "EPYC", "microcode": "0x1"}
    host = surveys.host_interfaces(machine)
    assert host["/dev/sev"] is True
    assert host["/dev/kvm"] is False
    assert surveys.starts_guests(host) == ("sev_snp",)


def test_a_survey_of_a_bare_machine_is_empty() -> None:
    assert surveys.versions(Papers()) == {}
    assert surveys.processor(Papers()) == {}
    assert surveys.starts_guests(surveys.host_interfaces(Papers())) == ()


def test_this_machine_never_raises(tmp_path: Path) -> None:
    machine = ThisMachine()
    (tmp_path / "long").write_bytes(b"\xff" * (MAX_TEXT + 1))
    assert len(machine.text(str(tmp_path / "long"))) == MAX_TEXT
    assert machine.text(str(tmp_path)) == machine.text(str(tmp_path / "none")) == ""
    assert machine.first_line(["uname", "-s"]) == "Linux"
    assert machine.first_line(["no-such-program-is-here"]) == ""
    assert machine.exists("/proc")
    assert not machine.exists("/proc/no-such")


def test_the_command_writes_one_report_and_its_status_is_what_was_found(
    console: Console, tmp_path: Path
) -> None:
    target = tmp_path / "report.json"
    said = console("hosts", "selftest", "--report", target, "--json")
    printed = said.document()
    assert json.loads(target.read_text()) == {k: v for k, v in printed.items() if k != "report"}
    assert target.stat().st_mode & 0o777 == 0o600
    assert said.status == {"good": 0, "bad": 1, "nothing": 3}[printed["verdict"]]
    assert datetime.fromisoformat(printed["made"]).tzinfo is not None


def test_a_machine_without_anything_is_told_so_plainly(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll_cli.commands.selftest.Linux", Machine)
    monkeypatch.setattr("atoll_cli.commands.selftest.ThisMachine", Papers)
    said = console("hosts", "selftest", "--report", tmp_path / "report.json")
    assert said.status == 3
    assert "nothing is here" in said.out
    assert looking.TPM in said.out
    host = Papers({surveys.SWITCHES["tdx"]: "Y"})
    monkeypatch.setattr("atoll_cli.commands.selftest.ThisMachine", lambda: host)
    said = console("hosts", "selftest", "--report", tmp_path / "report.json")
    assert "can start guests of tdx: run this again inside one" in said.out


def test_the_command_shows_what_failed(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll_cli.commands.selftest.Linux", snp_guest)
    said = console("hosts", "selftest", "--report", tmp_path / "report.json")
    assert said.status == 1
    assert "refused: configfs-tsm, sev-snp" in said.out
    assert "--certs" in said.out


def test_a_virtual_tpm_that_nobody_certified_is_untried() -> None:
    found = attempts(Machine(nodes={TPM}))
    assert [(one.source, one.result, one.code) for one in found] == [
        (Source.VTPM, Result.UNTRIED, "vtpm.no_certificate")
    ]
