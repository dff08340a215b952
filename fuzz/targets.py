"""Every parser of untrusted bytes, by name."""

from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.corim import codec as corim
from atoll.corim.signed import verify_corim
from atoll.errors import AtollError, EvidenceError, InputError, ReceiptError
from atoll.evidence import _cbor, cmw, document
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.certs import VekExtensions
from atoll.evidence.dcap.intel_chain import read_certificate
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.qe_identity import QeIdentity
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.tcb_info import TcbInfo
from atoll.evidence.ear import verify_ear
from atoll.evidence.ear_cwt import verify_ear_cwt
from atoll.evidence.eventlog.ccel import EventLog
from atoll.evidence.eventlog.rtmr_json import RtmrLog
from atoll.evidence.id_block import IdAuth, IdBlock
from atoll.evidence.judge import JUDGES, judge
from atoll.evidence.keystone import eat
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.policy import policy_from_json
from atoll.evidence.ratls import read_ratls
from atoll.evidence.snp import AttestationReport
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.hcl import HclReport
from atoll.evidence.tpm.quote import Attest
from atoll.evidence.tpm.td_report import TdReport
from atoll.evidence.x509 import INTEL, Certificate, RevocationList, ders
from atoll.measure.ovmf import Firmware
from atoll.policy.document import PolicyDocument
from atoll.policy.signed import SignedPolicy
from atoll.receipt.statement import from_statement
from atoll.receipt.verify import ReceiptFile
from fuzz import targets_own
from fuzz.harness import Target

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
KEYS: Final = {"key": Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()}
KINDS: Final = tuple(sorted(JUDGES))
SIDE_FILES: Final = {
    "snp_crl": ("issuer",),
    "snp_id_block": ("auth",),
    "tpm_quote": ("ak_public", "tpm_signature"),
    "azure_hcl_snp": ("tpm_message", "tpm_signature"),
    "azure_hcl_tdx": ("tpm_message", "tpm_signature", "quote"),
}

EVIDENCE: Final = (EvidenceError,)
INPUT: Final = (InputError,)


def _vek(raw: bytes) -> object:
    return VekExtensions.of(Certificate.from_bytes(raw))


def _each_certificate(raw: bytes) -> object:
    return [Certificate.from_bytes(der) for der in ders(raw)]


def _intel_certificate(raw: bytes) -> object:
    # Not the cached function: every input shall take the whole way.
    return read_certificate.__wrapped__(raw)


def _ear(raw: bytes) -> object:
    token = raw.decode("latin-1")
    return verify_ear(token, KEYS, evidence_digest=bytes(32), now=NOW)


def _ear_cwt(raw: bytes) -> object:
    return verify_ear_cwt(raw, KEYS, evidence_digest=bytes(32), now=NOW)


def _signed_corim(raw: bytes) -> object:
    keys = {name.encode(): key for name, key in KEYS.items()}
    return verify_corim(raw, keys, now=NOW)


def _judge(raw: bytes) -> object:
    """The first byte is the kind, the rest is evidence and, for kinds that want some, files."""
    kind = KINDS[raw[0] % len(KINDS)] if raw else KINDS[0]
    files = {role: [raw[1:]] for role in SIDE_FILES.get(kind, ())}
    policy = {"measurement": "00" * 48} if kind == "snp_launch_digest" else {}
    return judge(kind, raw[1:], files=files, policy=policy, now=NOW)


TARGETS: Final[dict[str, Target]] = {
    "snp_report": Target(
        parse=AttestationReport.from_bytes, refusals=EVIDENCE, roles=("snp-report", "snp-parse")
    ),
    "id_block": Target(parse=IdBlock.from_bytes, refusals=EVIDENCE, roles=("snp-id-block",)),
    "id_auth": Target(parse=IdAuth.from_bytes, refusals=EVIDENCE, roles=("auth",)),
    "certificate": Target(
        parse=_each_certificate, refusals=EVIDENCE, roles=("certs", "snp-cert-chain")
    ),
    "vek": Target(parse=_vek, refusals=EVIDENCE, roles=("certs",)),
    "revocation_list": Target(
        parse=RevocationList.from_bytes, refusals=EVIDENCE, roles=("crls", "snp-crl")
    ),
    "intel_certificate": Target(parse=_intel_certificate, refusals=EVIDENCE, roles=()),
    "intel_revocation_list": Target(
        parse=lambda raw: RevocationList.from_bytes(raw, scheme=INTEL),
        refusals=EVIDENCE,
        roles=("root-crl", "pck-crl"),
    ),
    "cert_table": Target(
        parse=CertificateTable.from_bytes, refusals=EVIDENCE, roles=("snp-extended",)
    ),
    "quote": Target(
        parse=Quote.from_bytes, refusals=EVIDENCE, roles=("tdx-quote", "sgx-quote", "quote")
    ),
    "pck_extension": Target(parse=PckExtension.from_bytes, refusals=EVIDENCE, roles=()),
    "tcb_info": Target(parse=TcbInfo.from_bytes, refusals=EVIDENCE, roles=("tcb-info",)),
    "qe_identity": Target(parse=QeIdentity.from_bytes, refusals=EVIDENCE, roles=("qe-identity",)),
    "keystone_report": Target(
        parse=KeystoneReport.from_bytes, refusals=EVIDENCE, roles=("keystone-report",)
    ),
    "ccel": Target(parse=EventLog.from_bytes, refusals=EVIDENCE, roles=("ccel",)),
    "rtmr_json": Target(parse=RtmrLog.from_bytes, refusals=EVIDENCE, roles=("rtmr-json",)),
    "tpm_quote": Target(
        parse=Attest.from_bytes, refusals=EVIDENCE, roles=("tpm-quote", "tpm-message")
    ),
    "tpm_pcrs": Target(parse=pcrs.parse, refusals=EVIDENCE, roles=("tpm-pcrs",)),
    "hcl_report": Target(parse=HclReport.from_bytes, refusals=EVIDENCE, roles=("azure-hcl",)),
    "td_report": Target(parse=TdReport.from_bytes, refusals=EVIDENCE, roles=()),
    "ratls": Target(parse=read_ratls, refusals=EVIDENCE, roles=("ratls-cert",)),
    "cbor": Target(
        parse=lambda raw: _cbor.loads(raw, structure="CBOR"), refusals=EVIDENCE, roles=()
    ),
    "cmw_json": Target(parse=cmw.from_json, refusals=EVIDENCE, roles=()),
    "cmw_cbor": Target(parse=cmw.from_cbor, refusals=EVIDENCE, roles=()),
    "evidence_document": Target(parse=document.parse, refusals=EVIDENCE, roles=()),
    "ear": Target(parse=_ear, refusals=EVIDENCE, roles=()),
    "ear_cwt": Target(parse=_ear_cwt, refusals=EVIDENCE, roles=()),
    "firmware": Target(parse=Firmware.from_bytes, refusals=INPUT, roles=("snp-launch-digest",)),
    "snp_policy": Target(parse=policy_from_json, refusals=INPUT, roles=()),
    "policy_document": Target(parse=PolicyDocument.from_bytes, refusals=INPUT, roles=()),
    "signed_policy": Target(parse=SignedPolicy.from_bytes, refusals=INPUT, roles=()),
    "corim": Target(parse=corim.from_cbor, refusals=INPUT, roles=()),
    "keystone_eat": Target(parse=eat.from_uccs, refusals=EVIDENCE, roles=()),
    "signed_corim": Target(parse=_signed_corim, refusals=(AtollError,), roles=()),
    "receipt": Target(parse=ReceiptFile.from_bytes, refusals=(ReceiptError,), roles=()),
    "statement": Target(parse=from_statement, refusals=(ReceiptError,), roles=()),
    "judge": Target(parse=_judge, refusals=INPUT, roles=()),
} | targets_own.TARGETS
