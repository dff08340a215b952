"""AMD's key distribution service (AMD 57230, section 4), or a mirror of it.

| below the URL                                              | answer               |
| /vcek/v1/PRODUCT/HWID?blSPL=&teeSPL=&snpSPL=&ucodeSPL=     | VCEK, DER            |
| /{vcek,vlek}/v1/PRODUCT/cert_chain                         | ASK or ASVK, ARK, PEM |
| /vcek/v1/PRODUCT/crl                                       | CRL; see `cache`     |

Turin has `fmcSPL` before the others and a HWID of 8 bytes. A VLEK is not handed out here.
"""

import logging
from dataclasses import dataclass
from typing import Final

from atoll.errors import AtollError, EvidenceError, RefusedError
from atoll.evidence.certs import Signer
from atoll.evidence.products import Product, TcbVersion
from atoll_attestor.collateral.documents import Document, chain_key, vcek_key
from atoll_attestor.collateral.fetch import Fetcher
from atoll_attestor.collateral.store import DocumentStore

GENUINE: Final = (Product.MILAN, Product.GENOA, Product.TURIN)

_log = logging.getLogger(__name__)


def vcek_path(product: Product, hwid: bytes, tcb: TcbVersion) -> str:
    """Where the VCEK of a chip for a TCB is.

    Args:
        product: one of AMD's.
        hwid: the significant bytes of CHIP_ID.
        tcb: REPORTED_TCB.

    Raises:
        EvidenceError: `evidence.hwid`: of another length, or masked (all zero).
    """
    if len(hwid) != product.hwid_size or not any(hwid):
        raise EvidenceError(
            f"no chip has the HWID {hwid.hex()}, {product.value} has {product.hwid_size} bytes",
            code="evidence.hwid",
        )
    levels = [("bl", tcb.bootloader), ("tee", tcb.tee), ("snp", tcb.snp), ("ucode", tcb.microcode)]
    if product.has_fmc:
        levels.insert(0, ("fmc", tcb.fmc))
    query = "&".join(f"{name}SPL={level:02d}" for name, level in levels)
    return f"/vcek/v1/{product.value}/{hwid.hex()}?{query}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kds:
    """Where to ask. Each `get_*` raises what `Fetcher.get` and `DocumentStore.offer` raise."""

    fetcher: Fetcher
    store: DocumentStore
    base: str

    async def get_chain(self, product: Product, signer: Signer) -> Document:
        """The authorities of a product, from the store if they are there."""
        key = chain_key(product, signer)
        if key not in self.store.known:
            url = f"{self._base}/{signer.value}/v1/{product.value}/cert_chain"
            await self.store.offer(await self.fetcher.get(url), b"", want=key)
        return self.store.known[key]

    async def get_vcek(self, product: Product, hwid: bytes, tcb: TcbVersion) -> Document:
        """The VCEK of a chip for a TCB, from the store if it is there.

        Raises:
            RefusedError: `collateral.product`: the chip is not AMD's.
        """
        if product not in GENUINE:
            raise RefusedError(f"AMD has no {product.value}", code="collateral.product")
        path = vcek_path(product, hwid, tcb)
        key = vcek_key(product, hwid, tcb)
        if key not in self.store.known:
            chain = await self.get_chain(product, Signer.VCEK)
            der = await self.fetcher.get(self._base + path)
            await self.store.offer(der, chain.body, want=key)
        return self.store.known[key]

    async def refresh(self) -> None:
        """Fetch the authorities of every product; what fails is logged."""
        for product in GENUINE:
            for signer in Signer:
                try:
                    await self.get_chain(product, signer)
                except AtollError as error:
                    what = f"{signer.value} chain of {product.value}"
                    _log.warning("no %s: %s (%s)", what, error.message, error.code)

    @property
    def _base(self) -> str:
        return self.base.rstrip("/")
