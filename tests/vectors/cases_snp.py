"""Cases of the seven SEV-SNP kinds."""

import base64
import hashlib
import uuid
from typing import Any

from atoll.evidence.cert_table import ARK, ASK, CertificateTable
from atoll.evidence.cert_table import VCEK as VCEK_GUID
from support import id_block, ovmf
from vectors import amd
from vectors.amd import MONTH, NOW, VLEK, YEAR, Chain
from vectors.bundle import Bundle

PRODUCTS = ("Milan", "Genoa", "Turin")
ROOTS = {product: amd.spki_sha256("ark") for product in PRODUCTS}
MEASURED = {
    # Computed with sev-snp-measure 0.0.13, which shares no code with this project.
    "plain": "011b3a9194e7585a5778d581b5794f1f0e8387fa50cbbd9d"
    "f6e1f75439f851e9fade45e36740bae01f204af0819a27f7",
    "direct": "b81e2b4dfde2b36a32b5e09634a2e0b102366a421ec3e19a"
    "914aaf7e9af2a515bc9918ba29621016d28ae2ff1c35d656",
    "ec2": "325e167d827ca0572f7448f9e203db9546fc5d34ea586df1"
    "4d0f56087f15477cf0433ae6c66417bf3c7da750d5e7b57f",
}


def add_all(bundle: Bundle) -> None:
    """Every case of these kinds."""
    for add in (_reports, _bad_reports, _bad_chains, _policies, _extended, _parse):
        add(bundle)
    for add in (_chains, _crls, _id_blocks, _launches):
        add(bundle)


def _report(
    bundle: Bundle,
    name: str,
    chain: Chain,
    reason: str = "",
    *,
    raw: bytes | None = None,
    crls: tuple[bytes, ...] = (),
    certs: list[bytes] | None = None,
    policy: dict[str, Any] | None = None,
    **more: Any,
) -> None:
    bundle.add(
        "snp_report",
        f"own-snp-{name}",
        chain.report() if raw is None else raw,
        reason,
        files={"certs": chain.certificates() if certs is None else certs, "crls": list(crls)},
        policy={"vmpl": 0} | (policy or {}),
        product=chain.product,
        trusted_roots=ROOTS,
        **({"at": NOW} | more),
    )


def _reports(bundle: Bundle) -> None:
    for product in PRODUCTS:
        chain = Chain(product=product)
        lower = product.lower()
        _report(bundle, f"{lower}-v3", chain, crls=(chain.crl(0x999),))
        mitigations = {"launch_mit_vector": 1, "current_mit_vector": 3}
        _report(bundle, f"{lower}-v5", chain, raw=chain.report(version=5, **mitigations))
        _report(bundle, f"{lower}-vlek", Chain(product=product, signer=VLEK))
    milan = Chain()
    text = "-----BEGIN X509 CRL-----\n%s-----END X509 CRL-----\n"
    crl = text % base64.encodebytes(milan.crl(0x999)).decode()
    _report(bundle, "crl-pem", milan, crls=(crl.encode(),), policy={"require_crl": True})
    vlek = Chain(signer=VLEK)
    _report(bundle, "csp-match", vlek, policy={"csp_id": "CN=cc.example.invalid"})
    _report(bundle, "csp-other", vlek, "snp.csp_id", policy={"csp_id": "CN=cc.example.com"})
    _report(bundle, "csp-none", milan, "snp.csp_id", policy={"csp_id": "CN=cc.example.invalid"})
    no_cpuid = {"version": 2, "cpuid_fam_id": 0, "cpuid_mod_id": 0}
    _report(bundle, "milan-v2", milan, raw=milan.report(**no_cpuid))
    _report(bundle, "milan-v4", milan, raw=milan.report(version=4))
    masked = milan.report(mask_chip_key=True, chip_id=bytes(64))
    _report(bundle, "milan-masked-chip", milan, raw=masked)
    later = milan.report(platform_info=0x65)
    notes = "PLATFORM_INFO bit 6, which genuine Turin chips set"
    _report(bundle, "milan-unknown-platform-bit", milan, raw=later, notes=notes)


def _bad_reports(bundle: Bundle) -> None:
    milan, turin = Chain(), Chain(product="Turin")
    good, body = milan.report(), milan.body().to_bytes()
    _report(bundle, "empty", milan, "snp.report", raw=b"")
    _report(bundle, "truncated", milan, "snp.report", raw=good[:-1])
    _report(bundle, "trailing-byte", milan, "snp.report", raw=good + b"\0")
    _report(bundle, "text", milan, "snp.report", raw=good.hex().encode())
    _report(bundle, "version-6", milan, "snp.report", raw=b"\6" + good[1:])
    _report(bundle, "sig-bigendian", milan, "snp.signature", raw=amd.sign(body, "big"))
    for at, what in ((0x90, "measurement"), (0x50, "reportdata"), (0x2A0, "sig-r"), (0x140, "id")):
        _report(bundle, f"flip-{what}", milan, "snp.signature", raw=flip(good, at))
    _report(bundle, "reserved-tail", milan, "snp.report", raw=flip(good, 0x49F))
    reserved = amd.sign(flip(body, 0x208))
    _report(bundle, "reserved-signed", milan, "snp.report", raw=reserved)
    _report(bundle, "signer-none", milan, "snp.signer", raw=milan.report(signing_key=7))
    claims = milan.report(signing_key=VLEK)
    _report(bundle, "vcek-claims-vlek", milan, "snp.signer", raw=claims)
    genoa_cpu = milan.report(cpuid_mod_id=0x11)
    _report(bundle, "fms-genoa", milan, "snp.product", raw=genoa_cpu)
    for name, change in (("higher", 25), ("lower", 23)):
        raw = milan.report(reported_tcb=amd.tcb("Milan", snp=change))
        _report(bundle, f"tcb-{name}", milan, "snp.tcb_match", raw=raw)
    layout = turin.report(reported_tcb=amd.tcb("Milan"))
    _report(bundle, "turin-milan-tcb-layout", turin, "snp.tcb_match", raw=layout)
    _report(bundle, "chip-other", milan, "snp.hwid", raw=milan.report(chip_id=b"\2" * 64))
    zero = milan.report(chip_id=bytes(64))
    _report(bundle, "zero-chip-unmasked", milan, "snp.hwid", raw=zero)
    tail = turin.report(chip_id=turin.chip[:8].ljust(64, b"\1"))
    _report(bundle, "turin-chip-tail", turin, "snp.hwid", raw=tail)


def _bad_chains(bundle: Bundle) -> None:
    milan = Chain()
    certs = milan.certificates()
    _report(bundle, "lookalike-root", Chain(root="other-ark"), "snp.root")
    _report(bundle, "missing-ask", milan, "snp.chain", certs=[certs[0], certs[2]])
    _report(bundle, "no-certs", milan, "snp.chain", certs=[])
    edited = [flip(certs[0], len(certs[0]) - 600), *certs[1:]]
    _report(bundle, "vcek-edited", milan, "snp.chain", certs=edited)
    _report(bundle, "ask-not-ca", Chain(ca=False), "snp.chain")
    _report(bundle, "unknown-critical", Chain(critical="1.2.3.4.5"), "snp.chain")
    _report(bundle, "vcek-with-csp", Chain(csp=True), "snp.chain")
    for name, value in (
        ("svn-not-minimal", b"\2\2\0\x18"),
        ("svn-octet-string", b"\4\1\x18"),
        ("svn-trailing", b"\2\1\x18\0"),
        ("svn-256", b"\2\2\1\x18"),
    ):
        _report(bundle, name, Chain(override=(("3.3", value),)), "snp.chain")
    _report(bundle, "vlek-with-hwid", Chain(signer=VLEK, hwid=True), "snp.chain")
    by_ask = Chain(signer=VLEK, issuer="SEV-Milan")
    swapped = [by_ask.vek(), Chain().authority(), by_ask.ark()]
    _report(bundle, "vlek-by-ask", by_ask, "snp.chain", certs=swapped)
    _report(bundle, "vcek-expired", Chain(until=NOW - MONTH), "snp.chain")
    _report(bundle, "ask-expired", Chain(authority_until=NOW - MONTH), "snp.chain")
    _report(bundle, "before-vcek", milan, "snp.chain", at=NOW - YEAR - MONTH)
    _report(bundle, "ask-revoked", milan, "snp.crl", crls=(milan.crl(0x10001),))
    _report(bundle, "ark-revoked", milan, "snp.crl", crls=(milan.crl(0x10000),))
    _report(bundle, "crl-expired", milan, "snp.crl", crls=(milan.crl(until=NOW - MONTH),))
    _report(bundle, "crl-forged", milan, "snp.crl", crls=(milan.crl(key="ask"),))
    other = milan.crl(issuer="ARK-Genoa")
    _report(bundle, "crl-other-product", milan, "snp.crl", crls=(other,))
    genoa = Chain(product="Genoa").certificates()
    _report(bundle, "genoa-chain", milan, "snp.product", certs=genoa)


def _policies(bundle: Bundle) -> None:
    milan = Chain()
    body = milan.body()
    other_s = amd.sign(body.to_bytes(), other_s=True)
    _report(bundle, "sig-malleated", milan, raw=other_s, notes="as good as the first one")
    match = {
        "measurement": body.measurement.hex(),
        "report_data": body.report_data.hex(),
        "host_data": body.host_data.hex(),
        "min_tcb": {"bootloader": 4, "tee": 2, "snp": 24, "microcode": 219},
        "min_guest_svn": 2,
    }
    _report(bundle, "pol-all-match", milan, policy=match)
    prefix = (body.report_data[:32] + bytes(32)).hex()
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "measurement": ("snp.measurement", {"measurement": "5b" * 48}),
        "reportdata-prefix": ("snp.report_data", {"report_data": prefix}),
        "hostdata": ("snp.host_data", {"host_data": "01" * 32}),
        "mintcb-trap": ("snp.tcb.bootloader", {"min_tcb": {"bootloader": 5, "microcode": 200}}),
        "svn": ("snp.guest_svn", {"min_guest_svn": 3}),
        "smt": ("snp.platform.forbidden", {"forbid_smt": True}),
        "authorkey": ("snp.author_key_en", {"require_author_key": True}),
    }
    for name, (reason, policy) in wrong.items():
        _report(bundle, f"pol-{name}", milan, reason, policy=policy)
    _report(bundle, "vmpl-1", milan, "snp.vmpl", raw=milan.report(vmpl=1))
    _report(bundle, "debug", milan, "snp.debug", raw=milan.report(policy=0xB0000))
    _report(bundle, "migrate-ma", milan, "snp.migrate_ma", raw=milan.report(policy=0x70000))
    digest = b"\x0a" * 48
    policy = {"author_key_digest": digest.hex(), "require_author_key": True}
    enabled = milan.report(author_key_en=True, author_key_digest=digest)
    _report(bundle, "author-ok", milan, raw=enabled, policy=policy)
    unproven = milan.report(author_key_digest=digest)
    name = "author-digest-without-bit"
    _report(bundle, name, milan, "snp.author_key", raw=unproven, policy=policy)
    old = milan.report(committed_tcb=amd.tcb("Milan", snp=23))
    forbid = {"forbid_provisional": True}
    _report(bundle, "provisional", milan, "snp.provisional", raw=old, policy=forbid)


def _extended(bundle: Bundle) -> None:
    milan = Chain()
    vcek, ask, ark = milan.certificates()
    extra = uuid.UUID("ecae0c0f-9502-43b1-afa2-0ae2e0d565b6")
    full = ((VCEK_GUID, vcek), (ASK, ask), (ARK, ark), (extra, b"platform"))
    table = CertificateTable(entries=full).to_bytes()
    in_pem = tuple((guid, _pem(der)) for guid, der in full[:3])
    only_vcek = CertificateTable(entries=full[:1]).to_bytes()
    over = bytearray(table)
    over[24 + 16 : 24 + 20] = over[16:20]
    guid_swapped = VCEK_GUID.bytes_le + table[16:]
    report, lookalike = milan.report(), Chain(root="other-ark").certificates()
    hostile = tuple(zip((VCEK_GUID, ASK, ARK), lookalike, strict=True))
    cases: dict[str, tuple[bytes, str, list[bytes]]] = {
        "table": (report + table, "", []),
        "pem": (report + CertificateTable(entries=in_pem).to_bytes(), "", []),
        "padded": (report + table + bytes(64), "", []),
        "only-vcek": (report + only_vcek, "", [ask, ark]),
        "flip-report": (flip(report, 0x90) + table, "snp.signature", []),
        "unterminated": (report + table[:72], "snp.cert_table", []),
        "overlapping": (report + bytes(over), "snp.cert_table", []),
        "guid-little-endian": (report + guid_swapped, "snp.chain", []),
        "no-table": (report, "snp.cert_table", []),
        "root-from-table": (
            report + CertificateTable(entries=hostile).to_bytes(),
            "snp.root",
            [],
        ),
    }
    for name, (raw, reason, certs) in cases.items():
        files = {"certs": certs}
        options: dict[str, Any] = {"files": files, "policy": {"vmpl": 0}, "at": NOW}
        kind = "snp_extended_report"
        bundle.add(kind, f"own-ext-{name}", raw, reason, trusted_roots=ROOTS, **options)


def _pem(der: bytes) -> bytes:
    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def _parse(bundle: Bundle) -> None:
    good = Chain().report()
    bundle.add("snp_parse", "own-parse-unsigned", good[:0x2A0].ljust(0x4A0, b"\0"), **PARSE)
    bundle.add("snp_parse", "own-parse-truncated", good[:-1], "snp.report")
    bundle.add("snp_parse", "own-parse-version-9", b"\x09" + good[1:], "snp.report")


PARSE: dict[str, Any] = {"verdict": "parse-only"}


def _chains(bundle: Bundle) -> None:
    good, other = Chain(), Chain(root="other-ark")
    asvk = Chain(signer=VLEK).authority()
    cases: dict[str, tuple[Chain, list[bytes], str]] = {
        "ok": (good, [good.ark(), good.authority(), asvk], ""),
        "turin": (Chain(product="Turin"), [Chain(product="Turin").authority()], ""),
        "lookalike-root": (other, [other.ark(), other.authority()], "snp.root"),
        "ask-by-other": (good, [good.ark(), other.authority()], "snp.chain"),
        "ask-not-ca": (good, [good.ark(), Chain(ca=False).authority()], "snp.chain"),
        "ask-expired": (
            good,
            [good.ark(), Chain(authority_until=NOW - MONTH).authority()],
            "snp.chain",
        ),
        "other-product": (good, [Chain(product="Genoa").authority()], "snp.chain"),
    }
    for name, (chain, certs, reason) in cases.items():
        options: dict[str, Any] = {"files": {"certs": certs}, "at": NOW, "product": chain.product}
        kind = "snp_cert_chain"
        bundle.add(kind, f"own-chain-{name}", chain.ark(), reason, trusted_roots=ROOTS, **options)


def _crls(bundle: Bundle) -> None:
    good, other = Chain(), Chain(root="other-ark")
    der = good.crl(0x20001)
    cases: dict[str, tuple[bytes, Chain, str]] = {
        "ok": (der, good, ""),
        "empty-list": (good.crl(), good, ""),
        "expired": (good.crl(until=NOW - MONTH), good, "snp.crl"),
        "forged": (good.crl(key="ask"), good, "snp.crl"),
        "flip": (flip(der, len(der) - 530), good, "snp.crl"),
        "truncated": (der[:-1], good, "snp.crl"),
        "untrusted-issuer": (other.crl(), other, "snp.root"),
        "other-issuer": (good.crl(issuer="ARK-Genoa"), good, "snp.crl"),
    }
    for name, (raw, chain, reason) in cases.items():
        options: dict[str, Any] = {"files": {"issuer": chain.ark()}, "at": NOW, "product": "Milan"}
        bundle.add("snp_crl", f"own-crl-{name}", raw, reason, trusted_roots=ROOTS, **options)


def _id_blocks(bundle: Bundle) -> None:
    block = id_block.block()
    auth = id_block.auth(block)
    digests = {"id_key_digest": "id", "author_key_digest": "author"}
    policy = {key: hashlib.sha384(id_block.public(who)).hexdigest() for key, who in digests.items()}
    debug = id_block.block(policy=0xB0000)
    cases: dict[str, tuple[bytes, bytes, str, dict[str, Any]]] = {
        "ok": (block, auth, "", policy),
        "no-author": (block, id_block.auth(block, author=False), "", {}),
        "flip": (flip(block, 0), auth, "idblock.signature", {}),
        "author-sig": (block, flip(auth, 0x680), "idblock.author_signature", {}),
        "other-key": (block, auth, "idblock.id_key_digest", {"id_key_digest": "00" * 48}),
        "debug": (debug, id_block.auth(debug), "idblock.debug", {}),
        "truncated": (block[:-1], auth, "idblock.parse", {}),
        "reserved": (block, flip(auth, 0xFFF), "idblock.parse", {}),
    }
    for name, (raw, other, reason, wanted) in cases.items():
        files: dict[str, Any] = {"auth": other}
        bundle.add("snp_id_block", f"own-idblock-{name}", raw, reason, files=files, policy=wanted)


def _launches(bundle: Bundle) -> None:
    firmware = ovmf.image()
    base = {"vcpus": 2, "vcpu_sig": 0x800F12, "guest_features": 1, "ovmf_hash": "", "vmm": "qemu"}
    without = base | {"kernel": None, "initrd": None, "append": None}
    kernel = bundle.file("kernel", b"a kernel of these vectors")
    initrd = bundle.file("initrd", b"an initrd of these vectors")
    direct = base | {"kernel": kernel, "initrd": initrd, "append": "console=ttyS0"}
    name, reason = "own-launch-", "measure.launch_digest"

    def add(which: str, raw: bytes, digest: str, params: dict[str, Any], why: str = "") -> None:
        policy = {"measurement": MEASURED[digest]}
        kind = "snp_launch_digest"
        bundle.add(kind, name + which, raw, why, params=params, policy=policy)

    add("plain", firmware, "plain", without)
    add("direct", firmware, "direct", direct)
    add("ec2", firmware, "ec2", without | {"vmm": "ec2"})
    add("other-vcpus", firmware, "plain", without | {"vcpus": 3}, reason)
    add("other-append", firmware, "direct", direct | {"append": "console=ttyS1"}, reason)
    add("other-features", firmware, "plain", without | {"guest_features": 0x21}, reason)
    add("firmware-flip", flip(firmware, 5), "plain", without, reason)
    add("no-metadata", firmware[:4096], "plain", without, reason)


def flip(raw: bytes, at: int) -> bytes:
    """One bit of the byte at this place changed."""
    return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
