"""Which root keys are believed: the vendors' by default, a development one only when named.

A root is pinned by the SHA-256 of its SubjectPublicKeyInfo; AMD's together with the one
product it may speak for. A certificate that evidence brings along is never a root. Keystone
has no vendor: its devices' keys are believed one by one, and none by default.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Final, Self

from atoll.errors import EvidenceError, InputError
from atoll.evidence.dcap import intel_chain
from atoll.evidence.dcap.intel_chain import IntelRoots
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY, DeviceKeys
from atoll.evidence.products import Product
from atoll.evidence.x509 import Certificate, ders

_NO_INTEL_ROOT: Final = IntelRoots(roots=frozenset())
_NO_DEVICE: Final = DeviceKeys(keys=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoot:
    """An ARK's key and the product whose chips it vouches for."""

    product: Product
    spki_sha256: bytes
    simulated: bool

    def __post_init__(self) -> None:
        if len(self.spki_sha256) != hashlib.sha256().digest_size:
            raise ValueError("spki_sha256 is not 32 bytes")
        if self.simulated != (self.product is Product.SIMULATED):
            raise ValueError("exactly the product 'Simulated' is simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """The roots that one relying party believes. An empty store believes nothing."""

    roots: frozenset[TrustedRoot]
    """AMD's, for SEV-SNP."""
    intel: IntelRoots = _NO_INTEL_ROOT
    """For TDX."""
    keystone: DeviceKeys = _NO_DEVICE
    """Public keys of Keystone devices."""

    def find(self, product: Product, spki_sha256: bytes) -> TrustedRoot | None:
        """The root for this product with this key, or None."""
        return next(
            (
                root
                for root in self.roots
                if root.product is product and root.spki_sha256 == spki_sha256
            ),
            None,
        )

    @property
    def has_simulated(self) -> bool:
        """Whether simulated evidence could be believed; surfaces should say so."""
        return (
            any(root.simulated for root in self.roots)
            or any(root.simulated for root in self.intel.roots)
            or DEVELOPMENT_DEVICE_KEY in self.keystone.keys
        )

    def with_development_root(self, ark: bytes) -> Self:
        """This store plus the simulated TEE's root, an `ARK-Simulated` certificate.

        Args:
            ark: DER or PEM.

        Raises:
            InputError: `trust.development_root`: not one certificate, or not named
                `ARK-Simulated`, so that this cannot widen trust in a real product.
        """
        try:
            found = [Certificate.from_bytes(der) for der in ders(ark)]
        except EvidenceError as error:
            raise InputError(
                f"development root is not a certificate: {error.message}",
                code="trust.development_root",
            ) from error
        if len(found) != 1 or found[0].subject_cn != f"ARK-{Product.SIMULATED.value}":
            raise InputError(
                f"development root is {found[0].subject_cn!r}, want one 'ARK-Simulated'",
                code="trust.development_root",
            )
        root = TrustedRoot(
            product=Product.SIMULATED,
            spki_sha256=hashlib.sha256(found[0].spki).digest(),
            simulated=True,
        )
        return replace(self, roots=self.roots | {root})


def _amd(product: Product, spki_sha256: str) -> TrustedRoot:
    return TrustedRoot(product=product, spki_sha256=bytes.fromhex(spki_sha256), simulated=False)


PRODUCTION: Final = TrustStore(
    roots=frozenset(
        {
            _amd(Product.MILAN, "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
            _amd(Product.GENOA, "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
            _amd(Product.TURIN, "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
        }
    ),
    intel=intel_chain.PRODUCTION,
)
"""SHA-256 of the SubjectPublicKeyInfo of AMD's ARK-Milan, ARK-Genoa and ARK-Turin, and of
Intel's production root. No Keystone device."""
