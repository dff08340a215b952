"""Judge the kinds of AMD SEV-SNP. What is wrong with evidence becomes a failed check.

| kind                | evidence            | files                       |
| snp_report          | report              | certs, crls                 |
| snp_extended_report | report, cert table  | certs, crls                 |
| snp_parse           | report              |                             |
| snp_cert_chain      | a certificate       | certs, crls                 |
| snp_crl             | revocation list     | issuer                      |
| snp_id_block        | ID block            | auth                        |
| snp_launch_digest   | firmware            | kernel, initrd              |
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from atoll.errors import EvidenceError, InputError
from atoll.evidence import cert_table
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.chain import verify_authorities, verify_crl
from atoll.evidence.comparisons import absent, equal, finding
from atoll.evidence.findings import Finding
from atoll.evidence.id_block import IdAuth, IdBlock, verify_id_block
from atoll.evidence.judged import known, octets
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.policy import UNCHECKED
from atoll.evidence.products import Product
from atoll.evidence.snp import REPORT_SIZE, AttestationReport, GuestPolicy
from atoll.evidence.snp_fields import snp_fields
from atoll.evidence.snp_findings import Subject, snp_findings
from atoll.evidence.snp_requirements import more_findings, snp_policy
from atoll.evidence.snp_steps import STEP_OF, verify_steps
from atoll.evidence.steps import error_text
from atoll.evidence.trust import PRODUCTION, TrustedRoot, TrustStore
from atoll.evidence.x509 import Certificate, RevocationList, crl_der, ders
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp_launch import Processors, launch_digest
from atoll.measure.vmsa import Vmm

_AUTHORITIES: Final = (cert_table.ASK, cert_table.ARK)
_VERSION_1: Final = (1).to_bytes(4, "little")


def amd_trust(roots: Roots) -> TrustStore:
    """AMD's pinned roots, or those named instead, and those given as certificates.

    Raises:
        InputError: `trust.root`: a product that is not known, a digest that is not 32
            bytes, or a certificate that is no ARK.
    """
    store = PRODUCTION
    if roots.amd_spki_sha256 is not None:
        named = roots.amd_spki_sha256.items()
        store = TrustStore(roots=frozenset(_root(name, digest) for name, digest in named))
    for raw in roots.certificates:
        try:
            certificates = [Certificate.from_bytes(der) for der in ders(raw)]
        except EvidenceError as error:
            raise InputError(
                f"root is no certificate: {error.message}", code="trust.root"
            ) from error
        more = {
            _root(one.subject_cn.removeprefix("ARK-"), hashlib.sha256(one.spki).digest())
            for one in certificates
        }
        store = TrustStore(roots=store.roots | more)
    return store


def _root(name: str, digest: bytes) -> TrustedRoot:
    try:
        product = Product(name)
        simulated = product is Product.SIMULATED
        return TrustedRoot(product=product, spki_sha256=digest, simulated=simulated)
    except ValueError as error:
        raise InputError(
            f"root for {name[:40]!r} is not an ARK's of a known product: {error}",
            code="trust.root",
        ) from error


def judge_report(request: Request) -> Judgement:
    """A report under the certificates and lists that came with it."""
    request.only("certs", "crls")
    return _judge_report(request, request.evidence, request.some("certs"))


def judge_extended_report(request: Request) -> Judgement:
    """A report followed by its certificate table.

    The table is the host's word, as certificates in files are. Files are used only for
    authorities that the table lacks, so that they cannot take the place of what it has.
    """
    request.only("certs", "crls")
    report, raw = request.evidence[:REPORT_SIZE], request.evidence[REPORT_SIZE:]
    try:
        table = CertificateTable.from_bytes(raw)
    except EvidenceError as error:
        broken = finding("snp.cert_table", "cert_table", "a certificate table", error_text(error))
        return Judgement.of(request, (broken,))
    certs = table.certificates()
    guids = {guid for guid, _ in table.entries}
    if not guids.issuperset(_AUTHORITIES):
        certs = (*certs, *request.some("certs"))
    count = f"{len(table.entries)} entries"
    read = finding("snp.cert_table", "cert_table", "a certificate table", count, passed=True)
    return _judge_report(request, report, certs, before=(read,))


def _judge_report(
    request: Request, report: bytes, certs: Sequence[bytes], before: tuple[Finding, ...] = ()
) -> Judgement:
    policy = snp_policy(request.policy, product=request.product)
    steps = verify_steps(
        report, certs, amd_trust(request.roots), now=request.moment(), crls=request.some("crls")
    )
    checks = (*before, *steps.findings)
    if steps.report is None:
        return Judgement.of(request, checks)
    body, verified = steps.report.body, steps.verified
    subject = Subject.verified(verified) if verified else Subject.claimed(body)
    checks += snp_findings(subject, policy)
    checks += tuple(more_findings(request.policy, body))
    return Judgement.of(
        request,
        checks,
        claims=snp_fields(report) if verified else {},
        product=verified.product.value if verified else None,
        simulated=bool(verified and verified.simulated),
    )


def judge_parse(request: Request) -> Judgement:
    """A report of which nothing but the form can be checked.

    Version 1 is shown, though it is obsolete and `judge_report` refuses it.
    """
    request.only()
    known(request.policy)

    def parse() -> dict[str, str]:
        if not request.evidence.startswith(_VERSION_1):
            AttestationReport.from_bytes(request.evidence)
        return snp_fields(request.evidence)

    return parse_only(request, "snp.report", "SNP report", parse)


def parse_only(
    request: Request, name: str, structure: str, parse: Callable[[], Mapping[str, str]]
) -> Judgement:
    """The judgement on evidence that can be parsed and not verified."""
    try:
        claims = parse()
    except EvidenceError as error:
        return Judgement.of(request, (finding(name, structure, "parses", error_text(error)),))
    read = finding(name, structure, "parses", "parses", passed=True)
    return Judgement.parsed(request, read, claims)


def judge_cert_chain(request: Request) -> Judgement:
    """AMD's root and intermediates of one product line, without a VEK."""
    request.only("certs", "crls")
    known(request.policy)
    certs = (request.evidence, *request.some("certs"))
    trust, now = amd_trust(request.roots), request.moment()
    roots: list[TrustedRoot] = []

    def check() -> Iterator[Finding]:
        root = verify_authorities(certs, trust, now=now)
        roots.append(root)
        yield finding("snp.chain", "certs", "verified", "verified", passed=True)
        yield _product(request, root.product)
        if request.some("crls"):
            yield _crls(request, certs)

    judgement = _judge(request, "snp.chain", check)
    return replace(judgement, simulated=any(root.simulated for root in roots))


def _crls(request: Request, certs: Sequence[bytes]) -> Finding:
    parsed = [Certificate.from_bytes(der) for raw in certs for der in ders(raw)]
    ark = next(one for one in parsed if one.subject == one.issuer)
    revoked: set[int] = set()
    for raw in request.some("crls"):
        revoked |= verify_crl(raw, ark.der, now=request.moment()).serials
    named = sorted({one.subject_cn for one in parsed if one.serial in revoked})
    actual = f"revoked: {', '.join(named)}" if named else "not revoked"
    return finding("snp.crl", "crls", "not revoked", actual, passed=not named)


def judge_crl(request: Request) -> Judgement:
    """A revocation list under the root that issued it, which must be a trusted one."""
    request.only("issuer")
    known(request.policy)
    issuer, trust, now = request.one("issuer"), amd_trust(request.roots), request.moment()
    roots: list[TrustedRoot] = []

    def check() -> Iterator[Finding]:
        certificate = Certificate.from_bytes(ders(issuer)[0])
        name = certificate.subject_cn
        product = next((item for item in Product if name == f"ARK-{item.value}"), None)
        digest = hashlib.sha256(certificate.spki).digest()
        root = trust.find(product, digest) if product is not None else None
        roots.extend([root] if root else [])
        actual = f"{name} with SHA-256 {digest.hex()}"
        yield finding("snp.root", "issuer", "a trusted root", actual, passed=root is not None)
        if product is None:
            return
        crl = verify_crl(request.evidence, issuer, now=now)
        serials = ", ".join(f"{serial:x}" for serial in sorted(crl.serials)) or "nothing"
        actual = f"signed, revokes {serials}"[:1000]
        yield finding("snp.crl", "crl", "signed and current", actual, passed=True)
        yield _product(request, product)

    judgement = _judge(request, "snp.crl", check)
    claims = {} if judgement.reason else crl_fields(request.evidence)
    simulated = any(root.simulated for root in roots)
    return Judgement.of(request, judgement.checks, claims=claims, simulated=simulated)


def crl_fields(raw: bytes) -> dict[str, str]:
    """What a revocation list says.

    Raises:
        EvidenceError: it does not parse.
    """
    crl = RevocationList.from_bytes(crl_der(raw))
    return {
        "issuer": crl.issuer_cn,
        "this_update": crl.this_update.isoformat(),
        "next_update": crl.next_update.isoformat(),
        "revoked_serials": " ".join(f"{serial:x}" for serial in sorted(crl.serials)),
    }


def judge_id_block(request: Request) -> Judgement:
    """An ID block under its authentication information."""
    request.only("auth")
    policy, auth_raw = request.policy, request.one("auth")
    known(
        policy,
        "id_key_digest",
        "author_key_digest",
        "measurement",
        "allow_debug",
        "allow_migrate_ma",
    )

    def check() -> Iterator[Finding]:
        block = IdBlock.from_bytes(request.evidence)
        auth = IdAuth.from_bytes(auth_raw)
        yield finding("idblock.parse", "id_block", "parses", "parses", passed=True)
        verify_id_block(block, auth)
        yield finding("idblock.signature", "id_block", "signed", "signed", passed=True)
        author = auth.author_part.digest if auth.author_part else bytes(48)
        for name, actual in (("id_key_digest", auth.id_part.digest), ("author_key_digest", author)):
            yield equal(f"idblock.{name}", name.upper(), _wanted(policy, name), actual)
        yield equal(
            "idblock.measurement", "LD", _wanted(policy, "measurement"), block.launch_digest
        )
        for bit, key in ((GuestPolicy.DEBUG, "debug"), (GuestPolicy.MIGRATE_MA, "migrate_ma")):
            allowed = policy.get(f"allow_{key}") is True
            present = bool(block.policy & bit)
            yield absent(f"idblock.{key}", f"POLICY.{bit.name}", present, allowed=allowed)

    steps = {
        "evidence.id_signature": "idblock.signature",
        "evidence.author_signature": "idblock.author_signature",
    }
    judgement = _judge(request, "idblock.parse", check, steps)
    claims = {} if judgement.reason else id_block_fields(request.evidence, auth_raw)
    return Judgement.of(request, judgement.checks, claims=claims)


def id_block_fields(raw: bytes, auth_raw: bytes | None = None) -> dict[str, str]:
    """What an ID block says, and the digests of the keys that stand beside it.

    Raises:
        EvidenceError: one of the two does not parse.
    """
    block = IdBlock.from_bytes(raw)
    fields = {
        "launch_digest": block.launch_digest.hex(),
        "family_id": block.family_id.hex(),
        "image_id": block.image_id.hex(),
        "version": str(block.version),
        "guest_svn": str(block.guest_svn),
        "policy": hex(block.policy),
    }
    if auth_raw is not None:
        auth = IdAuth.from_bytes(auth_raw)
        fields["id_key_digest"] = auth.id_part.digest.hex()
        if auth.author_part is not None:
            fields["author_key_digest"] = auth.author_part.digest.hex()
    return fields


def judge_launch_digest(request: Request) -> Judgement:
    """The launch digest that firmware, kernel and processors give."""
    request.only("kernel", "initrd")
    known(request.policy, "measurement")
    wanted = _wanted(request.policy, "measurement")
    if wanted is UNCHECKED:
        raise InputError("policy.measurement is missing", code="policy.invalid")
    name = "measure.launch_digest"
    try:
        digest = _launch_digest(request)
    except InputError as error:
        text = f"{error.code}: {error.message}"[:1000]
        return Judgement.of(request, (finding(name, "MEASUREMENT", wanted.hex(), text),))
    claims = {"measurement": digest.hex()}
    return Judgement.of(request, (equal(name, "MEASUREMENT", wanted, digest),), claims=claims)


def _launch_digest(request: Request) -> bytes:
    params = request.params
    known(params, "vcpus", "vcpu_sig", "guest_features", "ovmf_hash", "vmm", "append")
    numbers = [params.get(key, 1) for key in ("vcpus", "vcpu_sig", "guest_features")]
    vmm, append = params.get("vmm", "qemu"), params.get("append") or ""
    legal = all(type(number) is int for number in numbers) and isinstance(append, str)
    if not legal or vmm not in [item.value for item in Vmm]:
        raise InputError("params are not of the form that a launch has", code="measure.params")
    kernel = None
    if request.some("kernel"):
        initrd = request.one("initrd") if request.some("initrd") else b""
        kernel = KernelHashes.of(request.one("kernel"), initrd=initrd, append=append)
    return launch_digest(
        Firmware.from_bytes(request.evidence),
        Processors(count=numbers[0], signature=numbers[1], guest_features=numbers[2]),
        vmm=Vmm(vmm),
        kernel=kernel,
        firmware_digest=octets(params, "ovmf_hash") or None,
    )


def _judge(
    request: Request,
    phase: str,
    check: Callable[[], Iterator[Finding]],
    steps: Mapping[str, str] = STEP_OF,
) -> Judgement:
    """Collect findings until an error ends them; the error is the last one."""
    checks: list[Finding] = []
    try:
        checks.extend(check())
    except EvidenceError as error:
        checks.append(finding(steps.get(error.code, phase), phase, "holds", error_text(error)))
    return Judgement.of(request, tuple(checks))


def _product(request: Request, product: Product) -> Finding:
    wanted = request.product if request.product in [item.value for item in Product] else None
    expected = wanted or product.value
    return finding(
        "snp.product_line", "product", expected, product.value, passed=expected == product.value
    )


def _wanted(policy: Mapping[str, Any], key: str) -> Any:
    value = octets(policy, key)
    return UNCHECKED if value is None else value
