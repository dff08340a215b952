"""What evidence is judged by beside itself: from the caches, and fetched where that is allowed.

Evidence brings its certificates. TCB info, identities and revocation lists are the ones that
are kept here and nobody else's. What is missing or has expired is asked for while somebody
waits, if AMD's or Intel's service may be asked, and Intel's only for a quote whose own chain
holds under a trusted root. What cannot be had is said, and the judgement fails for that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

from atoll.errors import AtollError, EvidenceError, InputError
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.dcap.intel_chain import PCK_CN, read_certificate
from atoll.evidence.dcap.judge import COLLATERAL
from atoll.evidence.dcap.verify import verify_quote_crypto
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.needed import INTEL_ROOT_CRL, Files, Platform, intel_files
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.ratls import ratls_quote
from atoll.evidence.snp import REPORT_SIZE, AttestationReport
from atoll.evidence.tpm.hcl import HclReport
from atoll.evidence.trust import TrustStore
from atoll.evidence.x509 import ders
from atoll_attestor import ports
from atoll_attestor.collateral.crls import for_chain
from atoll_attestor.collateral.documents import require_current, vcek_key
from atoll_attestor.collateral.kds import GENUINE, Kds
from atoll_attestor.collateral.pcs import Pcs

ASKING_S: Final = 5.0
"""How long one request waits for what is fetched, in all."""

PAUSE_S: Final = 30.0
"""How long a document that was asked for is not asked for again."""

_MAX_LACKS: Final = 1000
_MAX_ASKED: Final = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What goes with one piece of evidence."""

    files: Files = field(default_factory=dict)
    """By role: `certs` and `crls` of AMD, collateral of Intel."""
    lacks: str = ""
    """Why Intel's collateral does not count, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """Looks things up, and fetches one thing at a time, whoever wants to know."""

    trust: TrustStore
    crls: ports.Crls
    documents: ports.Documents
    kds: Kds | None = None
    pcs: Pcs | None = None
    fetch_crl: Callable[[Product], Awaitable[None]] | None = None
    """Asks AMD for the list of a product."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _asked: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    """When something was asked for last; see `PAUSE_S`."""

    async def for_snp(self, report: bytes, certs: Sequence[bytes]) -> Found:
        """The chain of a report that came without, and the list of its root."""
        found = tuple(certs) or await self._vcek(report)
        return Found(files={"certs": found, "crls": await self._crls(report, found)})

    async def for_extended(self, raw: bytes, certs: Sequence[bytes]) -> Found:
        """The same of a report with its certificate table."""
        report = raw[:REPORT_SIZE]
        try:
            inside = CertificateTable.from_bytes(raw[REPORT_SIZE:]).certificates()
        except EvidenceError:
            return Found(files={"certs": tuple(certs)})  # the judgement says what is wrong
        if not inside:
            return await self.for_snp(report, certs)
        crls = await self._crls(report, (*inside, *certs))
        return Found(files={"certs": tuple(certs), "crls": crls})

    async def for_azure_snp(self, raw: bytes, certs: Sequence[bytes]) -> Found:
        """The same of the report that an HCL report holds."""
        try:
            report = HclReport.from_bytes(raw).hardware_report
        except EvidenceError:
            return Found()
        return await self.for_snp(report, certs)

    async def for_document(self, document: EvidenceDocument, now: datetime) -> Found:
        """What an enclave's document is judged by; see `appraise_document`."""
        match document.tee:
            case Tee.SNP:
                found = await self.for_snp(document.report, document.certs)
                # What the document has is there already.
                rest = () if document.certs else found.files["certs"]
                return replace(found, files=found.files | {"certs": rest})
            case Tee.TDX:
                return await self.for_quote(document.report, document.certs, now)
            case Tee.KEYSTONE | Tee.VTPM:
                return Found()

    async def for_ratls(self, raw: bytes, now: datetime) -> Found:
        """Collateral about the quote in a certificate; see `for_inner_quote`."""
        try:
            quote = ratls_quote(raw)
        except EvidenceError:
            return Found()
        return await self.for_inner_quote(quote, now)

    async def for_inner_quote(self, raw: bytes, now: datetime) -> Found:
        """Collateral about a quote that is in other evidence, all of it or none.

        Such evidence may be judged without, so it is for `lacks` to refuse it.
        """
        found = await self.for_quote(raw, (), now)
        complete = found.files.keys() >= set(COLLATERAL)
        return found if complete else replace(found, files={})

    async def for_quote(self, raw: bytes, certs: Sequence[bytes], now: datetime) -> Found:
        """Intel's collateral about a quote's platform, and what of it does not count now."""
        try:
            platform = Platform.of(raw, certs)
            lacks = self._lacks(platform, now)
            if lacks and self.pcs is not None and self._is_genuine(raw, certs, now):
                await self._fetch(self.pcs, platform, now)
                lacks = self._lacks(platform, now)
            return Found(files=intel_files(platform, self.documents.known), lacks=lacks)
        except EvidenceError as error:
            return Found(lacks=f"{error.code}: {error.message}"[:_MAX_LACKS])

    def for_pck(self, raw: bytes) -> Found:
        """The lists and the trusted root for a PCK chain."""
        try:
            chain = [read_certificate(der) for der in ders(raw)]
            leaf = next((one for one in chain if one.subject_cn == PCK_CN), chain[0])
            platform = Platform.from_pck(leaf.der, tee="sgx")
        except EvidenceError as error:
            return Found(lacks=f"{error.code}: {error.message}"[:_MAX_LACKS])
        files = intel_files(platform, self.documents.known)
        lists = {role: files[role] for role in ("pck_crl", "root_crl") if role in files}
        root = self.documents.known.get(INTEL_ROOT_CRL)
        # Who signed the list of the root is the root, and a trusted one.
        return Found(files=lists | ({"root": (ders(root.chain)[-1],)} if root else {}))

    async def _vcek(self, raw: bytes) -> tuple[bytes, ...]:
        """The VCEK and its authorities, or nothing; then the judgement says what is missing."""
        try:
            body = AttestationReport.from_bytes(raw).body
            product = product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id)
            if product is None:
                return ()
            hwid = body.chip_id[: product.hwid_size]
            tcb = TcbVersion.from_bytes(body.reported_tcb, product)
            key = vcek_key(product, hwid, tcb)
        except EvidenceError:
            return ()
        if key not in self.documents.known and self.kds is not None and product in GENUINE:
            await self._ask({key: partial(self.kds.get_vcek, product, hwid, tcb)})
        found = self.documents.known.get(key)
        return (found.body, found.chain) if found is not None else ()

    async def _crls(self, report: bytes, certs: Sequence[bytes]) -> tuple[bytes, ...]:
        """The list of the root that these certificates end in, or none."""
        found = for_chain(self.crls.known, certs)
        if found or self.fetch_crl is None:
            return found
        try:
            body = AttestationReport.from_bytes(report).body
        except EvidenceError:
            return ()
        product = product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id)
        if product not in GENUINE:
            return ()
        await self._ask({f"crl.{product.value}": partial(self.fetch_crl, product)})
        return for_chain(self.crls.known, certs)

    def _lacks(self, platform: Platform, now: datetime) -> str:
        """Why the collateral of a platform does not count now, or nothing."""
        for key in platform.keys:
            try:
                require_current(self.documents.known, key, now)
            except InputError as error:
                return f"{error.code}: {error.message}"[:_MAX_LACKS]
        return ""

    def _is_genuine(self, raw: bytes, certs: Sequence[bytes], now: datetime) -> bool:
        """Whether a trusted root stands behind a quote, so that it is worth asking about."""
        try:
            chain = [der for one in certs for der in ders(one)]
            verify_quote_crypto(raw, self.trust.intel, now=now, pck_chain=chain)
        except EvidenceError:
            return False
        return True

    async def _fetch(self, pcs: Pcs, platform: Platform, now: datetime) -> None:
        """Ask Intel's service for what does not count; the root's list comes last."""
        tcb, identity, crl, root = platform.keys
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            tcb: partial(pcs.get_tcb_info, platform.tee, platform.fmspc),
            identity: partial(pcs.get_qe_identity, platform.tee),
            crl: partial(pcs.get_pck_crl, platform.authority),
            root: pcs.get_root_crl,
        }
        await self._ask({key: way for key, way in ways.items() if not self._counts(key, now)})

    def _counts(self, key: str, now: datetime) -> bool:
        try:
            require_current(self.documents.known, key, now)
        except InputError:
            return False
        return True

    async def _ask(self, ways: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        """Fetch, unless it was tried a moment ago; what fails is logged."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(ASKING_S), self._asking:
                for key, way in ways.items():
                    if clock() - self._asked.get(key, -PAUSE_S) < PAUSE_S:
                        continue
                    if len(self._asked) >= _MAX_ASKED:
                        self._asked.clear()
                    self._asked[key] = clock()
                    try:
                        await way()
                    except AtollError as error:
                        _log.warning("no %s: %s (%s)", key, error.message, error.code)
        except TimeoutError:
            _log.warning("%s: no answer within %s s", ", ".join(ways), ASKING_S)
