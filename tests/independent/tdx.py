"""Intel TDX for the independent checker: quotes of version 4 and 5 with their collateral.

Sources: Intel's "TDX DCAP Quoting Library API", "PCS API v4" and the order of checks of
its Quote Verification Library.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from independent import pki
from independent.pki import Json, RefusedError, certificates, chain, der, name, require, uint

ROOT, PCK, TCB_SIGNING = "Intel SGX Root CA", "Intel SGX PCK Certificate", "Intel SGX TCB Signing"
PCK_AUTHORITIES = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
Files = Mapping[str, bytes]
Platform = Mapping[str, tuple[int, bytes]]
SGX, SGX_DER = x509.ObjectIdentifier("1.2.840.113741.1.13.1"), bytes.fromhex("2a864886f84d010d01")
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
NAMES = ("mrtd", "mrconfigid", "mrowner", "mrownerconfig", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
FIELDS = {field: (at, 48) for field, at in zip(NAMES, range(136, 520, 48), strict=True)}
FIELDS |= {"mrseam": (16, 48), "report_data": (520, 64), "mrservicetd": (600, 48)}
POLICY = {*FIELDS, "accept_tcb_status", "allow_debug", "require_sept_ve_disable", "min_tcb_eval"}
CURRENT = {"UpToDate", "SWHardeningNeeded"}
CURRENT |= {"ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"}
STATUSES = CURRENT | {"OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"}


def check(raw: bytes, files: Files, root_spki: str, now: datetime, policy: Json) -> str:
    """The TCB status of a quote that is good in every other way, or refused."""
    # 1. The quote in its parts: every length must fit, and only zeros may follow.
    version = uint(raw, 0, 2)
    require(version in (4, 5) and raw[2:8] == b"\2\0\x81\0\0\0", "header")
    require(raw[12:28] == VENDOR, "QE vendor")
    start, kind, size = (48, 2, 584) if version == 4 else (54, uint(raw, 48, 2), uint(raw, 50, 4))
    require((kind, size) in ((2, 584), (3, 648)), "body")
    signed, body = raw[: start + size], raw[start : start + size]
    data, rest = _block(raw, start + size, 4)
    require(not rest.strip(b"\0") and uint(data, 128, 2) == 6, "something follows")
    inner, rest = _block(data, 130, 4)
    auth, certification = _block(inner, 448, 2)
    kind, (pem, end) = uint(certification, 0, 2), _block(certification, 2, 4)
    require(not rest and not end and kind in (1, 2, 3, 5), "certification data")
    attestation_key, qe = data[64:128], inner[:384]
    # 2. The platform's certificates, and whether they were withdrawn.
    leaf, ca, root = certificates(pem if kind == 5 else files["pck_chain"])
    require((name(leaf), name(root)) == (PCK, ROOT) and name(ca) in PCK_AUTHORITIES, "names")
    chain([leaf, ca, root], {root_spki}, now, "sha256")
    pki.revoked(files["root_crl"], root, ca.serial_number, now)
    pki.revoked(files["pck_crl"], ca, leaf.serial_number, now)
    # 3. What Intel signed about such platforms, and about the quoting enclave.
    info = _signed(files, "tcb_info", root, now)
    identity = _signed(files, "qe_identity", root, now)
    require((info["id"], info["version"]) == ("TDX", 3), "TCB info is not for TDX")
    require((identity["id"], identity["version"]) == ("TD_QE", 2), "identity is not the TD QE's")
    platform = _platform(leaf)
    require(platform["4"] == (4, bytes.fromhex(info["fmspc"])), "FMSPC")
    require(platform["3"] == (4, bytes.fromhex(info["pceId"])), "PCEID")
    # 4. The platform signed the quoting enclave, which vouches for the key that signed.
    pki.ecdsa(leaf.public_key(), inner[384:448], qe, SHA256(), "big")
    bound = hashlib.sha256(attestation_key + auth).digest() + bytes(32)
    require(qe[320:384] == bound, "attestation key is not bound")
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + attestation_key)
    pki.ecdsa(point, data[:64], signed, SHA256(), "big")
    # 5. How new all of this is, and the policy.
    status = _status(body, platform, info, _enclave(qe, identity))
    evaluated = min(one["tcbEvaluationDataNumber"] for one in (info, identity))
    require(evaluated >= policy.get("min_tcb_eval", 0), "evaluation data number")
    _policy(body, status, policy)
    return status


def _block(raw: bytes, at: int, width: int) -> tuple[bytes, bytes]:
    """What stands behind its length, and what follows."""
    end = at + width + uint(raw, at, width)
    require(end <= len(raw), "length runs over the end")
    return raw[at + width : end], raw[end:]


def _signed(files: Files, role: str, root: x509.Certificate, now: datetime) -> Json:
    """JSON signed, as it stands, by Intel's TCB signing key."""
    read = certificates(files[role.split("_", maxsplit=1)[0] + "_chain"])
    read.sort(key=lambda one: name(one) == ROOT)  # in any order, unlike a chain in a quote
    require([name(one) for one in read] == [TCB_SIGNING, ROOT], "signing chain")
    chain(read, {pki.spki_sha256(root)}, now, "sha256")
    pki.revoked(files["root_crl"], root, read[0].serial_number, now)
    signature = bytes.fromhex(files[f"{role}_sig"].strip().decode("ascii"))
    require(len(signature) == 64, "signature's length")
    pki.ecdsa(read[0].public_key(), signature, files[role], SHA256(), "big")
    value = json.loads(files[role], object_pairs_hook=_unique)
    issued, until = (datetime.fromisoformat(value[k]) for k in ("issueDate", "nextUpdate"))
    require(issued <= now <= until, f"{role}'s time")
    return dict(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "duplicated JSON key")
    return dict(pairs)


def _platform(leaf: x509.Certificate) -> Platform:
    """Intel's extension: tag and content by the end of the OID; "2.1" to "2.17" are the TCB."""
    ((_, content),) = der(leaf.extensions.get_extension_for_oid(SGX).value.value)  # type: ignore[attr-defined]
    found: dict[str, tuple[int, bytes]] = {}
    pairs = der(content)
    while pairs:
        _, pair = pairs.pop()
        (tag, oid), value = der(pair)
        key = ".".join(map(str, oid.removeprefix(SGX_DER)))
        require(tag == 6 and oid.startswith(SGX_DER) and key not in found, "SGX extension")
        found[key] = value
        pairs += der(value[1]) if key == "2" else []
    return found


def _svn(value: tuple[int, bytes]) -> int:
    tag, content = value
    require(tag == 2 and content and content[0] < 0x80, "SVN")
    return int.from_bytes(content, "big")


def _masked(found: bytes, wanted: Json, field: str) -> None:
    """Equal in the bits of the mask, and both of the field's size."""
    value, mask = bytes.fromhex(wanted[field]), bytes.fromhex(wanted[f"{field}Mask"])
    for a, b, m in zip(found, value, mask, strict=True):
        require(a & m == b & m, field)


def _enclave(report: bytes, identity: Json) -> str:
    """The quoting enclave is Intel's; its status."""
    _masked(report[16:20], identity, "miscselect")
    _masked(report[48:64], identity, "attributes")
    require(report[128:160] == bytes.fromhex(identity["mrsigner"]), "QE MRSIGNER")
    require(uint(report, 256, 2) == identity["isvprodid"], "QE ISVPRODID")
    return _level(identity["tcbLevels"], uint(report, 258, 2))


def _level(levels: Sequence[Json], svn: int) -> str:
    found = [level["tcbStatus"] for level in levels if svn >= level["tcb"]["isvsvn"]]
    require(found, "no TCB level of the enclave or module")
    return str(found[0])


def _module(body: bytes, info: Json, svn: bytes) -> str:
    """The TDX module is one that TCB info knows; its status."""
    module, levels = info["tdxModule"], None
    if svn[1]:
        identities, wanted = info["tdxModuleIdentities"], f"TDX_{svn[1]:02X}"
        (module,) = (one for one in identities if one["id"].upper() == wanted)
        levels = module["tcbLevels"]
    require(body[64:112] == bytes.fromhex(module["mrsigner"]), "MRSIGNERSEAM")
    _masked(body[112:120], module, "attributes")
    mask = bytes.fromhex(module["attributesMask"])
    require(not any(a & ~m for a, m in zip(body[112:120], mask, strict=True)), "SEAMATTRIBUTES")
    return "UpToDate" if levels is None else _level(levels, svn[0])


def _match(info: Json, pck: Platform, svn: bytes) -> str:
    """The status of the first level that the platform reaches in every component."""
    cpu, pce = [_svn(pck[f"2.{index}"]) for index in range(1, 17)], _svn(pck["2.17"])
    first = 2 if svn[1] else 0
    for level in info["tcbLevels"]:
        tcb = level["tcb"]
        sgx, tdx = ([one["svn"] for one in tcb[f"{kind}tcbcomponents"]] for kind in ("sgx", "tdx"))
        require(len(sgx) == len(tdx) == 16, "TCB level")
        have, want = [*cpu, *svn[first:], pce], [*sgx, *tdx[first:], tcb["pcesvn"]]
        if all(a >= b for a, b in zip(have, want, strict=True)):
            require(level["tcbStatus"] in STATUSES, "unknown TCB status")
            return str(level["tcbStatus"])
    raise RefusedError("no TCB level")


def _status(body: bytes, pck: Platform, info: Json, qe: str) -> str:
    """Platform, module and quoting enclave in one word."""
    platform, module = _match(info, pck, body[:16]), _module(body, info, body[:16])
    status = platform
    if len(body) == 648 and module == "OutOfDate":
        # A newer module runs already; the guest would be up to date if it was launched again.
        newer = _match(info, pck, body[584:600]) if platform == "OutOfDate" else platform
        if newer in CURRENT and _module(body, info, body[584:600]) == "UpToDate":
            status, module = _configured("TDRelaunchAdvised", newer), "UpToDate"
    if "Revoked" in (status, module, qe):
        return "Revoked"
    return _configured("OutOfDate", status) if "OutOfDate" in (module, qe) else status


def _configured(word: str, status: str) -> str:
    return word + ("ConfigurationNeeded" if "Configuration" in status else "")


def _policy(body: bytes, status: str, policy: Json) -> None:
    require(policy.keys() <= POLICY, "policy has unknown keys")
    accepted = policy.get("accept_tcb_status", ["UpToDate"])
    require(status != "Revoked" and status in accepted, f"TCB status {status}")
    attributes = uint(body, 120, 8)
    require(policy.get("allow_debug") or not attributes & 1, "debug")
    require(not attributes & 0xFE, "reserved TUD bits")
    require(not policy.get("require_sept_ve_disable") or attributes >> 28 & 1, "SEPT_VE_DISABLE")
    for field, (at, size) in FIELDS.items():
        require(policy.get(field) in (None, body[at : at + size].hex()), field)
