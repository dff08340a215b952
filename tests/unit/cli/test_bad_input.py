"""Evidence as it should not be: `attest verify` gives a verdict that names the check, always."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.x509 import crl_der
from support import dcap, evidence
from support.keystone import DEVICE, Content
from unit.cli.attest import AT, REPORT_DATA, Files
from unit.cli.console import Console, Said

Options = tuple[str | Path, ...]
STEP = 97
"""Between the lengths that a command line is tried with; the parsers' own tests try every one."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Good evidence of a kind, what it needs, and the check that malformed bytes fail."""

    good: Callable[[], bytes]
    beside: Callable[[Files], Options]
    malformed: frozenset[str]
    signature: frozenset[str]
    versions: tuple[bytes, ...] = ()
    """What to write over the start, where the version stands."""


@cache
def _snp() -> bytes:
    return evidence.guest().attest(REPORT_DATA)


def _snp_beside(files: Files) -> Options:
    return ("--certs", files.certs(), "--root", files.root(), "--at", AT)


@cache
def _tdx() -> bytes:
    return dcap.Platform().quote()


@cache
def _parts() -> dict[str, str]:
    made = dcap.collateral()
    return {
        "tcb_info": made.tcb_info.raw.decode(),
        "tcb_info_sig": made.tcb_info.signature.hex(),
        "tcb_chain": made.tcb_info_chain.decode(),
        "qe_identity": made.qe_identity.raw.decode(),
        "qe_identity_sig": made.qe_identity.signature.hex(),
        "qe_chain": made.qe_identity_chain.decode(),
        "root_crl": made.root_crl.hex(),
        "pck_crl": made.pck_crl.hex(),
    }


def _tdx_beside(files: Files, **parts: str) -> Options:
    collateral = files.write("collateral.json", json.dumps(_parts() | parts).encode())
    root = files.write("intel.pem", dcap.pem(dcap.root_der()))
    return ("--collateral", collateral, "--root", root, "--at", f"{dcap.NOW:%Y-%m-%dT%H:%M:%SZ}")


@cache
def _keystone() -> bytes:
    return Content().report()


def _keystone_beside(files: Files) -> Options:
    return ("--root", files.write("device", DEVICE.public.hex().encode()))


KINDS = {
    "snp": Kind(
        good=_snp,
        beside=_snp_beside,
        malformed=frozenset({"snp.report"}),
        signature=frozenset({"snp.signature"}),
        versions=tuple(number.to_bytes(4, "little") for number in (0, 1, 6, 0xFFFFFFFF)),
    ),
    "tdx": Kind(
        good=_tdx,
        beside=_tdx_beside,
        malformed=frozenset(
            {"tdx.malformed", "tdx.quote_version", "tdx.quote_tee", "tdx.quote_key_type"}
        ),
        signature=frozenset({"tdx.signature"}),
        versions=tuple(number.to_bytes(2, "little") for number in (0, 3, 6, 0xFFFF)),
    ),
    "keystone": Kind(
        good=_keystone,
        beside=_keystone_beside,
        # A report has neither magic nor version: text of the right length is one, unsigned.
        malformed=frozenset(
            {"keystone.bad_length", "keystone.bad_data_len", "keystone.untrusted_device_key"}
        ),
        signature=frozenset({"keystone.bad_signature"}),
    ),
}
NAMES = sorted(KINDS)


def _judge(console: Console, files: Files, name: str, raw: bytes, *more: str | Path) -> Said:
    path = files.write("evidence", raw)
    beside = more or KINDS[name].beside(files)
    return console("attest", "verify", path, "--kind", name, *beside, "--json")


def _reason(said: Said) -> str:
    """The reason of a verdict that has the promised form, and of nothing else."""
    assert said.status == 1
    assert "Traceback" not in said.out + said.err
    document: dict[str, Any] = said.document()
    assert document["verdict"] == "fail"
    failed = [item["id"] for item in document["checks"] if item["outcome"] == "fail"]
    assert failed[0] == document["reason"]
    return str(document["reason"])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_spoilt_here_is_good_to_begin_with(
    console: Console, files: Files, name: str
) -> None:
    said = _judge(console, files, name, KINDS[name].good())
    assert said.status == 0, said.out


def _swapped(raw: bytes, width: int) -> bytes:
    """Every word of this width with its bytes in the other order."""
    return b"".join(raw[at : at + width][::-1] for at in range(0, len(raw), width))


def _malformed(name: str) -> Iterator[tuple[str, bytes]]:
    good = KINDS[name].good()
    yield "empty", b""
    yield "one byte", b"\0"
    yield "oversized", good + bytes(1 << 20)
    yield "only zeros", bytes(len(good))
    yield "only ones", b"\xff" * len(good)
    yield "text", b"This is no evidence.\n"
    yield "as hex", good.hex().encode()
    yield "an error page", b"<!doctype html><title>404</title>".ljust(len(good))
    yield "a JSON document", json.dumps({"report": good.hex()}).encode()
    for width in (2, 4, 8):
        yield f"words of {width} turned round", _swapped(good, width)
    for other in NAMES:
        if other != name:
            yield f"of the kind {other}", KINDS[other].good()
    for version in KINDS[name].versions:
        yield f"version {version.hex()}", version + good[len(version) :]


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name in NAMES for what, _ in _malformed(name)]
)
def test_what_is_not_of_the_kinds_form_fails_the_check_of_its_form(
    console: Console, files: Files, name: str, what: str
) -> None:
    raw = dict(_malformed(name))[what]
    assert _reason(_judge(console, files, name, raw)) in KINDS[name].malformed


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_anywhere_fails_the_check_of_the_form(
    console: Console, files: Files, name: str
) -> None:
    good, beside = KINDS[name].good(), KINDS[name].beside(files)
    lengths = [*range(1, len(good), STEP), len(good) - 1]
    reasons = {_reason(_judge(console, files, name, good[:size], *beside)) for size in lengths}
    assert reasons <= KINDS[name].malformed


@pytest.mark.parametrize("name", ["snp", "tdx"])
def test_what_stands_behind_evidence_fails_the_check_of_the_form(
    console: Console, files: Files, name: str
) -> None:
    for tail in (b"\1", b"x" * 100):
        said = _judge(console, files, name, KINDS[name].good() + tail)
        assert _reason(said) in KINDS[name].malformed


def test_a_keystone_buffer_ends_where_the_driver_ends_it(console: Console, files: Files) -> None:
    # Samples pass 2,048 bytes with anything behind the report; more is no such buffer.
    good = _keystone()
    assert _judge(console, files, "keystone", good.ljust(2048, b"x")).status == 0
    said = _judge(console, files, "keystone", good.ljust(2049, b"x"))
    assert _reason(said) == "keystone.bad_length"


@pytest.mark.parametrize(("name", "at"), [("snp", 0x90), ("tdx", 48 + 520), ("keystone", 0)])
def test_a_changed_byte_fails_the_check_of_the_signature(
    console: Console, files: Files, name: str, at: int
) -> None:
    raw = bytearray(KINDS[name].good())
    raw[at] ^= 1
    assert _reason(_judge(console, files, name, bytes(raw))) in KINDS[name].signature


# --- what comes beside the evidence ---------------------------------------------------------


def _now(moment: str) -> Callable[[Files, str], Options]:
    return lambda files, name: (*KINDS[name].beside(files)[:-1], moment)


def _other_root(files: Files) -> Options:
    return ("--certs", files.certs(), "--at", AT)


def _lookalike_chain(files: Files) -> Options:
    pem = evidence.other_chain().to_pem().partition(b"-----BEGIN PRIVATE KEY")[0]
    chain = files.write("other.pem", pem)
    return ("--certs", chain, "--root", files.root(), "--at", AT)


def _other_product(files: Files) -> Options:
    return (*_snp_beside(files), "--product", "Milan")


def _no_leaf(files: Files) -> Options:
    return ("--certs", files.root(), "--root", files.root(), "--at", AT)


def _signed(value: dict[str, Any], signer: str = "tcb") -> dict[str, str]:
    made = dcap.signed(value, signer)
    return {"tcb_info": made.raw.decode(), "tcb_info_sig": made.signature.hex()}


def _info(**changes: Any) -> Callable[[Files], Options]:
    return lambda files: _tdx_beside(files, **_signed(dcap.tcb_info(**changes)))


def _raw_info(edit: Callable[[str], str]) -> Callable[[Files], Options]:
    """The TCB info with its text edited and then signed by the right key."""

    def beside(files: Files) -> Options:
        text = edit(json.dumps(dcap.tcb_info(), separators=(",", ":")))
        signature = dcap.sign(dcap.key("tcb"), text.encode()).hex()
        return _tdx_beside(files, tcb_info=text, tcb_info_sig=signature)

    return beside


def _tampered(files: Files) -> Options:
    return _tdx_beside(files, tcb_info=_parts()["tcb_info"].replace("OutOfDate", "UpToDate"))


def _signature_of_another(files: Files) -> Options:
    return _tdx_beside(files, tcb_info_sig=_parts()["qe_identity_sig"])


def _list(name: str, der: Callable[[], bytes]) -> Callable[[Files], Options]:
    return lambda files: _tdx_beside(files, **{name: crl_der(der()).hex()})


def _no_collateral(files: Files) -> Options:
    return _tdx_beside(files)[2:]


def _untrusted(files: Files) -> Options:
    return (*_tdx_beside(files)[:2], *_tdx_beside(files)[4:])


def _other_device(files: Files) -> Options:
    return ("--root", files.write("device", b"11" * 32))


def _log(files: Files) -> Options:
    return (*_tdx_beside(files), "--event-log", files.write("log", b"not a log"))


BESIDE: dict[str, tuple[str, Callable[[Files], Options], str]] = {
    "expired": ("snp", lambda files: _now("2055-01-01T00:00:00Z")(files, "snp"), "snp.chain"),
    "not yet valid": ("snp", lambda files: _now("2001-01-01T00:00:00Z")(files, "snp"), "snp.chain"),
    "a root that nobody trusts": ("snp", _other_root, "snp.root"),
    "a chain with a look-alike root": ("snp", _lookalike_chain, "snp.root"),
    "another product": ("snp", _other_product, "snp.product_line"),
    "no signing certificate": ("snp", _no_leaf, "snp.chain"),
    "expired TDX": (
        "tdx",
        lambda files: _now("2055-01-01T00:00:00Z")(files, "tdx"),
        "tdx.expired",
    ),
    "not yet valid TDX": (
        "tdx",
        lambda files: _now("2001-01-01T00:00:00Z")(files, "tdx"),
        "tdx.not_yet_valid",
    ),
    "a root that is not Intel's": ("tdx", _untrusted, "tdx.untrusted_root"),
    "no collateral": ("tdx", _no_collateral, "tdx.collateral"),
    "TCB info for another FMSPC": ("tdx", _info(fmspc="00" * 6), "tdx.tcb_info_fmspc"),
    "TCB info for another PCE": ("tdx", _info(pceId="0001"), "tdx.tcb_info_pceid"),
    "TCB info of an unknown version": ("tdx", _info(version=4), "tdx.tcb_info_type"),
    "TCB info that was tampered with": ("tdx", _tampered, "tdx.tcb_info_signature"),
    "a signature from elsewhere": ("tdx", _signature_of_another, "tdx.tcb_info_signature"),
    "TCB info signed by another": (
        "tdx",
        lambda files: _tdx_beside(files, **_signed(dcap.tcb_info(), "pck")),
        "tdx.tcb_info_signature",
    ),
    "TCB info that is not of now": (
        "tdx",
        _info(nextUpdate=dcap.moment(dcap.NOW - dcap.MONTH)),
        "tdx.tcb_info_expired",
    ),
    "a JSON key twice": (
        "tdx",
        _raw_info(lambda text: text.replace('{"id"', '{"id":"TDX","id"', 1)),
        "tdx.malformed",
    ),
    "a huge number": (
        "tdx",
        _raw_info(lambda text: text.replace('"tcbType":0', '"tcbType":' + "9" * 5000)),
        "tdx.malformed",
    ),
    "a number that is none": (
        "tdx",
        _raw_info(lambda text: text.replace('"tcbType":0', '"tcbType":NaN')),
        "tdx.malformed",
    ),
    "JSON nested without end": ("tdx", _raw_info(lambda _: "[" * 100_000), "tdx.malformed"),
    "a revoked platform": (
        "tdx",
        _list("pck_crl", lambda: dcap.pck_crl(dcap.PCK.serial)),
        "tdx.revoked",
    ),
    "a revoked authority": (
        "tdx",
        _list("root_crl", lambda: dcap.root_crl(dcap.PLATFORM_CA.serial)),
        "tdx.revoked",
    ),
    "a list that another CA signed": (
        "tdx",
        _list("pck_crl", lambda: dcap.crl(dcap.PLATFORM_CA.subject, dcap.key("other"))),
        "tdx.crl_signature",
    ),
    "another CA's list": ("tdx", _list("pck_crl", dcap.root_crl), "tdx.crl_issuer"),
    "an old list": (
        "tdx",
        _list("pck_crl", lambda: dcap.pck_crl(next_update=dcap.NOW - timedelta(days=1))),
        "tdx.crl_expired",
    ),
    "an event log that is none": ("tdx", _log, "tdx.event_log"),
    "another device": ("keystone", _other_device, "keystone.untrusted_device_key"),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_wrong_beside_good_evidence_fails_the_check_about_it(
    console: Console, files: Files, what: str
) -> None:
    name, beside, reason = BESIDE[what]
    assert _reason(_judge(console, files, name, KINDS[name].good(), *beside(files))) == reason
