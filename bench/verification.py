"""What verifying evidence costs: SEV-SNP, TDX, and the attestor over the bus.

* SEV-SNP with a warm chain, beside one bare P-384 verification of the same signature.
* TDX with warm collateral, beside `dcap-qvl` (a verifier in Rust with a Python interface) on
  the same quote and collateral. Without that package its rows are missing and a note says so.
* Requests that the attestor of a real stack answers, with its latency.
"""

import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from atoll.evidence.chain import verify_chain
from atoll.evidence.dcap import intel_chain
from atoll.evidence.dcap.collateral import Collateral, verify_collateral
from atoll.evidence.dcap.intel_chain import IntelRoot, IntelRoots
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.signed_json import with_hex_signature
from atoll.evidence.dcap.verify import verify_quote
from atoll.evidence.snp import AttestationReport
from atoll.evidence.trust import TrustStore
from atoll.evidence.verify import verify_report
from atoll.simulated.chain import DevelopmentChain, DevelopmentKeys
from atoll.simulated.report import SimulatedProcessor
from bench import attestor
from bench.children import ROOT
from bench.report import BenchError, Report, Table, median
from bench.scale import Scale

NAME: Final = "verification"
VECTORS: Final = ROOT / "tests" / "vectors"
TDX_CASE: Final = "own-tdx-v4"
ROUNDS: Final = 5

Verify = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to verify; `before` runs outside of the measurement."""

    name: str
    verify: Verify
    before: Verify | None = None


async def run(scale: Scale, scratch: Path) -> Report:
    """Raises: BenchError."""
    qvl = _dcap_qvl()
    count = scale.messages
    snp, tdx = _snp(), _tdx(qvl)
    tables = [
        _compare(f"SEV-SNP, {count} verifications in each of {ROUNDS} rounds", snp, count),
        _compare(f"TDX, {count} verifications in each of {ROUNDS} rounds", tdx, count),
        *await attestor.measure(scale, scratch),
    ]
    notes = [
        "verifications run in one process, one after the other; contenders take turns",
        "warm: certificates and collateral were verified before and are only looked at for dates",
        "dcap-qvl keeps nothing between calls: it checks collateral and chains each time",
        "Atoll's warm TDX row checks the quote's two signatures but not again the same PCK chain",
        "one attestor has one thread; clients and nats-server share the cores with all of them",
        "every appraisal is of other evidence, with a challenge of its own, and is kept",
    ]
    if qvl is None:
        notes.append("dcap-qvl is not installed, so TDX stands beside nothing")
    return Report(name=NAME, tables=tuple(tables), notes=tuple(notes))


def _compare(title: str, contenders: list[Contender], count: int) -> Table:
    """Median over the rounds of the mean time of one; the first contender is the measure."""
    measured: dict[str, list[float]] = {one.name: [] for one in contenders}
    for one in contenders:
        _mean_us(one, max(1, count // 10))
    for _ in range(ROUNDS):
        for one in contenders:
            measured[one.name].append(_mean_us(one, count))
    base = median(measured[contenders[0].name])
    rows = []
    for name, values in measured.items():
        value = median(values)
        rows.append((name, value, 1e6 / value, value / base))
    columns = ("what", "median us", "in a second", f"to {contenders[0].name}")
    return Table(title=title, columns=columns, rows=tuple(rows))


def _mean_us(one: Contender, count: int) -> float:
    seconds = 0.0
    for _ in range(count):
        if one.before is not None:
            one.before()
        began = time.perf_counter()
        one.verify()
        seconds += time.perf_counter() - began
    return seconds / count * 1e6


def _snp() -> list[Contender]:
    now = datetime.now(UTC)
    chain = DevelopmentChain.generate(
        now=now, keys=DevelopmentKeys.generate(), chip_id=bytes(range(64))
    )
    trust = TrustStore(roots=frozenset()).with_development_root(chain.ark_pem)
    processor = SimulatedProcessor(chain=chain)
    raw = processor.launch(bytes(48), report_id=bytes(32)).attest(bytes(64))
    report, verified = (
        AttestationReport.from_bytes(raw),
        verify_chain(chain.certificates, trust, now=now),
    )
    signature = encode_dss_signature(report.signature_r, report.signature_s)
    scheme, key = ec.ECDSA(SHA384()), verified.key
    signed = report.signed_bytes

    def warm() -> object:
        return verify_report(AttestationReport.from_bytes(raw), verified, now=now)

    def cold() -> object:
        fresh = verify_chain(chain.certificates, trust, now=now)
        return verify_report(AttestationReport.from_bytes(raw), fresh, now=now)

    return [
        Contender(name="bare P-384", verify=lambda: key.verify(signature, signed, scheme)),
        Contender(name="Atoll, warm chain", verify=warm),
        Contender(name="Atoll, chain too", verify=cold),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxCase:
    """One of the project's own vectors, with its files."""

    quote: bytes
    files: Mapping[str, bytes]
    root_spki: bytes
    now: datetime

    @classmethod
    def load(cls) -> "TdxCase":
        """Raises: BenchError: the vectors are not there."""
        try:
            cases = json.loads((VECTORS / "manifest.json").read_text("utf-8"))["vectors"]
            case = next(one for one in cases if one["id"] == TDX_CASE)
            return cls(
                quote=(VECTORS / case["path"]).read_bytes(),
                files={role: (VECTORS / path).read_bytes() for role, path in case["files"].items()},
                root_spki=bytes.fromhex(case["trusted_root_spki"]),
                now=datetime.fromisoformat(case["verify_time"]),
            )
        except (OSError, StopIteration) as error:
            raise BenchError(f"no vector {TDX_CASE} in {VECTORS}") from error

    @property
    def collateral(self) -> Collateral:
        """In the form that Atoll wants."""
        files = self.files
        return Collateral(
            tcb_info=with_hex_signature(files["tcb_info"], files["tcb_info_sig"]),
            tcb_info_chain=files["tcb_chain"],
            qe_identity=with_hex_signature(files["qe_identity"], files["qe_identity_sig"]),
            qe_identity_chain=files["qe_chain"],
            root_crl=files["root_crl"],
            pck_crl=files["pck_crl"],
        )


def _tdx(qvl: ModuleType | None) -> list[Contender]:
    case = TdxCase.load()
    pinned = IntelRoot(spki_sha256=case.root_spki, simulated=False)
    roots = IntelRoots(roots=frozenset({pinned}))
    collateral, now = case.collateral, case.now
    verified = verify_collateral(collateral, roots, now=now)

    def warm() -> object:
        return verify_quote(case.quote, verified, roots, now=now)

    def cold() -> object:
        return verify_quote(case.quote, collateral, roots, now=now)

    contenders = [
        Contender(name="Atoll, warm collateral", verify=warm),
        Contender(name="Atoll, nothing warm", verify=cold, before=_forget),
    ]
    return [_theirs(qvl, case), *contenders] if qvl else contenders


def _forget() -> None:
    """Empty the caches of certificates that were read and signatures that were checked."""
    for cached in (intel_chain.read_certificate, intel_chain.is_signed_by, intel_chain.load_key):
        cached.cache_clear()
    intel_chain._pck_extension.cache_clear()  # noqa: SLF001 - a cache is what is measured here


def _theirs(qvl: ModuleType, case: TdxCase) -> Contender:
    files, root = case.files, Quote.from_bytes(case.quote).certification.chain
    issuers = (x509.load_der_x509_certificate(der) for der in root[1:])
    issuer_chain = b"".join(one.public_bytes(Encoding.PEM) for one in issuers).decode()
    collateral = qvl.QuoteCollateralV3(
        pck_crl_issuer_chain=issuer_chain,
        root_ca_crl=files["root_crl"],
        pck_crl=files["pck_crl"],
        tcb_info_issuer_chain=files["tcb_chain"].decode(),
        tcb_info=files["tcb_info"].decode(),
        tcb_info_signature=bytes.fromhex(files["tcb_info_sig"].decode()),
        qe_identity_issuer_chain=files["qe_chain"].decode(),
        qe_identity=files["qe_identity"].decode(),
        qe_identity_signature=bytes.fromhex(files["qe_identity_sig"].decode()),
    )
    seconds = int(case.now.timestamp())

    def verify() -> object:
        return qvl.verify_with_root_ca(case.quote, collateral, root[-1], seconds)

    status: Any = getattr(verify(), "status", None)
    if status != "UpToDate":
        raise BenchError(f"dcap-qvl says {status!r} of {TDX_CASE}")
    return Contender(name="dcap-qvl", verify=verify)


def _dcap_qvl() -> ModuleType | None:
    try:
        return importlib.import_module("dcap_qvl")
    except ModuleNotFoundError:
        return None
