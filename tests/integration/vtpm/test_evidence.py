"""From a real TPM to a verdict: what a host starts is proven, and nothing else passes for it.

The machine here is the test itself: it extends what firmware and kernel would, and logs it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import EvidenceError, UnreachableError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.eventlog.pcr_log import MAX_LOG, PcrLog
from atoll.evidence.findings import Appraisal
from atoll.evidence.trust import TrustStore
from atoll.evidence.vtpm.report import VtpmReport, qualifying_data
from atoll.tpm.authority import VtpmAuthority
from atoll.tpm.device import Tpm
from atoll_agent.evidence.vtpm import VtpmProvider, read_boot_log
from atoll_manager.vtpm.instance import Vtpm
from support import evidence, vtpm
from support.evidence import MANIFEST, NONCE, Binding
from support.swtpm import machine, needs_swtpm

pytestmark = needs_swtpm
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LOG = vtpm.boot_log()


class Open:
    """A TPM that stays open whoever is done with it."""

    def __init__(self, tpm: Tpm) -> None:
        self.exchange = tpm._transport.exchange

    def close(self) -> None:
        """Somebody else closes it."""


def boot(tpm: Tpm, log: bytes) -> None:
    """What firmware and kernel do to the registers."""
    tpm.startup()
    for event in PcrLog.from_bytes(log).events:
        if event.extends:
            tpm.extend(event.register, event.digest)


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host with its authority and one machine's TPM that runs."""

    authority: VtpmAuthority
    made: Vtpm
    tpm: Tpm

    def provider(self, log: bytes = LOG, certificates: tuple[bytes, ...] | None = None) -> Any:
        return VtpmProvider(
            self.made.certificates if certificates is None else certificates,
            open_tpm=lambda: Tpm(Open(self.tpm)),
            read_log=lambda: log,
        )

    async def document(self, provider: VtpmProvider | None = None) -> EvidenceDocument:
        """As an agent publishes it."""
        bound = Binding()
        found = provider or self.provider()
        quoted = await found.quote(bound.report_data)
        report, certs = quoted.report, quoted.certs
        return replace(vtpm.document(), report=report, certs=certs)

    def appraise(self, document: EvidenceDocument, **changes: Any) -> Appraisal:
        trust = TrustStore(roots=frozenset()).with_development_root(self.authority.certificate_pem)
        asked: dict[str, Any] = {
            "trust": trust,
            "policy": vtpm.policy(),
            "manifest_digest": MANIFEST,
            "nonce": NONCE,
            "now": NOW,
        }
        return appraise_document(documents.encode(document), **(asked | changes))


@contextmanager
def running(made: Vtpm, log: bytes) -> Iterator[Tpm]:
    made.start()
    with machine(made.control) as tpm:
        boot(tpm, log)
        yield tpm


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    authority = VtpmAuthority.generate(now=NOW)
    made = await Vtpm.provision(tmp_path / "vtpm", authority, host_id=vtpm.HOST, now=NOW)
    try:
        with running(made, LOG) as tpm:
            yield Host(authority=authority, made=made, tpm=tpm)
    finally:
        await made.end()


async def test_what_was_started_passes(host: Host) -> None:
    found = host.appraise(await host.document())

    assert (found.reason, found.passed, found.simulated) == ("", True, True)
    assert found.claims["host"] == vtpm.HOST
    assert found.claims["pcr9"] == vtpm.Guest().pcrs()[9].hex()


async def test_each_wrong_thing_is_refused_by_its_name(host: Host) -> None:
    good = await host.document()
    report = VtpmReport.from_bytes(good.report)
    stranger = VtpmAuthority.generate(now=NOW)
    foreign = await Vtpm.provision(
        host.made.folder.parent / "foreign", stranger, host_id=vtpm.HOST, now=NOW
    )
    await foreign.end()
    bound = Binding().report_data
    software = vtpm.Guest(by=vtpm.other_key()).report(bound).to_bytes()
    other_log = vtpm.boot_log(vtpm.event(9, b"more"))

    def with_report(**changes: Any) -> EvidenceDocument:
        return replace(good, report=replace(report, **changes).to_bytes())

    refused = {
        "a changed register": host.appraise(with_report(pcrs={**report.pcrs, 9: bytes(32)})),
        "a changed log": host.appraise(with_report(event_log=other_log)),
        "a changed quote": host.appraise(with_report(attest=report.attest[:-1] + b"\0")),
        "a foreign authority": host.appraise(replace(good, certs=foreign.certificates)),
        "no certificate": host.appraise(replace(good, report=software, certs=())),
        "a key in software": host.appraise(replace(good, report=software)),
        "an expired certificate": host.appraise(good, now=NOW + timedelta(days=8)),
        "another nonce": host.appraise(good, nonce=b"\x25" * 32),
        "another manifest": host.appraise(good, manifest_digest=b"\x26" * 32),
        "other keys": host.appraise(replace(good, signing_key=b"\x27" * 32)),
        "nobody named the authority": host.appraise(good, trust=evidence.trust()),
        "nobody accepts a host's TPM": host.appraise(
            good, policy=vtpm.policy(allow_host_tpm=False)
        ),
    }

    assert {name: found.reason for name, found in refused.items()} == {
        "a changed register": "vtpm.registers",
        "a changed log": "vtpm.replay",
        "a changed quote": "vtpm.signature",
        "a foreign authority": "vtpm.chain",
        "no certificate": "vtpm.chain",
        "a key in software": "vtpm.signature",
        "an expired certificate": "vtpm.chain",
        "another nonce": "document.nonce",
        "another manifest": "document.manifest",
        "other keys": "document.report_data",
        "nobody named the authority": "vtpm.chain",
        "nobody accepts a host's TPM": "vtpm.host_tpm",
    }


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (LOG.replace(vtpm.KERNEL, bytes(31) + b"\x01"), "vtpm.kernel"),
        (vtpm.boot_log(vtpm.event(9, b"another command line")), "vtpm.boot"),
        (vtpm.boot_log(vtpm.event(0, b"other firmware")), "vtpm.firmware"),
        (vtpm.boot_log(vtpm.event(4, b"another image", 0x80000003)), "vtpm.kernel"),
    ],
)
async def test_another_start_is_another_verdict(tmp_path: Path, log: bytes, reason: str) -> None:
    authority = VtpmAuthority.generate(now=NOW)
    made = await Vtpm.provision(tmp_path / "vtpm", authority, host_id=vtpm.HOST, now=NOW)
    with running(made, log) as tpm:
        host = Host(authority=authority, made=made, tpm=tpm)
        found = host.appraise(await host.document(host.provider(log)))
    await made.end()

    assert found.reason == reason


async def test_a_quote_answers_what_it_was_asked(host: Host) -> None:
    first = (await host.provider().quote(bytes(64))).report
    second = (await host.provider().quote(b"\x01" * 64)).report

    assert qualifying_data(bytes(64)) in VtpmReport.from_bytes(first).attest
    assert qualifying_data(b"\x01" * 64) in VtpmReport.from_bytes(second).attest


async def test_a_register_that_changes_for_ever_is_said(host: Host) -> None:
    provider = host.provider()

    class Restless(Tpm):
        def read(self, *args: Any, **kwargs: Any) -> dict[int, bytes]:
            found = super().read(*args, **kwargs)
            return {**found, 9: bytes(32)}

    provider._open_tpm = lambda: Restless(Open(host.tpm))
    with pytest.raises(EvidenceError) as caught:
        await provider.quote(bytes(64))

    assert caught.value.code == "tpm.registers"


def test_a_machine_without_a_boot_log_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        read_boot_log(tmp_path / "binary_bios_measurements")
    assert caught.value.code == "vtpm.no_log"
    (tmp_path / "log").write_bytes(bytes(MAX_LOG + 1))
    with pytest.raises(UnreachableError, match="over"):
        read_boot_log(tmp_path / "log")
