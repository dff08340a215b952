"""Intel TDX for the independent checker: quotes of version 4 and 5 with their collateral.

Sources: Intel's "TDX DCAP Quoting Library API", "PCS API v4" and the order of checks of
its Quote Verification Library.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from independent.pki import (
    RefusedError,
    blobs,
    certificate,
    chain,
    common_name,
    ecdsa,
    require,
    revocation_list,
    revoked,
    spki_sha256,
)

ROOT, PCK, TCB_SIGNING = "Intel SGX Root CA", "Intel SGX PCK Certificate", "Intel SGX TCB Signing"
PCK_AUTHORITIES = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
SGX = "1.2.840.113741.1.13.1"
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
FIELDS = {
    "mrseam": (16, 48),
    "mrtd": (136, 48),
    "mrconfigid": (184, 48),
    "mrowner": (232, 48),
    "mrownerconfig": (280, 48),
    "rtmr0": (328, 48),
    "rtmr1": (376, 48),
    "rtmr2": (424, 48),
    "rtmr3": (472, 48),
    "report_data": (520, 64),
    "mrservicetd": (600, 48),
}
POLICY = {*FIELDS, "accept_tcb_status", "allow_debug", "require_sept_ve_disable", "min_tcb_eval"}
OUT_OF_DATE = {
    "UpToDate": "OutOfDate",
    "SWHardeningNeeded": "OutOfDate",
    "ConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "OutOfDateConfigurationNeeded",
}
RELAUNCH = {
    "UpToDate": "TDRelaunchAdvised",
    "SWHardeningNeeded": "TDRelaunchAdvised",
    "ConfigurationNeeded": "TDRelaunchAdvisedConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "TDRelaunchAdvisedConfigurationNeeded",
}


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A quote in its parts; nothing is believed yet."""

    signed: bytes
    body: bytes
    signature: bytes
    key: bytes
    qe: bytes
    qe_signature: bytes
    auth: bytes
    kind: int
    certification: bytes


@dataclass(frozen=True, kw_only=True)
class Pck:
    """What Intel says of the platform."""

    components: tuple[int, ...]
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    key: object


def check(
    raw: bytes,
    files: Mapping[str, bytes],
    *,
    roots: Sequence[str],
    now: datetime,
    policy: Mapping[str, Any],
) -> str:
    """The TCB status of a quote that is good in every other way, or `RefusedError`."""
    quote = parse(raw)
    leaf, ca, root = _pck_chain(quote, files, roots, now)
    root_crl = revocation_list(blobs(files["root_crl"])[0])
    revoked(root_crl, root, ca.serial_number, now)
    revoked(revocation_list(blobs(files["pck_crl"])[0]), ca, leaf.serial_number, now)
    pck = _platform(leaf)
    info = _signed(files, "tcb_info", "tcb_chain", (root, root_crl), now)
    identity = _signed(files, "qe_identity", "qe_chain", (root, root_crl), now)
    require(info["id"] == "TDX" and info["version"] == 3, "TCB info is not for TDX")
    require(identity["id"] == "TD_QE" and identity["version"] == 2, "identity is not the TD QE's")
    require(bytes.fromhex(info["fmspc"]) == pck.fmspc, "FMSPC")
    require(bytes.fromhex(info["pceId"]) == pck.pce_id, "PCEID")
    ecdsa(pck.key, quote.qe_signature, quote.qe, SHA256(), "big")
    bound = hashlib.sha256(quote.key + quote.auth).digest() + bytes(32)
    require(quote.qe[320:384] == bound, "attestation key is not bound")
    qe_status = _enclave(quote.qe, identity)
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + quote.key)
    except ValueError as error:
        raise RefusedError("attestation key") from error
    ecdsa(point, quote.signature, quote.signed, SHA256(), "big")
    status = _status(quote.body, pck, info, qe_status)
    _policy(quote.body, info, identity, status, policy)
    return status


def parse(raw: bytes) -> Quote:
    """Take a quote apart; every length must fit, and only zeros may follow."""
    version, key_type = _uint(raw, 0, 2), _uint(raw, 2, 2)
    require(version in (4, 5) and key_type == 2 and _uint(raw, 4, 4) == 0x81, "header")
    require(raw[12:28] == VENDOR, "QE vendor")
    start, kind, size = 48, 2, 584
    if version == 5:
        start, kind, size = 54, _uint(raw, 48, 2), _uint(raw, 50, 4)
    require((kind, size) in ((2, 584), (3, 648)), "body")
    end = start + size
    data, rest = _block(raw, end, 4)
    require(not rest.strip(b"\0"), "something follows")
    require(_uint(data, 128, 2) == 6, "outer certification type")
    inner, rest = _block(data, 130, 4)
    require(not rest and len(inner) >= 450, "certification data")
    auth, rest = _block(inner, 448, 2)
    kind = _uint(rest, 0, 2)
    certification, rest = _block(rest, 2, 4)
    require(not rest, "certification data")
    return Quote(
        signed=raw[:end],
        body=raw[start:end],
        signature=data[:64],
        key=data[64:128],
        qe=inner[:384],
        qe_signature=inner[384:448],
        auth=auth,
        kind=kind,
        certification=certification,
    )


def _pck_chain(
    quote: Quote, files: Mapping[str, bytes], roots: Sequence[str], now: datetime
) -> list[x509.Certificate]:
    require(quote.kind in (1, 2, 3, 5), "certification type")
    pem = quote.certification if quote.kind == 5 else files.get("pck_chain")
    if pem is None:
        raise RefusedError("no PCK chain")
    read = [certificate(der) for der in blobs(pem)]
    require(len(read) == 3, "PCK chain")
    leaf, ca, root = read
    names = [common_name(one.subject) for one in read]
    require(names[0] == PCK and names[1] in PCK_AUTHORITIES and names[2] == ROOT, "names")
    chain(read, roots=roots, now=now, hash_name="sha256")
    return [leaf, ca, root]


def _signed(
    files: Mapping[str, bytes],
    name: str,
    chain_name: str,
    anchor: tuple[x509.Certificate, x509.CertificateRevocationList],
    now: datetime,
) -> dict[str, Any]:
    """JSON signed, as it stands, by Intel's TCB signing key."""
    root, root_crl = anchor
    read = [certificate(der) for der in blobs(files[chain_name])]
    require([common_name(one.subject) for one in read] == [TCB_SIGNING, ROOT], "signing chain")
    chain(read, roots=[spki_sha256(root)], now=now, hash_name="sha256")
    revoked(root_crl, root, read[0].serial_number, now)
    raw, hexed = files[name], files[f"{name}_sig"].strip()
    try:
        signature = bytes.fromhex(hexed.decode("ascii"))
        value = json.loads(raw, object_pairs_hook=_unique)
    except ValueError as error:
        raise RefusedError(name) from error
    ecdsa(read[0].public_key(), signature, raw, SHA256(), "big")
    issued, until = (datetime.fromisoformat(value[k]) for k in ("issueDate", "nextUpdate"))
    require(issued <= now <= until, f"{name}'s time")
    return dict(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "duplicated JSON key")
    return dict(pairs)


def _platform(leaf: x509.Certificate) -> Pck:
    found = [one.value for one in leaf.extensions if one.oid.dotted_string == SGX]
    require(len(found) == 1, "no SGX extension")
    assert isinstance(found[0], x509.UnrecognizedExtension)
    top = _pairs(_tlv(found[0].value, 0x30))
    tcb = _pairs(_tlv(top["2"], 0x30))
    return Pck(
        components=tuple(_number(tcb[f"2.{index}"]) for index in range(1, 17)),
        pce_svn=_number(tcb["2.17"]),
        pce_id=_tlv(top["3"], 4),
        fmspc=_tlv(top["4"], 4),
        key=leaf.public_key(),
    )


def _enclave(report: bytes, identity: Mapping[str, Any]) -> str:
    """The quoting enclave is Intel's; its status."""
    for name, at, size in (("miscselect", 16, 4), ("attributes", 48, 16)):
        wanted, mask = (bytes.fromhex(identity[key]) for key in (name, f"{name}Mask"))
        require(len(wanted) == len(mask) == size, name)
        masked = bytes(a & b for a, b in zip(report[at : at + size], mask, strict=True))
        require(masked == bytes(a & b for a, b in zip(wanted, mask, strict=True)), f"QE {name}")
    require(report[128:160] == bytes.fromhex(identity["mrsigner"]), "QE MRSIGNER")
    require(_uint(report, 256, 2) == identity["isvprodid"], "QE ISVPRODID")
    return _level(identity["tcbLevels"], _uint(report, 258, 2))


def _level(levels: Sequence[Mapping[str, Any]], svn: int) -> str:
    for level in levels:
        if svn >= level["tcb"]["isvsvn"]:
            return str(level["tcbStatus"])
    raise RefusedError("no TCB level of the enclave or module")


def _status(body: bytes, pck: Pck, info: Mapping[str, Any], qe: str) -> str:
    """Platform, module and QE in one word."""
    svn = body[:16]
    platform = _match(info, pck, svn)
    module = _module(body, info, svn)
    status = platform
    if len(body) == 648 and module == "OutOfDate":
        newer = _match(info, pck, body[584:600]) if platform == "OutOfDate" else platform
        if newer in RELAUNCH and _module(body, info, body[584:600]) == "UpToDate":
            status, module = RELAUNCH[newer], "UpToDate"
    for part in (module, qe):
        if part == "Revoked":
            status = "Revoked"
        elif part == "OutOfDate":
            status = OUT_OF_DATE.get(status, _folded(status))
    return status


def _folded(status: str) -> str:
    return {
        "TDRelaunchAdvised": "OutOfDate",
        "TDRelaunchAdvisedConfigurationNeeded": "OutOfDateConfigurationNeeded",
    }.get(status, status)


def _match(info: Mapping[str, Any], pck: Pck, svn: bytes) -> str:
    first = 2 if svn[1] else 0
    for level in info["tcbLevels"]:
        tcb = level["tcb"]
        sgx, tdx = ([one["svn"] for one in tcb[f"{kind}tcbcomponents"]] for kind in ("sgx", "tdx"))
        require(len(sgx) == len(tdx) == 16, "TCB level")
        if (
            all(a >= b for a, b in zip(pck.components, sgx, strict=True))
            and pck.pce_svn >= tcb["pcesvn"]
            and all(a >= b for a, b in zip(svn[first:], tdx[first:], strict=True))
        ):
            return str(level["tcbStatus"])
    raise RefusedError("no TCB level")


def _module(body: bytes, info: Mapping[str, Any], svn: bytes) -> str:
    """The TDX module is one that TCB info knows; its status."""
    module, levels = info["tdxModule"], None
    if svn[1]:
        wanted = f"TDX_{svn[1]:02X}"
        found = [one for one in info["tdxModuleIdentities"] if one["id"].upper() == wanted]
        require(len(found) == 1, "no such TDX module")
        module, levels = found[0], found[0]["tcbLevels"]
    require(body[64:112] == bytes.fromhex(module["mrsigner"]), "MRSIGNERSEAM")
    mask, wanted_bits = (bytes.fromhex(module[key]) for key in ("attributesMask", "attributes"))
    seam = body[112:120]
    require(bytes(a & b for a, b in zip(seam, mask, strict=True)) == wanted_bits, "SEAMATTRIBUTES")
    require(not any(a & ~b for a, b in zip(seam, mask, strict=True)), "SEAMATTRIBUTES")
    return "UpToDate" if levels is None else _level(levels, svn[0])


def _policy(
    body: bytes,
    info: Mapping[str, Any],
    identity: Mapping[str, Any],
    status: str,
    policy: Mapping[str, Any],
) -> None:
    require(policy.keys() <= POLICY, "policy has unknown keys")
    accepted = policy.get("accept_tcb_status", ["UpToDate"])
    require(status != "Revoked" and status in accepted, f"TCB status {status}")
    attributes = _uint(body, 120, 8)
    require(policy.get("allow_debug") or not attributes & 1, "debug")
    require(not attributes & 0xFE, "reserved TUD bits")
    require(not policy.get("require_sept_ve_disable") or attributes >> 28 & 1, "SEPT_VE_DISABLE")
    least = policy.get("min_tcb_eval", 0)
    numbers = [one["tcbEvaluationDataNumber"] for one in (info, identity)]
    require(min(numbers) >= least, "evaluation data number")
    for name, (at, size) in FIELDS.items():
        require(name not in policy or body[at : at + size].hex() == policy[name], name)


def _block(raw: bytes, at: int, width: int) -> tuple[bytes, bytes]:
    """What stands behind its length, and what follows."""
    size = _uint(raw, at, width)
    end = at + width + size
    require(end <= len(raw), "length runs over the end")
    return raw[at + width : end], raw[end:]


def _uint(raw: bytes, at: int, width: int) -> int:
    require(at + width <= len(raw), "too short")
    return int.from_bytes(raw[at : at + width], "little")


def _tlv(raw: bytes, tag: int) -> bytes:
    """The content of the one DER value that this is."""
    found = _items(raw)
    require(len(found) == 1 and found[0][0] == tag, "DER")
    return found[0][1]


def _items(raw: bytes) -> list[tuple[int, bytes, bytes]]:
    """Tag, content and whole encoding of each DER value."""
    found, at = [], 0
    while at < len(raw):
        require(at + 2 <= len(raw), "DER")
        size, head = raw[at + 1], 2
        if size & 0x80:
            head = 2 + (size & 0x7F)
            require(3 <= head <= 4 and at + head <= len(raw), "DER length")
            size = int.from_bytes(raw[at + 2 : at + head], "big")
        end = at + head + size
        require(end <= len(raw), "DER length")
        found.append((raw[at], raw[at + head : end], raw[at:end]))
        at = end
    return found


def _pairs(raw: bytes) -> dict[str, bytes]:
    """SEQUENCE OF { OID, value } by the OID's end behind Intel's prefix."""
    prefix = bytes.fromhex("2a864886f84d010d01")
    result: dict[str, bytes] = {}
    for tag, content, _ in _items(raw):
        require(tag == 0x30, "SGX extension")
        oid, value = _items(content)
        require(oid[0] == 6 and oid[1].startswith(prefix), "SGX extension")
        name = ".".join(map(str, oid[1][len(prefix) :]))
        require(name not in result, "SGX extension says it twice")
        result[name] = value[2]
    return result


def _number(raw: bytes) -> int:
    content = _tlv(raw, 2)
    require(content and content[0] < 0x80, "negative number")
    return int.from_bytes(content, "big")
