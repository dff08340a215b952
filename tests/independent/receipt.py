"""Atoll's receipts for the independent checker: `docs/formats/receipt.md` and `evidence.md`."""

import base64
import hashlib
import json
import struct
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from independent import snp
from independent.pki import Json, require

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = {"_type", "subject", "predicateType", "predicate"}
VENDOR = "application/vnd.atoll."
CERTIFICATES = ("application/pkix-cert", "application/pem-certificate-chain")
BINDING = {"signing_key": 32, "hpke_key": 1216, "nonce": 32}


def check(raw: bytes, roots: Json, now: datetime, policy: Json) -> dict[str, Any]:
    """The predicate of a receipt, or refused; which manifest was meant is left open."""
    require(len(raw) <= 256 << 10, "too large")
    outer = _canonical(raw, {"format", "version", "envelope", "evidence"})
    require((outer["format"], outer["version"]) == ("atoll-receipt", 1), "format")
    evidence = _base64(outer["evidence"])
    binding, report, certs = _document(evidence)
    payload = _payload(outer["envelope"], binding["signing_key"])
    statement = _canonical(payload, STATEMENT)
    require(statement["_type"] == "https://in-toto.io/Statement/v1", "statement")
    require(statement["predicateType"] == "urn:atoll:predicate:job-receipt:v2", "predicate")
    predicate = dict(statement["predicate"])
    subject = [
        {"name": output["name"], "digest": {"sha256": output["sha256"]}}
        for output in predicate["outputs"]
    ]
    require(statement["subject"] == subject, "subject")
    require(predicate["evidence_digest"] == hashlib.sha256(evidence).hexdigest(), "evidence digest")
    require(predicate["manifest_digest"] == binding["manifest_digest"].hex(), "manifest digest")
    bound = (binding[key] for key in ("signing_key", "hpke_key", "manifest_digest", "nonce"))
    framed = b"".join(struct.pack(">I", len(part)) + part for part in bound)
    report_data = hashlib.sha512(b"atoll evidence v1" + framed).hexdigest()
    wanted = {**policy, "report_data": report_data}
    snp.check(report, {"certs": certs}, roots, now, wanted)
    return predicate


def _payload(envelope: Json, key: bytes) -> bytes:
    """What the DSSE envelope's one signature is over."""
    require(envelope.keys() == {"payload", "payloadType", "signatures"}, "envelope")
    require(envelope["payloadType"] == PAYLOAD_TYPE, "payload type")
    (signature,) = envelope["signatures"]
    require(signature.keys() == {"keyid", "sig"}, "signature")
    require(signature["keyid"] == hashlib.sha256(key).hexdigest(), "key id")
    payload = _base64(envelope["payload"])
    require(len(payload) <= 128 << 10, "payload is too large")
    head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode()
    public = Ed25519PublicKey.from_public_bytes(key)
    public.verify(_base64(signature["sig"]), head + payload)
    return payload


def _document(raw: bytes) -> tuple[dict[str, Any], bytes, list[bytes]]:
    """Binding, report and certificates of the evidence: a wrapper of RATS, in CBOR."""
    value, rest = _cbor(raw)
    require(not rest and len(raw) <= 64 << 10, "evidence's size")
    require(value.pop("__cmwc_t") == "urn:atoll:evidence:v1", "evidence's type")
    (kind, binding, role), rest = value.pop("binding"), value.pop("evidence")
    require((kind, role) == (f"{VENDOR}enclave-binding+cbor", 4), "binding")
    require((rest[0], rest[2:]) == (f"{VENDOR}sev-snp-report", [4]), "report")
    certs = [value.pop(f"cert{number}") for number in range(len(value))]
    for kind, cert, role in certs:
        is_pem = cert.startswith(b"-----BEGIN ")
        require((kind, role) == (CERTIFICATES[is_pem], 2), "certificate")
    fields, more = _cbor(binding)
    require(fields.keys() == {*BINDING, "manifest_digest", "enclave_id"} and not more, "binding")
    require({key: len(fields[key]) for key in BINDING} == BINDING, "binding's sizes")
    require(len(fields["manifest_digest"]) in (0, 32), "manifest digest")
    return fields, rest[1], [cert for _, cert, _ in certs]


def _canonical(raw: bytes, keys: set[str]) -> dict[str, Any]:
    """JSON in its one form, with exactly these keys."""
    value = json.loads(raw.decode("utf-8"))
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    require(again.encode() == raw and value.keys() == keys, "JSON is not canonical")
    return dict(value)


def _base64(text: str) -> bytes:
    raw = base64.b64decode(text.encode("ascii"), validate=True)
    require(base64.b64encode(raw).decode() == text, "base64 is not canonical")
    return raw


def _cbor(raw: bytes) -> tuple[Any, bytes]:
    """One item of deterministic CBOR (RFC 8949, section 4.2.1), and what follows."""
    major, low = raw[0] >> 5, raw[0] & 31
    width = 0 if low < 24 else 1 << low - 24
    require(low < 28 and len(raw) > width, "CBOR's head")
    number, rest = int.from_bytes(raw[1 : 1 + width], "big"), raw[1 + width :]
    require(low < 24 or number >= (24, 1 << 8, 1 << 16, 1 << 32)[low - 24], "CBOR is not shortest")
    number = low if low < 24 else number
    if major in (2, 3):
        require(number <= len(rest), "CBOR ends")
        value, rest = rest[:number], rest[number:]
        return (value.decode("utf-8") if major == 3 else value), rest
    if major == 5:
        found, last = {}, b""
        for _ in range(number):
            key, after = _cbor(rest)
            encoded = rest[: len(rest) - len(after)]
            require(encoded > last, "CBOR's keys are not in order")
            (found[key], rest), last = _cbor(after), encoded
        return found, rest
    items = []
    for _ in range(number if major == 4 else 0):
        item, rest = _cbor(rest)
        items.append(item)
    require(major in (0, 4), "CBOR's type")
    return (items if major == 4 else number), rest
