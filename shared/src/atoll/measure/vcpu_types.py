"""The CPUID signature of QEMU's processor models: what a vCPU finds in RDX at its start.

Sources: AMD 25481, CPUID Fn0000_0001_EAX; the models in QEMU's target/i386/cpu.c.
Versions of a model (`EPYC-Milan-v2`) differ in features, never in the signature.
"""

import re
from typing import Final

from atoll.errors import InputError

_BASE_FAMILY: Final = 0x0F
_MAX_FAMILY: Final = _BASE_FAMILY + 0xFF
_VERSION: Final = re.compile(r"-v[1-9][0-9]?\Z")
_SIGNATURE: Final = re.compile(r"0x[0-9a-fA-F]{1,8}\Z")


def cpuid_signature(*, family: int, model: int, stepping: int) -> int:
    """EAX of CPUID function 1.

    Raises:
        ValueError: a number that does not fit its field.
    """
    if not (0 <= family <= _MAX_FAMILY and 0 <= model <= 0xFF and 0 <= stepping <= 0x0F):  # noqa: PLR2004
        raise ValueError(f"there is no family {family} model {model} stepping {stepping}")
    base = min(family, _BASE_FAMILY)
    extended = family - base
    return extended << 20 | model >> 4 << 16 | base << 8 | (model & 0x0F) << 4 | stepping


VCPU_TYPES: Final = {
    "EPYC": cpuid_signature(family=0x17, model=0x01, stepping=2),
    "EPYC-IBPB": cpuid_signature(family=0x17, model=0x01, stepping=2),
    "EPYC-Rome": cpuid_signature(family=0x17, model=0x31, stepping=0),
    "EPYC-Milan": cpuid_signature(family=0x19, model=0x01, stepping=1),
    "EPYC-Genoa": cpuid_signature(family=0x19, model=0x11, stepping=0),
    "EPYC-Turin": cpuid_signature(family=0x1A, model=0x00, stepping=0),
}
"""Signatures by model name."""


def vcpu_signature(name: str) -> int:
    """The signature of a model, of a version of it, or one written as 0x and hex digits.

    Raises:
        InputError: `measure.vcpu_type`: not known here.
    """
    if _SIGNATURE.match(name):
        return int(name, 16)
    found = VCPU_TYPES.get(_VERSION.sub("", name))
    if found is None:
        known = ", ".join(VCPU_TYPES)
        raise InputError(
            f"vCPU type {name[:40]!r} is not known; want {known}, a version of one (-v2), "
            "or a CPUID signature as 0x00a00f11",
            code="measure.vcpu_type",
        )
    return found
