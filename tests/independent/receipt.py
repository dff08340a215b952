"""Atoll's receipts for the independent checker: `docs/formats/receipt.md` and `evidence.md`."""

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from independent import snp
from independent.pki import RefusedError, require

PAYLOAD_TYPE = "application/vnd.in-toto+json"
EVIDENCE = {
    "tee",
    "enclave_id",
    "report",
    "certs",
    "signing_key",
    "hpke_key",
    "manifest_digest",
    "nonce",
}
STATEMENT = {"_type", "subject", "predicateType", "predicate"}


def check(
    raw: bytes, *, roots: Mapping[str, str], now: datetime, policy: Mapping[str, Any]
) -> dict[str, Any]:
    """The predicate of a receipt, or `RefusedError`; which manifest was meant is left open."""
    require(len(raw) <= 256 << 10, "too large")
    outer = _canonical(raw, {"format", "version", "envelope", "evidence"})
    require((outer["format"], outer["version"]) == ("atoll-receipt", 1), "format")
    evidence = _base64(outer["evidence"])
    document = _document(evidence)
    payload = _payload(outer["envelope"], document["signing_key"])
    statement = _canonical(payload, STATEMENT)
    require(statement["_type"] == "https://in-toto.io/Statement/v1", "statement")
    require(statement["predicateType"] == "urn:atoll:predicate:job-receipt:v1", "predicate")
    predicate = statement["predicate"]
    subject = [{"name": "results", "digest": {"sha256": predicate["results"]["sha256"]}}]
    require(statement["subject"] == subject, "subject")
    require(predicate["evidence_digest"] == hashlib.sha256(evidence).hexdigest(), "evidence digest")
    require(predicate["manifest_digest"] == document["manifest_digest"].hex(), "manifest digest")
    wanted = dict(policy) | {"report_data": _report_data(document).hex()}
    snp.check(document["report"], document["certs"], [], roots=roots, now=now, policy=wanted)
    return dict(predicate)


def _payload(envelope: Mapping[str, Any], key: bytes) -> bytes:
    """What the DSSE envelope's one signature is over."""
    require(envelope.keys() == {"payload", "payloadType", "signatures"}, "envelope")
    require(envelope["payloadType"] == PAYLOAD_TYPE, "payload type")
    require(len(envelope["signatures"]) == 1, "signatures")
    signature = envelope["signatures"][0]
    require(signature.keys() == {"keyid", "sig"}, "signature")
    require(signature["keyid"] == hashlib.sha256(key).hexdigest(), "key id")
    payload = _base64(envelope["payload"])
    require(len(payload) <= 48 << 10, "payload is too large")
    head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode()
    try:
        public = Ed25519PublicKey.from_public_bytes(key)
        public.verify(_base64(signature["sig"]), head + payload)
    except (InvalidSignature, ValueError) as error:
        raise RefusedError("receipt's signature") from error
    return payload


def _document(raw: bytes) -> dict[str, Any]:
    require(len(raw) <= 64 << 10, "evidence is too large")
    value, rest = _unpack(raw)
    require(isinstance(value, dict) and not rest, "evidence")
    require(value.pop("version", 1) == 1, "evidence version")
    require(value.keys() == EVIDENCE and value["tee"] == "sev-snp", "evidence")
    sizes = {name: len(value[name]) for name in ("signing_key", "hpke_key", "nonce")}
    require(sizes == {"signing_key": 32, "hpke_key": 1216, "nonce": 32}, "evidence's sizes")
    require(len(value["manifest_digest"]) in (0, 32), "manifest digest")
    return dict(value)


def _report_data(document: Mapping[str, Any]) -> bytes:
    parts = [document[name] for name in ("signing_key", "hpke_key", "manifest_digest", "nonce")]
    framed = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return hashlib.sha512(b"atoll evidence v1" + framed).digest()


def _canonical(raw: bytes, keys: set[str]) -> dict[str, Any]:
    """JSON in its one form, with exactly these keys."""
    try:
        value = json.loads(raw.decode("utf-8"))
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except ValueError as error:
        raise RefusedError("JSON") from error
    require(again.encode() == raw, "JSON is not canonical")
    require(isinstance(value, dict) and value.keys() == keys, "JSON's keys")
    return dict(value)


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("base64") from error
    require(base64.b64encode(raw).decode() == text, "base64 is not canonical")
    return raw


def _unpack(raw: bytes) -> tuple[Any, bytes]:
    """The part of MessagePack that evidence has: small integers, str, bin, array, map."""
    require(raw, "MessagePack ends")
    tag, rest = raw[0], raw[1:]
    if tag < 0x80:
        return tag, rest
    if tag in (0xCC, 0xCD):
        return _sized(rest, tag - 0xCB)
    if 0x80 <= tag < 0x90:
        return _map(rest, tag & 15)
    if 0x90 <= tag < 0xA0:
        return _array(rest, tag & 15)
    if 0xA0 <= tag < 0xC0 or tag in (0xD9, 0xDA):
        size, rest = (tag & 31, rest) if tag < 0xC0 else _sized(rest, tag - 0xD8)
        require(size <= len(rest), "MessagePack ends")
        return rest[:size].decode("utf-8"), rest[size:]
    require(tag in (0xC4, 0xC5), "MessagePack type")
    size, rest = _sized(rest, tag - 0xC3)
    require(size <= len(rest), "MessagePack ends")
    return rest[:size], rest[size:]


def _sized(raw: bytes, width: int) -> tuple[int, bytes]:
    require(len(raw) >= width, "MessagePack ends")
    return int.from_bytes(raw[:width], "big"), raw[width:]


def _array(raw: bytes, count: int) -> tuple[list[Any], bytes]:
    found = []
    for _ in range(count):
        value, raw = _unpack(raw)
        found.append(value)
    return found, raw


def _map(raw: bytes, count: int) -> tuple[dict[str, Any], bytes]:
    found: dict[str, Any] = {}
    for _ in range(count):
        key, raw = _unpack(raw)
        require(isinstance(key, str) and key not in found, "MessagePack key")
        found[key], raw = _unpack(raw)
    return found, raw
