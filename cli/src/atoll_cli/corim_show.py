"""How CoRIMs look on a terminal and in JSON."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from atoll.corim.policies import tee_of
from atoll.corim.signed import ClaimedCorim, SignedCorim
from atoll.corim.values import (
    AttestKeyTriple,
    Comid,
    Corim,
    Digest,
    Environment,
    Measurement,
    Oid,
    ReferenceTriple,
    Ueid,
    Validity,
)
from atoll.errors import UnsupportedError
from atoll_cli.session import Session
from atoll_cli.text import table

Signature = SignedCorim | ClaimedCorim | None


def show_corim(session: Session, corim: Corim, signature: Signature) -> None:
    """What a CoRIM says, and what is known of its signature."""
    checked = isinstance(signature, SignedCorim)
    rows = [("id", _text(corim.id)), ("profile", _text(corim.profile)), ("tee", _tee(corim) or "?")]
    rows += [("valid", _period(corim.validity))]
    if signature is None:
        rows += [("signed", "no")]
    else:
        rows += [("signed", "yes, and checked" if checked else "yes, but NOT CHECKED (--key)")]
        rows += [("signer", signature.signer), ("key id", _kid(signature.kid))]
        rows += [("signature valid", _period(signature.validity))]
    for line in table(rows, indent=""):
        session.print(line)
    for comid in corim.comids:
        session.print(f"module {_text(comid.tag_id)!r}, version {comid.tag_version}")
        for line in table(_lines(comid)):
            session.print(line)
    session.document(corim_document(corim, signature))


def corim_document(corim: Corim, signature: Signature) -> dict[str, Any]:
    """The same as JSON."""
    signed = None
    if signature is not None:
        signed = {
            "checked": isinstance(signature, SignedCorim),
            "signer": signature.signer,
            "kid": _kid(signature.kid),
            "validity": _validity(signature.validity),
        }
    return {
        "id": _text(corim.id),
        "profile": None if corim.profile is None else _text(corim.profile),
        "tee": _tee(corim),
        "validity": _validity(corim.validity),
        "signature": signed,
        "modules": [_module(comid) for comid in corim.comids],
    }


def _lines(comid: Comid) -> list[tuple[str, str, str]]:
    found = [
        (_environment(triple.environment), _text(item.mkey), value)
        for triple in comid.triples
        for item in triple.measurements
        for value in _values(item)
    ]
    keys = [
        (_environment(triple.environment), "attestation key", key.hex())
        for triple in comid.attest_keys
        for key in triple.keys
    ]
    return found + keys


def _module(comid: Comid) -> dict[str, Any]:
    return {
        "tag_id": _text(comid.tag_id),
        "tag_version": comid.tag_version,
        "reference_triples": [_triple(item) for item in comid.triples],
        "attest_key_triples": [_keys(item) for item in comid.attest_keys],
    }


def _triple(triple: ReferenceTriple) -> dict[str, Any]:
    measurements = [
        {"key": None if item.mkey is None else _text(item.mkey), "values": _values(item)}
        for item in triple.measurements
    ]
    return {"environment": _environment(triple.environment), "measurements": measurements}


def _keys(triple: AttestKeyTriple) -> dict[str, Any]:
    return {
        "environment": _environment(triple.environment),
        "keys": [key.hex() for key in triple.keys],
    }


def _values(item: Measurement) -> list[str]:
    found = [_digest(digest) for digest in item.digests]
    found += [f"svn {item.svn}"] if item.svn is not None else []
    found += [f"svn at least {item.min_svn}"] if item.min_svn is not None else []
    found += [f"raw {item.raw_value.hex()}"] if item.raw_value is not None else []
    for name, digests in item.integrity_registers:
        found += [f"register {name}: {_digest(digest)}" for digest in digests]
    return found


def _digest(digest: Digest) -> str:
    return f"{digest.alg.text} {digest.value.hex()}"


def _environment(environment: Environment) -> str:
    members = (
        ("class", environment.class_id),
        ("vendor", environment.vendor),
        ("model", environment.model),
        ("layer", environment.layer),
        ("index", environment.index),
        ("instance", environment.instance),
    )
    return ", ".join(f"{name} {_text(value)}" for name, value in members if value is not None)


def _text(value: str | int | bytes | UUID | Oid | Ueid | None) -> str:
    if isinstance(value, Oid):
        return value.text
    if isinstance(value, Ueid):
        return value.raw.hex()
    return value.hex() if isinstance(value, bytes) else "none" if value is None else str(value)


def _kid(kid: bytes) -> str:
    text = kid.decode("ascii", errors="replace")
    return text if text.isprintable() and text.isascii() else kid.hex()


def _tee(corim: Corim) -> str | None:
    try:
        return tee_of(corim).value
    except UnsupportedError:
        return None


def _period(validity: Validity | None) -> str:
    if validity is None:
        return "without limit"
    begin = "ever" if validity.not_before is None else _moment(validity.not_before)
    return f"{begin} to {_moment(validity.not_after)}"


def _validity(validity: Validity | None) -> dict[str, str | None] | None:
    if validity is None:
        return None
    begin = validity.not_before
    return {
        "not_before": None if begin is None else _moment(begin),
        "not_after": _moment(validity.not_after),
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
