"""Every field of a SEV-SNP report by the specification's name, as text. Proves nothing.

Bytes are hexadecimal as they stand in the report, sets of bits hexadecimal numbers, and
other numbers decimal. Reserved ranges are not shown. Version 1, which `snp` refuses,
is shown too: it has the layout of version 2 without what that added.
"""

from collections.abc import Callable
from typing import Final

from atoll.evidence._fixed import FixedReader
from atoll.evidence.snp import (
    REPORT_SIZE,
    SIGNED_SIZE,
    SIGNING_KEY_NONE,
    SIGNING_KEY_VCEK,
    SIGNING_KEY_VLEK,
    GuestPolicy,
)

_KEYS: Final = {SIGNING_KEY_VCEK: "VCEK", SIGNING_KEY_VLEK: "VLEK", SIGNING_KEY_NONE: "none"}


def _decimal(raw: bytes) -> str:
    return str(int.from_bytes(raw, "little"))


def _bits(raw: bytes) -> str:
    return hex(int.from_bytes(raw, "little"))


def _firmware(raw: bytes) -> str:
    return ".".join(str(part) for part in reversed(raw))


_TABLE: Final[tuple[tuple[str, int, int, Callable[[bytes], str]], ...]] = (
    ("version", 0x000, 4, _decimal),
    ("guest_svn", 0x004, 4, _decimal),
    ("policy", 0x008, 8, _bits),
    ("family_id", 0x010, 16, bytes.hex),
    ("image_id", 0x020, 16, bytes.hex),
    ("vmpl", 0x030, 4, _decimal),
    ("signature_algo", 0x034, 4, _decimal),
    ("current_tcb", 0x038, 8, bytes.hex),
    ("platform_info", 0x040, 8, _bits),
    ("signer_info", 0x048, 4, _bits),
    ("report_data", 0x050, 64, bytes.hex),
    ("measurement", 0x090, 48, bytes.hex),
    ("host_data", 0x0C0, 32, bytes.hex),
    ("id_key_digest", 0x0E0, 48, bytes.hex),
    ("author_key_digest", 0x110, 48, bytes.hex),
    ("report_id", 0x140, 32, bytes.hex),
    ("report_id_ma", 0x160, 32, bytes.hex),
    ("reported_tcb", 0x180, 8, bytes.hex),
    ("cpuid_fam_id", 0x188, 1, _decimal),
    ("cpuid_mod_id", 0x189, 1, _decimal),
    ("cpuid_step", 0x18A, 1, _decimal),
    ("chip_id", 0x1A0, 64, bytes.hex),
    ("committed_tcb", 0x1E0, 8, bytes.hex),
    ("current_version", 0x1E8, 3, _firmware),
    ("committed_version", 0x1EC, 3, _firmware),
    ("launch_tcb", 0x1F0, 8, bytes.hex),
    ("launch_mit_vector", 0x1F8, 8, _bits),
    ("current_mit_vector", 0x200, 8, _bits),
)


def snp_fields(raw: bytes) -> dict[str, str]:
    """The fields of one report, signature included.

    Does not check: version, reserved ranges, or anything else; `snp` does.

    Raises:
        MalformedEvidenceError: another size.
    """
    reader = FixedReader(raw, structure="SNP report", size=REPORT_SIZE)
    fields = {name: form(reader.octets(at, size)) for name, at, size, form in _TABLE}
    signer = int(fields["signer_info"], 16)
    policy = int(fields["policy"], 16)
    fields |= {
        "author_key_en": _flag(signer & 1),
        "mask_chip_key": _flag(signer & 2),
        "signing_key": _KEYS.get(signer >> 2 & 7, "reserved"),
        "policy_abi": f"{policy >> 8 & 0xFF}.{policy & 0xFF}",
        "policy_smt": _flag(policy & GuestPolicy.SMT),
        "policy_migrate_ma": _flag(policy & GuestPolicy.MIGRATE_MA),
        "policy_debug": _flag(policy & GuestPolicy.DEBUG),
        "policy_single_socket": _flag(policy & GuestPolicy.SINGLE_SOCKET),
        "signature_r": reader.octets(SIGNED_SIZE, 72).hex(),
        "signature_s": reader.octets(SIGNED_SIZE + 72, 72).hex(),
    }
    return fields


def _flag(value: int) -> str:
    return "true" if value else "false"
