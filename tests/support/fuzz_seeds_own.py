"""Good inputs for the fuzz targets of what our own programs write, by the target's name."""

import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import canonical, cbor
from atoll.channel import frames, greeting
from atoll.client.agreement import ConsentFile
from atoll.client.plan import write_card
from atoll.client.protected import MIN_N, ProtectedKeys
from atoll.corim.signed import sign_corim
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.credentials import callout, jwt
from atoll.credentials.nkey import KeyPair
from atoll.credentials.nkey import Kind as NkeyKind
from atoll.egress import words
from atoll.egress.words import Asked, Verb
from atoll.evidence import document as documents
from atoll.evidence.ear_keys import KeyRing
from atoll.evidence.findings import Verdict
from atoll.evidence.keystone.policy import keystone_policy_to_json
from atoll.evidence.policy import UNCHECKED
from atoll.evidence.sgx_policy import SgxPolicy, sgx_policy_to_json
from atoll.evidence.tdx_policy import tdx_policy_to_json
from atoll.evidence.tpm.policy import TpmPolicy, tpm_policy_to_json
from atoll.evidence.vtpm.policy import vtpm_policy_to_json
from atoll.invocation import Invocation
from atoll.measure.guest import GuestImage, describe, image_digest
from atoll.policy import records
from atoll.policy.records import AppraisalRecord
from atoll.policy.state import PolicyState
from atoll.policy.templates import strict_keystone, strict_tdx
from atoll.sealing.archive import ExitRecord
from atoll.sealing.stream import Header
from atoll.sealing.tar import Kind, TarHeader, pax_path
from atoll.simulated import device
from atoll.telemetry import span as spans
from atoll.telemetry.context import SpanContext
from atoll.telemetry.otlp import encode_spans
from atoll.wire import cloudevents, media, schema
from atoll.wire.codec import packb
from atoll.wire.messages import EventType, JobEvent, JobState
from support import assets, computations, dcap, evidence, ovmf, policies, signing, vtpm
from support.gateway import submission
from support.logins import IDENTITIES
from support.reports import appraise

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
MOMENT = 1_780_000_000


@cache
def made() -> dict[str, bytes]:
    """One that is accepted, for every target of `fuzz.targets_own`."""
    return _files() | _messages() | _policies() | _sealed() | _guests() | _logins()


PLAN = b"""{"format": "atoll-computation-plan", "version": 1, "parties": ["me.json"],
 "steps": [{"name": "run", "kind": "wasm", "algorithm": "a.json",
  "invocation": {"provider": "me", "args": ["1"]}, "inputs": {}}],
 "outputs": {"all": {"step": "run", "consumers": ["me"]}}, "tee": {"kind": "simulated"}}"""


def _files() -> dict[str, bytes]:
    owner = policies.owner()
    protected = ProtectedKeys.seal(owner, b"passphrase", bytes, n=MIN_N)
    return {
        "manifest": computations.manifest().to_bytes(),
        "manifest_file": computations.manifest().to_bytes(),
        "consent": ConsentFile.sign(owner, bytes(32), expires_ms=MOMENT * 1000).to_bytes(),
        "computation_plan": PLAN,
        "asset_card": write_card(assets.record().ref),
        "release_policy": b'{"format":"atoll-release-policy","version":1,"rules":[]}',
        "invocation": Invocation(args=("--rounds", "3"), env={"LANG": "C"}).to_bytes(),
        "party_public": owner.public.to_bytes(),
        "party_keys": owner.to_bytes(),
        "protected_keys": protected.to_bytes(),
        "asset_record": assets.record().to_bytes(),
        "public_key": signing.imported("rsa2048").public_bytes,
        "private_pem": signing.pem("p256", signing.TRADITIONAL),
        "key_ring": KeyRing.generate(bytes, now=MOMENT).to_bytes(),
        "canonical_json": canonical.dumps({"a": [1, True, None, "é"]}),
        "any_json": b'{ "a": [1, true, null, "\\u00e9"] }',
        "any_cbor": cbor.dumps({1: [b"x", "y", -1], 2: {3: None}}),
    }


def _logins() -> dict[str, bytes]:
    known = IDENTITIES.credentials("gateway", now=MOMENT)
    server = KeyPair.generate(NkeyKind.SERVER, bytes)
    asked = {
        "server_id": {"id": server.public},
        "user_nkey": "U",
        "client_info": {"id": 1, "nonce": "n"},
        "connect_opts": {"sig": "AA", "auth_token": "t"},
        "type": "authorization_request",
    }
    request = jwt.sign(asked, by=server, subject="U", audience=callout.AUDIENCE, now=MOMENT)
    return {
        "door_keys": IDENTITIES.door_keys().to_bytes(),
        "nats_jwt": known.jwt.encode(),
        "nats_creds": known.text.encode(),
        "auth_request": request.encode(),
    }


def _messages() -> dict[str, bytes]:
    raw = documents.encode(evidence.document())
    record = AppraisalRecord(
        id="one",
        at=MOMENT * 1000,
        evidence=raw,
        crls=(),
        manifest_digest=evidence.MANIFEST,
        nonce=evidence.NONCE,
        policy_name="fleet",
        policy_version=1,
        policy_digest="11" * 32,
        verdict=Verdict.PASS,
        reason="",
    )
    span = spans.Span(
        service="agent",
        instance="one",
        name="run",
        context=SpanContext(trace_id="11" * 16, span_id="22" * 8),
        parent_id=None,
        kind=next(iter(spans.Kind)),
        start_ns=1,
        end_ns=2,
        attributes=(("count", 3),),
    )
    event = JobEvent(
        job_id="j1",
        seq=1,
        type=EventType.SUBMITTED,
        state=JobState.SUBMITTED,
        attempt=0,
        time_ms=MOMENT * 1000,
    )
    return {
        "message": schema.encode(appraise(evidence.document())),
        "json_message": media.encode(submission(), media.JSON),
        "event": cloudevents.binary(event)[1],
        "webhook_url": b"https://hooks.example.org:8443/a?b=c",
        "message_pack": packb({"a": [1, b"x", None, True], "b": {"c": "d"}}),
        "appraisal_record": records.to_bytes(record),
        "spans": encode_spans([span]),
        "device_request": device.encode_request(bytes(64), 0),
        "device_reply": device.encode_reply(device.DeviceReply(0, b"", b"")),
    }


def _policies() -> dict[str, bytes]:
    document = policies.document()
    state = PolicyState(
        highest=document.version,
        highest_digest=document.digest,
        enforced=document,
        candidate=None,
    )
    enclave = SgxPolicy(
        mr_enclaves=frozenset({bytes(32)}),
        mr_signers=UNCHECKED,
        isv_prod_ids=frozenset({1}),
        minimum_isv_svn=2,
        report_data=UNCHECKED,
        allow_debug=False,
        tcb_statuses=strict_tdx(frozenset()).tcb_statuses,
        minimum_tcb_evaluation_data_number=UNCHECKED,
    )
    values = SnpReferenceValues(measurements=frozenset({evidence.MEASUREMENT}))
    corim = snp_to_corim(values, corim_id="example", tag_id="example")
    info = dcap.collateral().tcb_info
    envelope = b'{"tcbInfo":%s,"signature":"%s"}' % (info.raw, info.signature.hex().encode())
    return {
        "policy_state": state.to_bytes(),
        "tdx_policy": tdx_policy_to_json(strict_tdx(frozenset({bytes(48)}))),
        "sgx_policy": sgx_policy_to_json(enclave),
        "keystone_policy": keystone_policy_to_json(strict_keystone(frozenset({bytes(64)}))),
        "tpm_policy": tpm_policy_to_json(TpmPolicy(nonce=b"fresh", pcr_values=UNCHECKED)),
        "claimed_corim": sign_corim(corim, KEY, kid=b"key", signer="example"),
        "collateral_envelope": envelope,
    }


def _guests() -> dict[str, bytes]:
    parts = {
        name: hashlib.sha256(name.encode()).digest() for name in ("kernel", "initrd", "cmdline")
    }
    image = GuestImage(
        release="0.1.0",
        digest=image_digest(**parts).hex(),
        docker="d" * 64,
        docker_id="e" * 64,
        bytes=12,
        packages=3,
        kernel=parts["kernel"].hex(),
        initrd=parts["initrd"].hex(),
        cmdline=parts["cmdline"].hex(),
    )
    session = (frames.hello(), frames.opening(1, "bus"), frames.credit(1, 9))
    return {
        "vtpm_report": vtpm.document().report,
        "vtpm_policy": vtpm_policy_to_json(vtpm.policy()),
        "boot_log": vtpm.boot_log(),
        "image_description": describe(image),
        "td_firmware": ovmf.td_image(),
        "channel_frames": b"".join(frame.to_bytes() for frame in session),
        "channel_greeting": greeting.encode("bus"),
        "egress_asked": Asked(Verb.DIAL, "example.org", 443).to_bytes(),
        "egress_answer": words.answer(words.REFUSED),
        "proxy_request": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    }


def _sealed() -> dict[str, bytes]:
    return {
        "sealed_header": Header(asset_id=bytes(16), prefix=bytes(7)).to_bytes(),
        "tar_header": TarHeader(name=b"files/out", size=3, kind=Kind.FILE).to_bytes(),
        "pax_path": pax_path(b"files/" + b"x" * 200),
        "exit_record": ExitRecord(exit_code=0, outcome="completed", step="run").to_bytes(),
    }
