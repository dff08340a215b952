"""AMD product lines: how they are told apart, and what differs between them.

Sources: AMD 56860 (TCB_VERSION, CPUID_FAM_ID and CPUID_MOD_ID of the report); AMD
57230 (product names in certificates). Genoa stands for Bergamo and Siena too, which
share its certificate authority.

"Simulated" is not AMD's: it is the product of Atoll's development TEE. Its CPUID
family and model are FFh and FFh. AMD has not used family FFh, so a simulated report
maps to no AMD product and no AMD report maps to it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from atoll.errors import MalformedEvidenceError

SIMULATED_FAMILY: Final = 0xFF
SIMULATED_MODEL: Final = 0xFF

_FAMILY_19H: Final = 0x19
_FAMILY_1AH: Final = 0x1A


class Product(Enum):
    """A product line, by the name that its certificates carry."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"
    SIMULATED = "Simulated"

    @property
    def has_fmc(self) -> bool:
        """Whether TCB_VERSION has Turin's layout, which starts with the FMC."""
        return self is Product.TURIN

    @property
    def hwid_size(self) -> int:
        """Significant bytes of CHIP_ID."""
        return 8 if self is Product.TURIN else 64


def product_of_cpuid(family: int, model: int) -> Product | None:
    """The product line of a processor, or None for one that is not known here."""
    if family == _FAMILY_19H and model <= 0x0F:  # noqa: PLR2004
        return Product.MILAN
    if family == _FAMILY_19H and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):  # noqa: PLR2004
        return Product.GENOA
    if family == _FAMILY_1AH and model <= 0x11:  # noqa: PLR2004
        return Product.TURIN
    if (family, model) == (SIMULATED_FAMILY, SIMULATED_MODEL):
        return Product.SIMULATED
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbVersion:
    """Security version numbers, one byte each. Compare them one by one.

    As one integer the microcode byte would outweigh all others, so there is no order
    on this type. `fmc` is 0 for products that have none.
    """

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def __post_init__(self) -> None:
        for name, value in self.components():
            if not 0 <= value <= 0xFF:  # noqa: PLR2004
                raise ValueError(f"{name} is {value}, want 0 to 255")

    @classmethod
    def from_bytes(cls, raw: bytes, product: Product) -> Self:
        """Read TCB_VERSION (AMD 56860, table 3) in the product's layout.

        | byte | Milan, Genoa, Simulated | Turin       |
        | 0    | boot loader             | FMC         |
        | 1    | TEE                     | boot loader |
        | 2    | 0                       | TEE         |
        | 3    | 0                       | SNP         |
        | 4, 5 | 0                       | 0           |
        | 6    | SNP                     | 0           |
        | 7    | microcode               | microcode   |

        Raises:
            MalformedEvidenceError: not 8 bytes, or a reserved byte is not zero.
        """
        reserved = (4, 5, 6) if product.has_fmc else (2, 3, 4, 5)
        if len(raw) != 8 or any(raw[at] for at in reserved):  # noqa: PLR2004
            raise MalformedEvidenceError(
                "TCB_VERSION", 0, f"{raw.hex()} is not of {product.value}'s layout"
            )
        if product.has_fmc:
            return cls(fmc=raw[0], bootloader=raw[1], tee=raw[2], snp=raw[3], microcode=raw[7])
        return cls(bootloader=raw[0], tee=raw[1], snp=raw[6], microcode=raw[7])

    def to_bytes(self, product: Product) -> bytes:
        """The inverse of `from_bytes`."""
        if product.has_fmc:
            head = (self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0)
        else:
            head = (self.bootloader, self.tee, 0, 0, 0, 0, self.snp)
        return bytes((*head, self.microcode))

    def components(self) -> tuple[tuple[str, int], ...]:
        """(name, version) of each component, in the order in which they load."""
        return (
            ("fmc", self.fmc),
            ("bootloader", self.bootloader),
            ("tee", self.tee),
            ("snp", self.snp),
            ("microcode", self.microcode),
        )
