"""Cases of Keystone, event logs and TPM quotes."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import ccel, dcap, keystone, tpm
from support.dcap import Platform
from vectors.bundle import Bundle
from vectors.cases_snp import flip

RUNTIME = 0x08000001


def add_all(bundle: Bundle) -> None:
    """Every case of these kinds."""
    for add in (_keystone, _ccel, _rtmr_json, _tpm, _tpm_registers):
        add(bundle)


def _keystone(bundle: Bundle) -> None:
    good = keystone.Content()
    raw = good.report()
    trusted = {"device_public_key": keystone.DEVICE.public.hex()}
    rfc8032 = keystone.Key.of(b"device of these tests".ljust(32), _sha512)
    order_4 = bytes(32)
    cases: dict[str, tuple[bytes, str, dict[str, Any]]] = {
        "ok": (raw, "", {"data": b"nonce".hex(), "enclave_hash": keystone.ENCLAVE_HASH.hex()}),
        "padded": (raw.ljust(2048, b"\0"), "", {}),
        "no-data": (replace(good, data=b"").report(), "", {}),
        "tail-changed": (flip(raw, 1000), "", {}),
        "flip-data": (flip(raw, 72), "keystone.bad_signature", {}),
        "flip-data-len": (flip(raw, 64), "keystone.bad_signature", {}),
        "flip-sm-hash": (flip(raw, 1160), "keystone.sm_bad_signature", {}),
        "truncated": (raw[:-1], "keystone.bad_length", {}),
        "datalen-1025": (raw[:64] + (1025).to_bytes(8, "little") + raw[72:], "", {}),
        "datalen-huge": (raw[:64] + b"\xff" * 8 + raw[72:], "", {}),
        "other-device": (replace(good, device=keystone.SM).report(), "", {}),
        "rfc8032-sha512": (_stock(good, rfc8032), "", {}),
        "small-order-sm-key": (replace(good, sm_public=order_4).report(), "", {}),
        "s-plus-l": (_unreduced(raw), "", {}),
        "other-nonce": (raw, "", {"data": "00"}),
        "nonce-prefix": (raw, "", {"data": b"nonc".hex()}),
        "other-enclave": (raw, "", {"enclave_hash": "00" * 64}),
        "other-sm": (raw, "", {"sm_hash": "00" * 64}),
        "derivable-sm-key": (good.with_derivable_sm_key().report(), "", {}),
        "derivable-allowed": (
            good.with_derivable_sm_key().report(),
            "",
            {"allow_derivable_sm_key": True},
        ),
    }
    for name, (evidence, reason, policy) in cases.items():
        why = KEYSTONE.get(name, reason)
        bundle.add(
            "keystone_report", f"own-keystone-{name}", evidence, why, policy=trusted | policy
        )


KEYSTONE = {
    "datalen-1025": "keystone.bad_data_len",
    "datalen-huge": "keystone.bad_data_len",
    "other-device": "keystone.untrusted_device_key",
    "rfc8032-sha512": "keystone.sm_bad_signature",
    "small-order-sm-key": "keystone.bad_signature",
    "s-plus-l": "keystone.bad_signature",
    "other-nonce": "keystone.data_mismatch",
    "nonce-prefix": "keystone.data_mismatch",
    "other-enclave": "keystone.enclave_hash_mismatch",
    "other-sm": "keystone.sm_hash_mismatch",
    "derivable-sm-key": "keystone.sm_key_mismatch",
}


def _sha512(message: bytes) -> bytes:
    return hashlib.sha512(message).digest()


def _stock(good: keystone.Content, device: keystone.Key) -> bytes:
    """A report signed as RFC 8032 has it, by a key that has our device's public key."""
    same = replace(keystone.DEVICE, hash=device.hash)
    return replace(good, device=same).report()


def _unreduced(raw: bytes) -> bytes:
    """The same S plus the order of the group, which a verifier must not reduce."""
    s = int.from_bytes(raw[1096 + 32 : 1160], "little") + keystone.L
    return raw[: 1096 + 32] + s.to_bytes(32, "little") + raw[1160:]


def _ccel(bundle: Bundle) -> None:
    first, event, sha = ccel.first(), ccel.event, ccel.sha384
    log = first + event(1, b"firmware") + event(2, b"boot loader") + event(3, b"kernel")
    values = [ccel.extended(sha(data)) for data in (b"firmware", b"boot loader", b"kernel")]
    rtmrs = [one.hex() for one in values] + [bytes(48).hex()]
    no_action = event(1, b"nothing", kind=3)
    quote = Platform(body=dcap.td_report(rtmr0=values[0], rtmr1=values[1])).quote()
    matched = {"match_rtmrs": [0, 1]}
    cases: dict[str, tuple[bytes, str, dict[str, Any], dict[str, Any]]] = {
        "ok": (log, "", {"rtmrs": rtmrs}, {}),
        "padded": (log + b"\xff" * 64, "", {"rtmrs": rtmrs}, {}),
        "no-action": (log + no_action, "", {"rtmrs": rtmrs}, {}),
        "quote": (log, "", matched, {"quote": quote}),
        "quote-mismatch": (log, "", {"match_rtmrs": [2]}, {"quote": quote}),
        "index-off-by-one": (log, "", {"rtmrs": rtmrs[1:] + rtmrs[:1]}, {}),
        "event-dropped": (first + event(2, b"boot loader"), "", {"rtmrs": rtmrs}, {}),
        "event-repeated": (log + event(3, b"kernel"), "", {"rtmrs": rtmrs}, {}),
        "truncated": (log[:-1], "", {"rtmrs": rtmrs}, {}),
        "size-huge": (log[:-10] + b"\xff" * 4 + log[-6:], "", {"rtmrs": rtmrs}, {}),
        "no-header": (log[len(first) :], "", {"rtmrs": rtmrs}, {}),
    }
    for name, (raw, reason, policy, files) in cases.items():
        why = CCEL.get(name, reason)
        bundle.add("ccel", f"own-ccel-{name}", raw, why, policy=policy, files=files)


CCEL = {
    "quote-mismatch": "ccel.rtmr_mismatch",
    "index-off-by-one": "ccel.rtmr_mismatch",
    "event-dropped": "ccel.rtmr_mismatch",
    "event-repeated": "ccel.rtmr_mismatch",
    "truncated": "ccel.malformed",
    "size-huge": "ccel.malformed",
    "no-header": "ccel.malformed",
}


def _runtime(name: str, payload: bytes) -> dict[str, Any]:
    head = RUNTIME.to_bytes(4, "little") + b":" + name.encode() + b":"
    digest = hashlib.sha384(head + payload).hexdigest()
    return {
        "imr": 3,
        "event_type": RUNTIME,
        "digest": digest,
        "event": name,
        "event_payload": payload.hex(),
    }


def _rtmr_json(bundle: Bundle) -> None:
    firmware = {
        "imr": 0,
        "event_type": 1,
        "digest": hashlib.sha384(b"firmware").hexdigest(),
        "event": "",
        "event_payload": "",
    }
    events = [firmware, _runtime("app-id", b"\1\2"), _runtime("compose-hash", b"\3")]
    digests = [bytes.fromhex(one["digest"]) for one in events]
    rtmr0, rtmr3 = ccel.extended(digests[0]), ccel.extended(*digests[1:])
    quote = Platform(body=dcap.td_report(rtmr0=rtmr0, rtmr3=rtmr3)).quote()
    payload = events[1] | {"event_payload": "ff"}
    lite = {key: value for key, value in events[1].items() if key != "event_payload"}
    cases: dict[str, tuple[Any, str]] = {
        "ok": (events, ""),
        "payload": ([firmware, payload, events[2]], "rtmr_json.event_digest_mismatch"),
        "lite": ([firmware, lite, events[2]], "rtmr_json.event_digest_mismatch"),
        "event-dropped": (events[:2], "rtmr_json.rtmr_mismatch"),
        "order": ([firmware, events[2], events[1]], "rtmr_json.rtmr_mismatch"),
        "register": ([firmware | {"imr": 4}, *events[1:]], "rtmr_json.malformed"),
        "not-a-list": ({"events": events}, "rtmr_json.malformed"),
    }
    policy = {"match_rtmrs": [0, 3], "recompute_rtmr3": True}
    for name, (value, reason) in cases.items():
        raw = json.dumps(value).encode()
        files: dict[str, Any] = {"quote": quote}
        kind = "rtmr_json_log"
        bundle.add(kind, f"own-rtmr-json-{name}", raw, reason, policy=policy, files=files)
    raw = json.dumps(events)[:-1].encode()
    options: dict[str, Any] = {"policy": policy, "files": {"quote": quote}}
    bundle.add("rtmr_json_log", "own-rtmr-json-cut", raw, "rtmr_json.malformed", **options)


def _tpm(bundle: Bundle) -> None:
    good = tpm.Quote().message()
    public = tpm.key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    policy = {"nonce": tpm.NONCE.hex()}
    other = json.dumps([bytes(32).hex()] * 24).encode()

    def add(name: str, message: bytes, reason: str = "", **changes: Any) -> None:
        files: dict[str, Any] = {
            "ak_public": public,
            "tpm_signature": tpm.sign(message),
            "tpm_pcrs": tpm.pcrs_json(),
        }
        full = policy | changes.pop("policy", {})
        files |= changes
        bundle.add("tpm_quote", f"own-tpm-{name}", message, reason, policy=full, files=files)

    add("ok", good)
    add("no-magic", tpm.Quote(magic=b"\0TCG").message(), "tpm.tpm_not_quote")
    add("certify", tpm.Quote(type=0x8017).message(), "tpm.tpm_not_quote")
    add("other-nonce", good, "tpm.nonce_mismatch", policy={"nonce": "00"})
    add("flip", flip(good, 40), "tpm.tpm_bad_signature", tpm_signature=tpm.sign(good))
    forged = tpm.sign(good, by=tpm.other_key())
    add("other-key", good, "tpm.tpm_bad_signature", tpm_signature=forged)
    add("other-pcrs", good, "tpm.pcr_digest_mismatch", tpm_pcrs=other)
    add("truncated", good[:-1], "tpm.malformed")
    add("trailing", good + b"\0", "tpm.malformed")


def _tpm_registers(bundle: Bundle) -> None:
    """What a policy says of registers, and quotes over other banks than SHA-256."""
    public = tpm.key().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    both = (tpm.selection([0, 7]), tpm.selection([4], 0x000C))
    values = tpm.PCRS[0] + tpm.PCRS[7] + tpm.PCRS_384[4]
    mixed = tpm.Quote(selections=both, digest=hashlib.sha256(values).digest())
    sha1 = tpm.Quote(selections=(tpm.selection([0], 0x0004),))
    zero, fourth = tpm.PCRS[0].hex(), tpm.PCRS_384[4].hex()
    right = {"sha256": {"0": zero}, "sha384": {"4": fourth}}
    cases: dict[str, tuple[tpm.Quote, str, dict[str, Any]]] = {
        "banks": (mixed, "", {"pcr_values": right}),
        "banks-pcr-other": (
            mixed,
            "tpm.pcr.sha384.4",
            {"pcr_values": right | {"sha384": {"4": "00" * 48}}},
        ),
        "banks-pcr-unselected": (
            mixed,
            "tpm.pcr.sha256.1",
            {"pcr_values": {"sha256": {"1": tpm.PCRS[1].hex()}}},
        ),
        "sha1-only": (sha1, "tpm.pcr_selection", {}),
    }
    for name, (quote, reason, policy) in cases.items():
        message = quote.message()
        files: dict[str, Any] = {
            "ak_public": pem,
            "tpm_signature": tpm.sign(message),
            "tpm_pcrs": tpm.banks_json(),
        }
        bundle.add("tpm_quote", f"own-tpm-{name}", message, reason, policy=policy, files=files)
