"""Every fuzz target, without a fuzzer: over all vectors and random mutations of good seeds."""

import ast
import importlib
import random
import re
import subprocess
import sys
from collections.abc import Iterator
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


PARSER = re.compile(
    r"from_(bytes|json|cbor|statement|uccs|wire)|parse\w*|decode\w*|loads|unpackb|open_envelope"
    r"|read_(certificate|ratls|signed|pax_path)|\w+_from_json"
)
"""How functions are named that take apart what others wrote."""
COVERED = {
    "atoll.channel.greeting:decode": "channel_greeting",
    "atoll.egress.words:decode_answer": "egress_answer",
    "atoll.egress.words:decode_asked": "egress_asked",
    "atoll.bus.faults:from_wire": "message_pack",
    "atoll.canonical:loads": "canonical_json",
    "atoll.canonical:parse": "any_json",
    "atoll.cbor:loads": "any_cbor",
    "atoll.computation.manifest:Manifest.from_bytes": "manifest",
    "atoll.computation.releasing:ReleasePolicy.from_bytes": "release_policy",
    "atoll.client.agreement:ConsentFile.from_bytes": "consent",
    "atoll.client.agreement:ManifestFile.from_bytes": "manifest_file",
    "atoll.client.asset_record:AssetRecord.from_bytes": "asset_record",
    "atoll.client.plan:Plan.from_bytes": "computation_plan",
    "atoll.client.protected:ProtectedKeys.from_bytes": "protected_keys",
    "atoll.corim.codec:from_cbor": "corim",
    "atoll.corim.signed:read_signed": "claimed_corim",
    "atoll.evidence._cbor:loads": "cbor",
    "atoll.evidence.cert_table:CertificateTable.from_bytes": "cert_table",
    "atoll.evidence.chain:read_certificate": "certificate",
    "atoll.evidence.cmw:from_cbor": "cmw_cbor",
    "atoll.evidence.cmw:from_json": "cmw_json",
    "atoll.evidence.dcap.intel_chain:read_certificate": "intel_certificate",
    "atoll.evidence.dcap.pck:PckExtension.from_bytes": "pck_extension",
    "atoll.evidence.dcap.qe_identity:QeIdentity.from_bytes": "qe_identity",
    "atoll.evidence.dcap.quote:Quote.from_bytes": "quote",
    "atoll.evidence.dcap.quote:QuoteHeader.from_bytes": "quote",
    "atoll.evidence.dcap.reports:EnclaveReport.from_bytes": "quote",
    "atoll.evidence.dcap.reports:TdReport.from_bytes": "quote",
    "atoll.evidence.dcap.signed_json:JsonObject.parse": "tcb_info",
    "atoll.evidence.dcap.signed_json:open_envelope": "collateral_envelope",
    "atoll.evidence.dcap.tcb_info:TcbInfo.from_bytes": "tcb_info",
    "atoll.evidence.document:parse": "evidence_document",
    "atoll.evidence.ear_keys:KeyRing.from_bytes": "key_ring",
    "atoll.evidence.eventlog.ccel:EventLog.from_bytes": "ccel",
    "atoll.credentials.door_keys:DoorKeys.from_bytes": "door_keys",
    "atoll.evidence.eventlog.pcr_log:PcrLog.from_bytes": "boot_log",
    "atoll.evidence.eventlog.rtmr_json:RtmrLog.from_bytes": "rtmr_json",
    "atoll.evidence.eventlog.tcg:parse": "ccel",
    "atoll.evidence.id_block:IdAuth.from_bytes": "id_auth",
    "atoll.evidence.id_block:IdBlock.from_bytes": "id_block",
    "atoll.evidence.keystone.eat:from_uccs": "keystone_eat",
    "atoll.evidence.keystone.policy:keystone_policy_from_json": "keystone_policy",
    "atoll.evidence.keystone.report:KeystoneReport.from_bytes": "keystone_report",
    "atoll.evidence.policy:policy_from_json": "snp_policy",
    "atoll.evidence.products:TcbVersion.from_bytes": "judge",
    "atoll.evidence.ratls:read_ratls": "ratls",
    "atoll.evidence.sgx_policy:sgx_policy_from_json": "sgx_policy",
    "atoll.evidence.snp:AttestationReport.from_bytes": "snp_report",
    "atoll.evidence.tdx_policy:tdx_policy_from_json": "tdx_policy",
    "atoll.evidence.tpm.hcl:HclReport.from_bytes": "hcl_report",
    "atoll.evidence.tpm.pcrs:parse": "tpm_pcrs",
    "atoll.evidence.tpm.policy:tpm_policy_from_json": "tpm_policy",
    "atoll.evidence.tpm.quote:Attest.from_bytes": "tpm_quote",
    "atoll.evidence.tpm.td_report:TdReport.from_bytes": "td_report",
    "atoll.evidence.vtpm.policy:vtpm_policy_from_json": "vtpm_policy",
    "atoll.evidence.vtpm.report:VtpmReport.from_bytes": "vtpm_report",
    "atoll.evidence.x509:Certificate.from_bytes": "certificate",
    "atoll.evidence.x509:RevocationList.from_bytes": "revocation_list",
    "atoll.identity:PartyKeys.from_bytes": "party_keys",
    "atoll.identity:PartyPublic.from_bytes": "party_public",
    "atoll.invocation:Invocation.from_bytes": "invocation",
    "atoll.measure.guest:parse_description": "image_description",
    "atoll.measure.ovmf:Firmware.from_bytes": "firmware",
    "atoll.measure.tdvf:Tdvf.from_bytes": "td_firmware",
    "atoll.policy.document:PolicyDocument.from_bytes": "policy_document",
    "atoll.policy.records:from_bytes": "appraisal_record",
    "atoll.policy.signed:SignedPolicy.from_bytes": "signed_policy",
    "atoll.policy.state:PolicyState.from_bytes": "policy_state",
    "atoll.receipt.statement:from_statement": "statement",
    "atoll.receipt.verify:ReceiptFile.from_bytes": "receipt",
    "atoll.sealing.archive:ExitRecord.from_bytes": "exit_record",
    "atoll.sealing.public_key:parse_public_key": "public_key",
    "atoll.sealing.stream:Header.from_bytes": "sealed_header",
    "atoll.sealing.tar:TarHeader.from_bytes": "tar_header",
    "atoll.sealing.tar:read_pax_path": "pax_path",
    "atoll.simulated.device:decode_reply_header": "device_reply",
    "atoll.simulated.device:decode_request": "device_request",
    "atoll.telemetry.otlp:decode_spans": "spans",
    "atoll.wire.codec:unpackb": "message_pack",
    "atoll.wire.media:decode": "json_message",
    "atoll.wire.schema:decode": "message",
}
"""Which target reaches each parser."""


def _parsers() -> Iterator[str]:
    """Every function in the library that by its name and first argument parses bytes."""
    sources = PROJECT / "shared" / "src"
    for path in sorted(sources.rglob("*.py")):
        module_name = ".".join(path.relative_to(sources).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            inside = node.body if isinstance(node, ast.ClassDef) else [node]
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            for one in inside:
                if isinstance(one, ast.FunctionDef) and PARSER.fullmatch(one.name):
                    given = [arg for arg in one.args.args if arg.arg not in {"self", "cls"}]
                    annotation = given[0].annotation if given else None
                    if isinstance(annotation, ast.Name) and annotation.id == "bytes":
                        yield f"{module_name}:{prefix}{one.name}"


def test_every_parser_of_the_library_has_a_target() -> None:
    assert {name for name in _parsers() if name not in COVERED} == set()
    assert set(COVERED) - set(_parsers()) == set()
    assert set(COVERED.values()) <= set(TARGETS)


def test_the_runner_without_a_target_says_how_to_name_one() -> None:
    runner = [sys.executable, str(PROJECT / "fuzz" / "run.py")]
    said = subprocess.run(runner, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "usage: python fuzz/run.py TARGET" in said.stderr


def test_an_error_that_is_not_documented_is_a_finding() -> None:
    def broken(raw: bytes) -> object:
        return raw[5]

    harness = module("harness")
    target = harness.Target(parse=broken, refusals=(ValueError,), roles=())
    with pytest.raises(IndexError):
        harness.one_input(target, b"")
