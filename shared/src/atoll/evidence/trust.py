"""Which root keys are believed: the vendors' by default, a development one only when named.

A root is pinned by the SHA-256 of its SubjectPublicKeyInfo; AMD's together with the one
product it may speak for. A certificate that evidence brings along is never a root. Keystone
has no vendor: its devices' keys are believed one by one, and none by default. Nor have virtual
TPMs: the authority of a deployment is believed where it is named, as what it is, a host's word.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Final, Self

from atoll.errors import EvidenceError, InputError, UnsupportedEvidenceError
from atoll.evidence.dcap import intel_chain
from atoll.evidence.dcap.intel_chain import IntelRoots, read_certificate
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY, DeviceKeys
from atoll.evidence.products import Product
from atoll.evidence.vtpm.chain import AUTHORITY_CN, VtpmRoots
from atoll.evidence.x509 import Certificate, ders

MAX_DEVICE_KEYS: Final = 1024

_NO_INTEL_ROOT: Final = IntelRoots(roots=frozenset())
_NO_DEVICE: Final = DeviceKeys(keys=frozenset())
_NO_AUTHORITY: Final = VtpmRoots(keys=frozenset())


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
    vtpm: VtpmRoots = _NO_AUTHORITY
    """Authorities of virtual TPMs, under which everything is marked as simulated."""

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
            or bool(self.vtpm.keys)
        )

    def with_development_root(self, root: bytes) -> Self:
        """This store plus the root of a simulated TEE, under which everything is simulated, or
        the authority of virtual TPMs, of which the same is said.

        Args:
            root: DER or PEM of an `ARK-Simulated`, or of an `Intel SGX Root CA` that is not
                Intel's, or an `Atoll vTPM Authority`; in PEM one of each.

        Raises:
            InputError: `trust.development_root`: anything else, so that this cannot widen
                trust in a real product.
        """
        store, names = self, []
        try:
            for der in ders(root):
                found = _certificate(der)
                names.append(found.subject_cn)
                store = store._with_development(found)
        except EvidenceError as error:
            raise InputError(
                f"development root is not a certificate: {error.message}",
                code="trust.development_root",
            ) from error
        if len(names) != len(set(names)):
            raise InputError("development root stands twice", code="trust.development_root")
        return store

    def with_device_keys(self, text: str) -> Self:
        """This store plus public keys of Keystone devices.

        Args:
            text: keys in hex, one on a line; what follows a `#` is a comment.

        Raises:
            InputError: `trust.device_key`: not that, over `MAX_DEVICE_KEYS`, or the key whose
                secret half is published.
        """
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        try:
            keys = frozenset(bytes.fromhex(line) for line in lines if line)
        except ValueError as error:
            raise InputError("a device key is not hex", code="trust.device_key") from error
        if len(keys) > MAX_DEVICE_KEYS:
            raise InputError(
                f"{len(keys)} device keys, at most {MAX_DEVICE_KEYS}", code="trust.device_key"
            )
        return replace(self, keystone=replace(self.keystone, keys=self.keystone.keys | keys))

    def _with_development(self, root: Certificate) -> Self:
        digest = hashlib.sha256(root.spki).digest()
        genuine = intel_chain.PRODUCTION.find(digest)
        if root.subject_cn == f"ARK-{Product.SIMULATED.value}":
            ark = TrustedRoot(product=Product.SIMULATED, spki_sha256=digest, simulated=True)
            return replace(self, roots=self.roots | {ark})
        if root.subject_cn == intel_chain.ROOT_CN and genuine is None:
            more = intel_chain.IntelRoot(spki_sha256=digest, simulated=True)
            return replace(self, intel=IntelRoots(roots=self.intel.roots | {more}))
        if root.subject_cn == AUTHORITY_CN:
            return replace(self, vtpm=VtpmRoots(keys=self.vtpm.keys | {digest}))
        raise InputError(
            f"development root is {root.subject_cn!r}, want 'ARK-Simulated', {AUTHORITY_CN!r}, or "
            f"{intel_chain.ROOT_CN!r} with another key than Intel's",
            code="trust.development_root",
        )


def _certificate(der: bytes) -> Certificate:
    """A certificate of AMD's scheme or of Intel's."""
    try:
        return Certificate.from_bytes(der)
    except UnsupportedEvidenceError:
        return read_certificate(der)


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
