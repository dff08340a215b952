"""Intel's Provisioning Certification Service, API version 4, or a mirror of it.

| below URL/{sgx,tdx}/certification/v4          | issuer chain in the header        |
| /tcb?fmspc=FMSPC                              | TCB-Info-Issuer-Chain             |
| /qe/identity                                  | SGX-Enclave-Identity-Issuer-Chain |
| /pckcrl?ca={processor,platform}&encoding=der  | SGX-PCK-CRL-Issuer-Chain          |

Chains are percent-encoded PEM. The root's CRL is served elsewhere, under a URL of its own and
without a chain; it is verified with the root that came with the QE identity.
"""

import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from atoll.errors import AtollError, InputError, RefusedError
from atoll.evidence.needed import INTEL_ROOT_CRL, crl_key, qe_key, tcb_key
from atoll.evidence.x509 import ders
from atoll_attestor.collateral.fetch import Answer, Fetcher
from atoll_attestor.collateral.store import DocumentStore

ISSUER_HEADERS: Final = {
    "tcb": "TCB-Info-Issuer-Chain",
    "qe": "SGX-Enclave-Identity-Issuer-Chain",
    "crl": "SGX-PCK-CRL-Issuer-Chain",
}
MAX_HEADER: Final = 48 << 10
FMSPC_SIZE: Final = 6
MAX_PLATFORMS: Final = 64

_TEES: Final = ("sgx", "tdx")
_CAS: Final = ("processor", "platform")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcs:
    """Where to ask. Each `get_*` raises what `Fetcher.fetch` and `DocumentStore.offer` raise,
    and RefusedError `collateral.chain` for a chain that is not in the answer's header."""

    fetcher: Fetcher
    store: DocumentStore
    base: str
    root_crl_url: str

    async def get_tcb_info(self, tee: str, fmspc: bytes) -> bool:
        """What SVNs these platforms have had; whether it is newer."""
        url = f"{self._place(tee)}/tcb?fmspc={fmspc.hex().upper()}"
        return await self._get("tcb", url, tcb_key(tee, fmspc))

    async def get_qe_identity(self, tee: str) -> bool:
        """What the quoting enclave must be; whether it is newer."""
        return await self._get("qe", f"{self._place(tee)}/qe/identity", qe_key(tee))

    async def get_pck_crl(self, authority: str) -> bool:
        """Which PCK certificates are revoked; whether it is newer."""
        url = f"{self._place('sgx')}/pckcrl?ca={authority}&encoding=der"
        return await self._get("crl", url, crl_key(authority))

    async def get_root_crl(self) -> bool:
        """Which authorities are revoked; whether it is newer. After `get_qe_identity`."""
        known = self.store.known
        found = next((one for key, one in known.items() if key.startswith("intel.qe.")), None)
        if found is None:
            raise RefusedError("no QE identity has named the root", code="collateral.chain")
        answer = await self.fetcher.fetch(self.root_crl_url)
        root = ders(found.chain)[-1]
        return await self.store.offer(answer.body, root, want=INTEL_ROOT_CRL)

    async def refresh(self, platforms: Sequence[bytes]) -> None:
        """Fetch everything once; what fails is logged and stays as it was.

        Args:
            platforms: FMSPCs, beside those whose TCB info is known already.
        """
        for tee in _TEES:
            await self._try(f"QE identity of {tee}", self.get_qe_identity(tee))
        for authority in _CAS:
            await self._try(f"CRL of the {authority} CA", self.get_pck_crl(authority))
        await self._try("CRL of the root", self.get_root_crl())
        for fmspc in self._platforms(platforms):
            for tee in _TEES:
                await self._try(f"TCB info {tee} {fmspc.hex()}", self.get_tcb_info(tee, fmspc))

    def _platforms(self, platforms: Sequence[bytes]) -> list[bytes]:
        keys = [key for key in self.store.known if key.startswith("intel.tcb.")]
        kept = {bytes.fromhex(key.rpartition(".")[2]) for key in keys}
        return sorted(kept | set(platforms))[:MAX_PLATFORMS]

    def _place(self, tee: str) -> str:
        return f"{self.base.rstrip('/')}/{tee}/certification/v4"

    async def _get(self, kind: str, url: str, want: str) -> bool:
        answer = await self.fetcher.fetch(url)
        return await self.store.offer(answer.body, issuer_chain(answer, kind), want=want)

    async def _try(self, what: str, getting: Coroutine[Any, Any, bool]) -> None:
        try:
            _log.info("%s: %s", what, "a newer one" if await getting else "as before")
        except AtollError as error:
            _log.warning("no new %s: %s (%s)", what, error.message, error.code)


def issuer_chain(answer: Answer, kind: str) -> bytes:
    """The PEM chain in the header for this kind of document.

    Raises:
        RefusedError: `collateral.chain`: none, too long, or not percent-encoded PEM.
    """
    name = ISSUER_HEADERS[kind]
    value = answer.headers.get(name.lower(), "")
    if not 1 <= len(value) <= MAX_HEADER or not value.isascii():
        raise RefusedError(
            f"header {name} has {len(value)} characters, want 1 to {MAX_HEADER} of ASCII",
            code="collateral.chain",
        )
    chain = unquote_to_bytes(value)
    if not chain.startswith(b"-----BEGIN CERTIFICATE-----"):
        raise RefusedError(f"header {name} holds no PEM", code="collateral.chain")
    return chain


def fmspcs(text: str) -> tuple[bytes, ...]:
    """Platforms in a setting: FMSPCs in hex, with commas between.

    Raises:
        InputError: `collateral.fmspc`: not 6 bytes in hex, or over `MAX_PLATFORMS`.
    """
    try:
        found = tuple(bytes.fromhex(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"{text[:80]!r} is not hex", code="collateral.fmspc") from error
    if len(found) > MAX_PLATFORMS or any(len(one) != FMSPC_SIZE for one in found):
        raise InputError(
            f"want at most {MAX_PLATFORMS} FMSPCs of {FMSPC_SIZE} bytes", code="collateral.fmspc"
        )
    return found
