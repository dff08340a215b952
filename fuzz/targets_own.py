"""Parsers of what our own programs write: sent over the bus, kept on a disk, or sealed.

Other people's bytes arrive there too, since a peer may say anything. `targets.TARGETS` has
these and what vendors and other tools write.
"""

from typing import Final

from atoll import canonical, cbor
from atoll.channel import greeting
from atoll.channel.frames import Reader
from atoll.client.agreement import ConsentFile, ManifestFile
from atoll.client.asset_record import AssetRecord
from atoll.client.plan import Plan, read_card
from atoll.client.protected import ProtectedKeys
from atoll.computation.manifest import Manifest
from atoll.computation.releasing import ReleasePolicy
from atoll.corim.signed import read_signed
from atoll.credentials import callout, jwt
from atoll.credentials.creds import Credentials
from atoll.credentials.door_keys import DoorKeys
from atoll.credentials.nkey import Kind
from atoll.egress import words
from atoll.errors import (
    ConfigError,
    EvidenceError,
    InputError,
    ManifestError,
    MessageError,
    RefusedError,
    SealError,
)
from atoll.evidence.dcap.signed_json import open_envelope
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.eventlog.pcr_log import PcrLog
from atoll.evidence.findings import Appraisal
from atoll.evidence.keystone.policy import keystone_policy_from_json
from atoll.evidence.sgx_policy import sgx_policy_from_json
from atoll.evidence.tdx_policy import tdx_policy_from_json
from atoll.evidence.tpm.policy import tpm_policy_from_json
from atoll.evidence.vtpm.policy import vtpm_policy_from_json
from atoll.evidence.vtpm.report import VtpmReport
from atoll.identity import PartyKeys, PartyPublic
from atoll.invocation import Invocation
from atoll.measure.guest import parse_description
from atoll.measure.tdvf import Tdvf
from atoll.policy import records
from atoll.policy.state import PolicyState
from atoll.sealing.archive import ExitRecord
from atoll.sealing.imported_key import signing_key_from_pem
from atoll.sealing.public_key import parse_public_key
from atoll.sealing.stream import Header
from atoll.sealing.tar import TarHeader, read_pax_path
from atoll.simulated.device import decode_reply_header, decode_request
from atoll.telemetry.otlp import decode_spans
from atoll.wire import cloudevents, media, schema
from atoll.wire.codec import unpackb
from atoll.wire.messages import SubmitRequest
from atoll_agent.egress.request import parse_request
from atoll_gateway.webhooks.address import AddressRules
from fuzz.harness import Target

CBOR_LIMIT: Final = 1 << 16
CBOR_TAGS: Final = (1, 32, 37)


def _of(parse: object, *refusals: type[Exception]) -> Target:
    return Target(parse=parse, refusals=refusals, roles=())  # type: ignore[arg-type]


TARGETS: Final[dict[str, Target]] = {
    "door_keys": _of(DoorKeys.from_bytes, ConfigError),
    "nats_jwt": _of(lambda raw: jwt.read(raw.decode("latin-1"), Kind.ACCOUNT), InputError),
    "nats_creds": _of(lambda raw: Credentials.from_text(raw.decode("latin-1")), InputError),
    "auth_request": _of(lambda raw: callout.read(raw.decode("latin-1")), InputError),
    "manifest": _of(Manifest.from_bytes, ManifestError),
    "manifest_file": _of(ManifestFile.from_bytes, ManifestError),
    "consent": _of(lambda raw: ConsentFile.from_bytes(raw, "here"), InputError),
    "computation_plan": _of(Plan.from_bytes, InputError),
    "asset_card": _of(lambda raw: read_card(raw, "here"), InputError),
    "release_policy": _of(ReleasePolicy.from_bytes, InputError),
    "invocation": _of(Invocation.from_bytes, InputError),
    "party_public": _of(PartyPublic.from_bytes, InputError),
    "party_keys": _of(PartyKeys.from_bytes, InputError),
    "protected_keys": _of(ProtectedKeys.from_bytes, InputError),
    "asset_record": _of(AssetRecord.from_bytes, InputError),
    "public_key": _of(parse_public_key, SealError),
    "private_pem": _of(signing_key_from_pem, InputError),
    "canonical_json": _of(canonical.loads, InputError),
    "any_json": _of(canonical.parse, InputError),
    "any_cbor": _of(
        lambda raw: cbor.loads(raw, limit=CBOR_LIMIT, tags=CBOR_TAGS),
        InputError,
    ),
    "message_pack": _of(unpackb, MessageError),
    "message": _of(lambda raw: schema.decode(Appraisal, raw), MessageError),
    "json_message": _of(lambda raw: media.decode(SubmitRequest, raw, media.JSON), MessageError),
    "event": _of(
        lambda raw: cloudevents.read_job({media.CONTENT_TYPE: media.JSON}, raw), MessageError
    ),
    "webhook_url": _of(lambda raw: AddressRules().parse(raw.decode("latin-1")), InputError),
    "appraisal_record": _of(records.from_bytes, MessageError),
    "spans": _of(decode_spans, MessageError),
    "policy_state": _of(PolicyState.from_bytes, InputError),
    "key_ring": _of(KeyRing.from_bytes, InputError),
    "tdx_policy": _of(tdx_policy_from_json, InputError),
    "sgx_policy": _of(sgx_policy_from_json, InputError),
    "keystone_policy": _of(keystone_policy_from_json, InputError),
    "tpm_policy": _of(tpm_policy_from_json, InputError),
    "claimed_corim": _of(read_signed, InputError),
    "collateral_envelope": _of(lambda raw: open_envelope(raw, "tcbInfo"), EvidenceError),
    "sealed_header": _of(Header.from_bytes, SealError),
    "tar_header": _of(TarHeader.from_bytes, InputError),
    "pax_path": _of(read_pax_path, InputError),
    "exit_record": _of(ExitRecord.from_bytes, InputError),
    "vtpm_report": _of(VtpmReport.from_bytes, EvidenceError),
    "vtpm_policy": _of(vtpm_policy_from_json, InputError),
    "boot_log": _of(PcrLog.from_bytes, EvidenceError),
    "image_description": _of(parse_description, InputError),
    "td_firmware": _of(lambda raw: Tdvf.from_bytes(raw).mr_td(), InputError),
    "channel_frames": _of(lambda raw: list(Reader().feed(raw)), MessageError),
    "channel_greeting": _of(greeting.decode, MessageError),
    "egress_asked": _of(words.decode_asked, MessageError),
    "egress_answer": _of(words.decode_answer, MessageError),
    "proxy_request": _of(parse_request, InputError, RefusedError),
    "device_request": _of(decode_request, EvidenceError),
    "device_reply": _of(decode_reply_header, EvidenceError),
}
