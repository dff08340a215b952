"""AMD SEV-SNP for the independent checker: AMD 56860 (report), AMD 57230 (certificates)."""

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

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
    rsa_4096,
)

SIZE = 0x4A0
AMD = "1.3.6.1.4.1.3704.1."
MILAN = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
COMPONENTS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
FIELDS = {
    "family_id": (0x10, 16),
    "image_id": (0x20, 16),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "chip_id": (0x1A0, 64),
}
DIGITS = {*FIELDS, "author_key_digest"}
POLICY = DIGITS | {
    "vmpl",
    "allow_debug",
    "allow_migrate_ma",
    "min_tcb",
    "min_guest_svn",
    "require_author_key",
    "forbid_smt",
    "forbid_provisional",
}


def check(
    raw: bytes,
    certs: Sequence[bytes],
    crls: Sequence[bytes],
    *,
    roots: Mapping[str, str],
    now: datetime,
    policy: Mapping[str, Any],
) -> None:
    """Everything about one report, or `RefusedError`. `roots` is SHA-256 of SPKI by product."""
    _format(raw)
    vek, product = _chain(certs, crls, roots, now)
    _identity(raw, vek, product, roots)
    key = vek.public_key()
    require(isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1", "key")
    r, s = raw[0x2A0:0x2E8], raw[0x2E8:0x330]
    ecdsa(key, r[:48] + s[:48], raw[:0x2A0], SHA384(), "little")
    _policy(raw, product, policy)


def _format(raw: bytes) -> None:
    require(len(raw) == SIZE, "length")
    version, algorithm, signer = (_u32(raw, at) for at in (0x00, 0x34, 0x48))
    require(version in (2, 3, 4, 5), "version")
    require(algorithm == 1, "signature algorithm")
    require(signer >> 5 == 0, "signer's reserved bits")
    require(signer >> 2 & 7 != 7, "unsigned")
    require(signer >> 2 & 7 in (0, 1), "signing key")
    policy = _u64(raw, 0x08)
    require(policy >> 17 & 1 and policy >> 26 == 0, "guest policy's reserved bits")
    zero = [(0x4C, 0x50), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, 0x2A0)]
    zero += [(0x2D0, 0x2E8), (0x318, 0x330), (0x330, SIZE)]
    zero += [(0x188, 0x18B)] if version == 2 else []
    zero += [(0x1F8, 0x208)] if version < 5 else []
    require(not any(any(raw[start:end]) for start, end in zero), "reserved bytes")
    require(_u32(raw, 0x30) <= 3, "VMPL")


def _chain(
    certs: Sequence[bytes], crls: Sequence[bytes], roots: Mapping[str, str], now: datetime
) -> tuple[x509.Certificate, str]:
    """VEK, intermediate, root, by their names; the product is the root's."""
    read = [certificate(der) for raw in certs for der in blobs(raw)]
    by_name = {common_name(one.subject): one for one in read}
    veks = [name for name in by_name if name in ("SEV-VCEK", "SEV-VLEK")]
    require(len(veks) == 1, "not one VEK")
    vek = by_name[veks[0]]
    products = [name for name in roots if f"ARK-{name}" in by_name]
    require(len(products) == 1, "not one root")
    product = products[0]
    prefix = "SEV-VLEK-" if veks[0] == "SEV-VLEK" else "SEV-"
    intermediate = by_name.get(prefix + product)
    if intermediate is None:
        raise RefusedError("no intermediate of this product and kind")
    ark = by_name[f"ARK-{product}"]
    require(rsa_4096(ark) and rsa_4096(intermediate), "authority's key")
    chain([vek, intermediate, ark], roots={roots[product]}, now=now, hash_name="sha384")
    for raw in crls:
        for der in blobs(raw):
            revoked(revocation_list(der), ark, intermediate.serial_number, now)
    return vek, product


def _identity(raw: bytes, vek: x509.Certificate, product: str, roots: Mapping[str, str]) -> None:
    """The report is of the chip, firmware and kind that the certificate was made for."""
    values = _amd_extensions(vek)
    vlek = common_name(vek.subject) == "SEV-VLEK"
    flags = _u32(raw, 0x48)
    require(flags >> 2 & 7 == int(vlek), "signing key is of the other kind")
    require(("5" in values) is vlek and ("4" in values) is not vlek, "VEK's extensions")
    if _u32(raw, 0) > 2:
        require(_product(raw[0x188], raw[0x189], roots) == product, "product")
    named = values.get("2", b"")
    require(len(named) > 2 and named[:2] == bytes((0x16, len(named) - 2)), "product name")
    require(named[2:].decode("ascii", "replace").split("-")[0] == product, "VEK's product")
    layout = _layout(product)
    for name, at in layout.items():
        require(_integer(values.get(COMPONENTS[name], b"")) == raw[0x180 + at], f"TCB {name}")
    require(not any(raw[0x180 + at] for at in set(range(8)) - set(layout.values())), "TCB")
    if vlek:
        return
    chip, hwid = raw[0x1A0:0x1E0], values["4"]
    require(len(hwid) == (8 if product == "Turin" else 64), "HWID's size")
    masked = flags & 2 and not any(chip)
    require(masked or chip == hwid.ljust(64, b"\0"), "another chip")


def _policy(raw: bytes, product: str, policy: Mapping[str, Any]) -> None:
    require(policy.keys() <= POLICY, "policy has unknown keys")
    guest = _u64(raw, 0x08)
    require(policy.get("allow_debug") or not guest >> 19 & 1, "debug")
    require(policy.get("allow_migrate_ma") or not guest >> 18 & 1, "migration agent")
    require("vmpl" not in policy or _u32(raw, 0x30) == policy["vmpl"], "VMPL")
    for name, (at, size) in FIELDS.items():
        require(name not in policy or raw[at : at + size].hex() == policy[name], name)
    author_key = _u32(raw, 0x48) & 1
    digest = raw[0x110:0x140] if author_key else bytes(48)
    require(policy.get("author_key_digest") in (None, digest.hex()), "author key digest")
    require(author_key or not policy.get("require_author_key"), "no author key")
    require(_u32(raw, 0x04) >= policy.get("min_guest_svn", 0), "guest SVN")
    require(not policy.get("forbid_smt") or not raw[0x40] & 1, "SMT")
    layout = _layout(product)
    for name, least in policy.get("min_tcb", {}).items():
        require(name in layout and raw[0x180 + layout[name]] >= least, f"minimum TCB {name}")
    if policy.get("forbid_provisional"):
        require(raw[0x1E0:0x1E8] == raw[0x38:0x40], "provisional TCB")
        require(raw[0x1E8:0x1EB] == raw[0x1EC:0x1EF], "provisional firmware")


def _layout(product: str) -> dict[str, int]:
    return TURIN if product == "Turin" else MILAN


def _product(family: int, model: int, roots: Mapping[str, str]) -> str:
    if family == 0x19 and model <= 0x0F:
        return "Milan"
    if family == 0x19 and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):
        return "Genoa"
    if family == 0x1A and model <= 0x11:
        return "Turin"
    # The project's development root says FFh, which no product of AMD's has.
    if (family, model) == (0xFF, 0xFF) and "Simulated" in roots:
        return "Simulated"
    raise RefusedError("unknown family and model")


def _amd_extensions(vek: x509.Certificate) -> dict[str, bytes]:
    return {
        one.oid.dotted_string.removeprefix(AMD): one.value.value
        for one in vek.extensions
        if one.oid.dotted_string.startswith(AMD)
        and isinstance(one.value, x509.UnrecognizedExtension)
    }


def _integer(der: bytes) -> int:
    """A DER INTEGER of 0 to 255."""
    require(len(der) in (3, 4) and der[:2] == bytes((2, len(der) - 2)), "SVN")
    require(len(der) == 3 or (der[2] == 0 and der[3] >= 0x80), "SVN")
    require(len(der) == 4 or der[2] < 0x80, "SVN")
    return der[-1]


def _u32(raw: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", raw, at)[0])


def _u64(raw: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", raw, at)[0])
