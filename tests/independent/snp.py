"""AMD SEV-SNP for the independent checker: AMD 56860 (report), AMD 57230 (certificates)."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA384

from independent.pki import Json, certificates, chain, der, ecdsa, name, require, revoked, uint

Files = Mapping[str, Sequence[bytes]]
SIZE = 0x4A0
AMD = "1.3.6.1.4.1.3704.1."
OLDER = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
COMPONENTS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
LINES = [(0x19, range(0x10), "Milan"), (0x19, range(0x10, 0x20), "Genoa")]
LINES += [(0x19, range(0xA0, 0xB0), "Genoa"), (0x1A, range(0x12), "Turin")]
FIELDS = {"family_id": (0x10, 16), "image_id": (0x20, 16), "report_data": (0x50, 64)}
FIELDS |= {"measurement": (0x90, 48), "host_data": (0xC0, 32), "id_key_digest": (0xE0, 48)}
FIELDS |= {"chip_id": (0x1A0, 64)}
POLICY = {*FIELDS, "author_key_digest", "vmpl", "allow_debug", "allow_migrate_ma", "min_tcb"}
POLICY |= {"min_guest_svn", "require_author_key", "forbid_smt", "forbid_provisional"}
POLICY |= {"csp_id", "require_crl"}


def check(raw: bytes, files: Files, roots: Json, now: datetime, policy: Json) -> None:
    """Everything about one report, or refused. `roots` is SHA-256 of SPKI by product."""
    # 1. The form: version, algorithm, a signer that signs, and zeros where zeros must be.
    require(len(raw) == SIZE, "length")
    version, flags, guest = uint(raw, 0, 4), uint(raw, 0x48, 4), uint(raw, 0x08, 8)
    require(version in (2, 3, 4, 5) and uint(raw, 0x34, 4) == 1, "version or algorithm")
    require(flags >> 5 == 0 and flags >> 2 & 7 in (0, 1), "signing key")
    require(guest >> 17 & 1 and guest >> 26 == 0, "guest policy's reserved bits")
    zero = [(0x4C, 0x50), (0x18B, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0), (0x208, 0x2A0)]
    zero += [(0x2D0, 0x2E8), (0x318, SIZE), (0x188, 0x18B if version == 2 else 0x188)]
    zero += [(0x1F8, 0x208 if version < 5 else 0x1F8)]
    require(not any(any(raw[start:end]) for start, end in zero), "reserved bytes")
    require(uint(raw, 0x30, 4) <= 3, "VMPL")
    # 2. The chain, by its names; the product is the root's.
    by_name = {name(one): one for file in files["certs"] for one in certificates(file)}
    (leaf,) = by_name.keys() & {"SEV-VCEK", "SEV-VLEK"}
    (product,) = (line for line in roots if f"ARK-{line}" in by_name)
    vek, ark = by_name[leaf], by_name[f"ARK-{product}"]
    ask = by_name[("SEV-" if leaf == "SEV-VCEK" else "SEV-VLEK-") + product]
    for key in (ark.public_key(), ask.public_key()):
        require(isinstance(key, rsa.RSAPublicKey) and key.key_size == 4096, "authority's key")
    chain([vek, ask, ark], {roots[product]}, now, "sha384")
    for crl in files.get("crls", []):
        for one in (ask, ark):
            revoked(crl, ark, one.serial_number, now)
    require(files.get("crls") or not policy.get("require_crl"), "no revocation list")
    # 3. Report and certificate are of one chip, firmware and kind; 4. the signature.
    layout = TURIN if product == "Turin" else OLDER
    _identity(raw, vek, product, layout, policy)
    require(getattr(vek.public_key(), "key_size", 0) == 384, "VEK's key")
    signature = raw[0x2A0:0x2D0] + raw[0x2E8:0x318]
    ecdsa(vek.public_key(), signature, raw[:0x2A0], SHA384(), "little")
    _policy(raw, layout, policy)


def _identity(raw: bytes, vek: x509.Certificate, product: str, layout: Json, policy: Json) -> None:
    values = {
        one.oid.dotted_string.removeprefix(AMD): one.value.value
        for one in vek.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
    }
    flags, vlek = uint(raw, 0x48, 4), name(vek) == "SEV-VLEK"
    require(flags >> 2 & 7 == int(vlek), "signing key is of the other kind")
    require(("5" in values, "4" in values) == (vlek, not vlek), "VEK's extensions")
    if uint(raw, 0, 4) > 2:
        family, model = raw[0x188], raw[0x189]
        found = [line for number, models, line in LINES if number == family and model in models]
        # The project's development root says FFh, which no product of AMD's has.
        found += ["Simulated"] if (family, model) == (0xFF, 0xFF) else []
        require(found == [product], "product")
    ((tag, named),) = der(values["2"])
    require(tag == 0x16 and named.split(b"-")[0] == product.encode(), "VEK's product")
    for component, at in layout.items():
        # A DER INTEGER in its shortest form; 128 and more have a zero in front.
        svn = raw[0x180 + at]
        wanted = bytes((2, 1, svn)) if svn < 0x80 else bytes((2, 2, 0, svn))
        require(values[COMPONENTS[component]] == wanted, f"TCB {component}")
    require(not any(raw[0x180 + at] for at in {*range(8)} - {*layout.values()}), "TCB")
    if "csp_id" in policy:
        require(vlek and values["5"][2:] == policy["csp_id"].encode(), "cloud")
    if not vlek:
        chip, hwid = raw[0x1A0:0x1E0], values["4"]
        require(len(hwid) == (8 if product == "Turin" else 64), "HWID's size")
        masked = flags & 2 and not any(chip)
        require(masked or chip == hwid.ljust(64, b"\0"), "another chip")


def _policy(raw: bytes, layout: Json, policy: Json) -> None:
    require(policy.keys() <= POLICY, "policy has unknown keys")
    guest, flags = uint(raw, 0x08, 8), uint(raw, 0x48, 4)
    require(policy.get("allow_debug") or not guest >> 19 & 1, "debug")
    require(policy.get("allow_migrate_ma") or not guest >> 18 & 1, "migration agent")
    require(policy.get("vmpl") in (None, uint(raw, 0x30, 4)), "VMPL")
    for field, (at, size) in FIELDS.items():
        require(policy.get(field) in (None, raw[at : at + size].hex()), field)
    author = raw[0x110:0x140] if flags & 1 else bytes(48)
    require(policy.get("author_key_digest") in (None, author.hex()), "author key digest")
    require(flags & 1 or not policy.get("require_author_key"), "no author key")
    require(uint(raw, 0x04, 4) >= policy.get("min_guest_svn", 0), "guest SVN")
    require(not policy.get("forbid_smt") or not raw[0x40] & 1, "SMT")
    for component, least in policy.get("min_tcb", {}).items():
        require(raw[0x180 + layout[component]] >= least, f"minimum TCB {component}")
    if policy.get("forbid_provisional"):
        require(raw[0x1E0:0x1E8] == raw[0x38:0x40], "provisional TCB")
        require(raw[0x1E8:0x1EB] == raw[0x1EC:0x1EF], "provisional firmware")
