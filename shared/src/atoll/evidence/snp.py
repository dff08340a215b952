"""The SEV-SNP attestation report: ATTESTATION_REPORT of AMD 56860, table 23.

1184 bytes, little-endian. Versions 2 to 5 are read; version 1 is obsolete.

| off | size | field                                                               |
| 000 | 4    | VERSION                                                             |
| 004 | 4    | GUEST_SVN                                                           |
| 008 | 8    | POLICY: GuestPolicy                                                 |
| 010 | 16   | FAMILY_ID                                                           |
| 020 | 16   | IMAGE_ID                                                            |
| 030 | 4    | VMPL of the requester, 0 to 3                                       |
| 034 | 4    | SIGNATURE_ALGO, 1 = ECDSA P-384 with SHA-384                        |
| 038 | 8    | CURRENT_TCB                                                         |
| 040 | 8    | PLATFORM_INFO: PlatformInfo                                         |
| 048 | 4    | bit 0 AUTHOR_KEY_EN, 1 MASK_CHIP_KEY, 4:2 SIGNING_KEY, 31:5 zero    |
| 04C | 4    | zero                                                                |
| 050 | 64   | REPORT_DATA                                                         |
| 090 | 48   | MEASUREMENT                                                         |
| 0C0 | 32   | HOST_DATA                                                           |
| 0E0 | 48   | ID_KEY_DIGEST                                                       |
| 110 | 48   | AUTHOR_KEY_DIGEST                                                   |
| 140 | 32   | REPORT_ID                                                           |
| 160 | 32   | REPORT_ID_MA                                                        |
| 180 | 8    | REPORTED_TCB                                                        |
| 188 | 3    | CPUID family, model, stepping (version 3 and later, else zero)      |
| 18B | 21   | zero                                                                |
| 1A0 | 64   | CHIP_ID                                                             |
| 1E0 | 8    | COMMITTED_TCB                                                       |
| 1E8 | 4    | CURRENT build, minor, major, zero                                   |
| 1EC | 4    | COMMITTED build, minor, major, zero                                 |
| 1F0 | 8    | LAUNCH_TCB                                                          |
| 1F8 | 8    | LAUNCH_MIT_VECTOR (version 5 and later, else zero)                  |
| 200 | 8    | CURRENT_MIT_VECTOR (version 5 and later, else zero)                 |
| 208 | 152  | zero                                                                |
| 2A0 | 72   | signature R, 48 bytes little-endian, then zero                      |
| 2E8 | 72   | signature S, likewise                                               |
| 330 | 368  | zero, not signed                                                    |

The signature covers 000 to 29F. Implementations disagree on PLATFORM_INFO bit 6: one
refuses it, genuine Turin chips set it. Unknown bits there are kept and not refused;
unknown bits of POLICY and of the flags at 048 are.

The TCB fields stay raw, since their layout depends on the product, which a version 2
report does not tell: `products.TcbVersion.from_bytes`.
"""

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final, Self

from atoll.errors import MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._fixed import FixedReader, FixedWriter

REPORT_SIZE: Final = 0x4A0
SIGNED_SIZE: Final = 0x2A0
VERSIONS: Final = (2, 3, 4, 5)
ECDSA_P384_SHA384: Final = 1
SIGNING_KEY_VCEK: Final = 0
SIGNING_KEY_VLEK: Final = 1
SIGNING_KEY_NONE: Final = 7
MAX_VMPL: Final = 3

_STRUCTURE: Final = "SNP report"
_CPUID_SINCE: Final = 3
_MIT_SINCE: Final = 5
_MAX_BYTE: Final = 0xFF


class GuestPolicy(IntFlag):
    """Bits 16 and up of POLICY (AMD 56860, table 9); below them is the minimum ABI."""

    SMT = 1 << 16
    RESERVED_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


class PlatformInfo(IntFlag):
    """Bits of PLATFORM_INFO (AMD 56860, table 24) that a policy can name."""

    SMT_EN = 1 << 0
    TSME_EN = 1 << 1
    ECC_EN = 1 << 2
    RAPL_DIS = 1 << 3
    CIPHERTEXT_HIDING_DRAM_EN = 1 << 4
    ALIAS_CHECK_COMPLETE = 1 << 5
    SEV_TIO_EN = 1 << 7


@dataclass(frozen=True, slots=True, order=True)
class AbiVersion:
    """A version of AMD's firmware interface; ordered, the major number first."""

    major: int
    minor: int

    def __post_init__(self) -> None:
        for value in (self.major, self.minor):
            if type(value) is not int or not 0 <= value <= _MAX_BYTE:
                raise ValueError(f"version {self} is not two numbers of 0 to {_MAX_BYTE}")

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBody:
    """The signed fields, by the names of the specification."""

    version: int = 3
    guest_svn: int = 0
    policy: int = int(GuestPolicy.RESERVED_ONE)
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    vmpl: int = 0
    current_tcb: bytes = bytes(8)
    platform_info: int = 0
    author_key_en: bool = False
    mask_chip_key: bool = False
    signing_key: int = SIGNING_KEY_VCEK
    report_data: bytes = bytes(64)
    measurement: bytes = bytes(48)
    host_data: bytes = bytes(32)
    id_key_digest: bytes = bytes(48)
    author_key_digest: bytes = bytes(48)
    report_id: bytes = bytes(32)
    report_id_ma: bytes = b"\xff" * 32
    reported_tcb: bytes = bytes(8)
    cpuid_fam_id: int = 0
    cpuid_mod_id: int = 0
    cpuid_step: int = 0
    chip_id: bytes = bytes(64)
    committed_tcb: bytes = bytes(8)
    current_version: tuple[int, int, int] = (0, 0, 0)
    """Major, minor, build of the firmware."""
    committed_version: tuple[int, int, int] = (0, 0, 0)
    launch_tcb: bytes = bytes(8)
    launch_mit_vector: int = 0
    current_mit_vector: int = 0

    @property
    def guest_abi(self) -> AbiVersion:
        """The least version of the firmware interface that POLICY demands."""
        return AbiVersion(self.policy >> 8 & 0xFF, self.policy & 0xFF)

    @property
    def stepping(self) -> int | None:
        """CPUID_STEP, or None in a version 2 report, which has none."""
        return self.cpuid_step if self.version >= _CPUID_SINCE else None

    def has(self, bit: GuestPolicy) -> bool:
        """Whether POLICY has this bit."""
        return bool(self.policy & bit)

    def to_bytes(self) -> bytes:
        """The 0x2A0 bytes that are signed; for a processor, simulated or in a test."""
        writer = FixedWriter(size=SIGNED_SIZE)
        flags = self.author_key_en | self.mask_chip_key << 1 | self.signing_key << 2
        for at, size, number in (
            (0x000, 4, self.version),
            (0x004, 4, self.guest_svn),
            (0x008, 8, self.policy),
            (0x030, 4, self.vmpl),
            (0x034, 4, ECDSA_P384_SHA384),
            (0x040, 8, self.platform_info),
            (0x048, 4, flags),
            (0x188, 1, self.cpuid_fam_id),
            (0x189, 1, self.cpuid_mod_id),
            (0x18A, 1, self.cpuid_step),
            (0x1F8, 8, self.launch_mit_vector),
            (0x200, 8, self.current_mit_vector),
        ):
            writer.uint(at, size, number)
        for at, size, octets in (
            (0x010, 16, self.family_id),
            (0x020, 16, self.image_id),
            (0x038, 8, self.current_tcb),
            (0x050, 64, self.report_data),
            (0x090, 48, self.measurement),
            (0x0C0, 32, self.host_data),
            (0x0E0, 48, self.id_key_digest),
            (0x110, 48, self.author_key_digest),
            (0x140, 32, self.report_id),
            (0x160, 32, self.report_id_ma),
            (0x180, 8, self.reported_tcb),
            (0x1A0, 64, self.chip_id),
            (0x1E0, 8, self.committed_tcb),
            (0x1E8, 3, bytes(reversed(self.current_version))),
            (0x1EC, 3, bytes(reversed(self.committed_version))),
            (0x1F0, 8, self.launch_tcb),
        ):
            writer.octets(at, size, octets)
        return writer.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationReport:
    """A parsed report. Nothing in it is authentic before `verify.verify_report`."""

    body: ReportBody
    signed_bytes: bytes = field(repr=False)
    signature_r: int = field(repr=False)
    signature_s: int = field(repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse exactly one report.

        Does not check: the signature, its range, or the layout of TCB fields.

        Raises:
            MalformedEvidenceError: another size, a reserved field that is not zero, a
                reserved bit, a value outside its range.
            UnsupportedEvidenceError: a version or signature algorithm other than above.
        """
        reader = FixedReader(raw, structure=_STRUCTURE, size=REPORT_SIZE)
        body = _read_body(reader)
        signature_r = reader.uint(0x2A0, 48)
        reader.zeros(0x2D0, 24)
        signature_s = reader.uint(0x2E8, 48)
        reader.zeros(0x318, 24)
        reader.zeros(0x330, 368)
        reader.finish()
        return cls(
            body=body,
            signed_bytes=bytes(raw[:SIGNED_SIZE]),
            signature_r=signature_r,
            signature_s=signature_s,
        )

    def to_bytes(self) -> bytes:
        """The whole report around the bytes that were signed, never a re-encoding of them."""
        writer = FixedWriter(size=REPORT_SIZE)
        writer.octets(0, SIGNED_SIZE, self.signed_bytes)
        writer.uint(0x2A0, 72, self.signature_r)
        writer.uint(0x2E8, 72, self.signature_s)
        return writer.finish()


def _read_body(reader: FixedReader) -> ReportBody:
    version = reader.uint(0x000, 4)
    if version not in VERSIONS:
        raise UnsupportedEvidenceError(f"SNP report version {version}, want 2 to 5")
    algorithm = reader.uint(0x034, 4)
    if algorithm != ECDSA_P384_SHA384:
        raise UnsupportedEvidenceError(f"SNP signature algorithm {algorithm}, want 1")
    flags = _flags(reader)
    cpuid = _since(reader, 0x188, 3, version >= _CPUID_SINCE)
    body = ReportBody(
        version=version,
        guest_svn=reader.uint(0x004, 4),
        policy=_policy(reader),
        family_id=reader.octets(0x010, 16),
        image_id=reader.octets(0x020, 16),
        vmpl=_vmpl(reader),
        current_tcb=reader.octets(0x038, 8),
        platform_info=reader.uint(0x040, 8),
        author_key_en=bool(flags & 1),
        mask_chip_key=bool(flags & 2),
        signing_key=flags >> 2,
        report_data=reader.octets(0x050, 64),
        measurement=reader.octets(0x090, 48),
        host_data=reader.octets(0x0C0, 32),
        id_key_digest=reader.octets(0x0E0, 48),
        author_key_digest=reader.octets(0x110, 48),
        report_id=reader.octets(0x140, 32),
        report_id_ma=reader.octets(0x160, 32),
        reported_tcb=reader.octets(0x180, 8),
        cpuid_fam_id=cpuid[0],
        cpuid_mod_id=cpuid[1],
        cpuid_step=cpuid[2],
        chip_id=reader.octets(0x1A0, 64),
        committed_tcb=reader.octets(0x1E0, 8),
        current_version=_firmware(reader, 0x1E8),
        committed_version=_firmware(reader, 0x1EC),
        launch_tcb=reader.octets(0x1F0, 8),
        launch_mit_vector=_number(_since(reader, 0x1F8, 8, version >= _MIT_SINCE)),
        current_mit_vector=_number(_since(reader, 0x200, 8, version >= _MIT_SINCE)),
    )
    for at, size in ((0x04C, 4), (0x18B, 21), (0x1EB, 1), (0x1EF, 1), (0x208, 152)):
        reader.zeros(at, size)
    return body


def _policy(reader: FixedReader) -> int:
    policy = reader.uint(0x008, 8)
    if not policy & GuestPolicy.RESERVED_ONE or policy >> 26:
        raise MalformedEvidenceError(
            _STRUCTURE, 0x008, f"POLICY 0x{policy:x} has a wrong reserved bit"
        )
    return policy


def _vmpl(reader: FixedReader) -> int:
    vmpl = reader.uint(0x030, 4)
    if vmpl > MAX_VMPL:
        raise reader.fail(0x030, f"VMPL is {vmpl}, want 0 to 3")
    return vmpl


def _flags(reader: FixedReader) -> int:
    flags = reader.uint(0x048, 4)
    known = (SIGNING_KEY_VCEK, SIGNING_KEY_VLEK, SIGNING_KEY_NONE)
    if flags >> 5 or flags >> 2 not in known:
        raise reader.fail(0x048, f"flags 0x{flags:x} have a reserved bit or SIGNING_KEY")
    return flags


def _since(reader: FixedReader, at: int, size: int, present: bool) -> bytes:  # noqa: FBT001
    """A field that older versions reserve."""
    if present:
        return reader.octets(at, size)
    reader.zeros(at, size)
    return bytes(size)


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _firmware(reader: FixedReader, at: int) -> tuple[int, int, int]:
    build, minor, major = reader.octets(at, 3)
    return major, minor, build
