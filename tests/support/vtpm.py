"""Evidence of a virtual TPM for tests: a key in software, certified as a TPM's would be.

What a real TPM makes is in `tests/integration/vtpm`. Here anything can be made wrong.
"""

import hashlib
import struct
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.trust import TrustStore
from atoll.evidence.vtpm.policy import VtpmPolicy
from atoll.evidence.vtpm.report import QUOTED, VtpmReport, qualifying_data
from atoll.tpm import templates
from atoll.tpm.authority import VtpmAuthority
from support import ccel, tpm
from support.evidence import NOW, Binding

HOST = "host-7"
KERNEL = hashlib.sha256(b"kernel").digest()
SECURE_BOOT = (
    bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
    + struct.pack("<QQ", 10, 1)
    + "SecureBoot".encode("utf-16-le")
)
SEPARATOR = bytes(4)


@cache
def authority() -> VtpmAuthority:
    """The authority that tests trust."""
    return VtpmAuthority.generate(now=NOW)


@cache
def other_authority() -> VtpmAuthority:
    """One of the same name, which nobody trusts."""
    return VtpmAuthority.generate(now=NOW)


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """The attestation key."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def other_key() -> ec.EllipticCurvePrivateKey:
    """A key in software that no authority certified."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def trust() -> TrustStore:
    """Only `authority`."""
    return TrustStore(roots=frozenset()).with_development_root(authority().certificate_pem)


def public(of: ec.EllipticCurvePrivateKey) -> bytes:
    """TPMT_PUBLIC, as the TPM would say it."""
    numbers = of.public_key().public_numbers()
    point = b"".join(tpm.two_b(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
    return templates.attestation_key()[:20] + point


def certs(by: VtpmAuthority | None = None, *, now: datetime = NOW) -> tuple[bytes, ...]:
    """The chain of `key`."""
    return (by or authority()).certify(public(key()), host_id=HOST, now=now)


def event(register: int, data: bytes, kind: int = 0x0D, digest: bytes | None = None) -> bytes:
    """A TCG_PCR_EVENT2 with SHA-256 of the data, unless a digest is given."""
    hashed = hashlib.sha256(data).digest() if digest is None else digest
    return ccel.event(register, data, kind=kind, digests={ccel.SHA256: hashed})


def boot_log(*more: bytes) -> bytes:
    """A small log of a whole boot, with further events at its end."""
    return b"".join(
        (
            ccel.first(ccel.SHA256),
            event(0, b"firmware", 8),
            event(7, SECURE_BOOT + b"\x01", 0x80000001),
            event(4, b"device path", 0x80000003, KERNEL),
            event(9, b"load options", 6),
            event(9, b"initrd", 6),
            *more,
        )
    )


def sign(message: bytes, by: ec.EllipticCurvePrivateKey) -> bytes:
    """TPMT_SIGNATURE of ECDSA with SHA-256."""
    r, s = decode_dss_signature(by.sign(message, ec.ECDSA(SHA256())))
    numbers = b"".join(tpm.two_b(one.to_bytes(32, "big")) for one in (r, s))
    return struct.pack(">HH", 0x18, 0x0B) + numbers


def digest_of(pcrs: dict[int, bytes]) -> bytes:
    """What a quote of these registers has."""
    return hashlib.sha256(b"".join(pcrs[number] for number in sorted(pcrs))).digest()


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What a guest has; tests replace what shall be wrong."""

    log: bytes = field(default_factory=boot_log)
    registers: dict[int, bytes] | None = None
    """Those that are quoted; None: what the log replays to."""
    by: ec.EllipticCurvePrivateKey = field(default_factory=key)

    def pcrs(self) -> dict[int, bytes]:
        """The values of the registers that are quoted."""
        return dict.fromkeys(QUOTED, bytes(32)) | replayed(self.log) | (self.registers or {})

    def quote(self, extra: bytes, **changes: Any) -> bytes:
        """TPMS_ATTEST of the registers."""
        pcrs = self.pcrs()
        plain = tpm.Quote(extra=extra, selections=(tpm.selection(pcrs),), digest=digest_of(pcrs))
        return replace(plain, **changes).message()

    def report(self, report_data: bytes, **changes: Any) -> VtpmReport:
        """The whole report."""
        attest = self.quote(qualifying_data(report_data), **changes)
        return VtpmReport(
            attest=attest,
            signature=sign(attest, self.by),
            pcrs=self.pcrs(),
            event_log=self.log,
        )


def replayed(log: bytes) -> dict[int, bytes]:
    """The registers that a log of `boot_log` extends: by its own way of reading it."""
    found: dict[int, bytes] = {}
    at = len(ccel.first(ccel.SHA256))
    while at < len(log):
        register, kind = struct.unpack_from("<II", log, at)
        digest = log[at + 14 : at + 46]
        (size,) = struct.unpack_from("<I", log, at + 46)
        at += 50 + size
        if kind != 3:
            extended = found.get(register, bytes(32)) + digest
            found[register] = hashlib.sha256(extended).digest()
    return found


def document(
    guest: Guest | None = None,
    *,
    report: bytes | None = None,
    chain: tuple[bytes, ...] | None = None,
    binding: Binding | None = None,
) -> EvidenceDocument:
    """A good document, or one with another report or chain."""
    bound = binding or Binding()
    made = (guest or Guest()).report(bound.report_data).to_bytes()
    return EvidenceDocument(
        tee=Tee.VTPM,
        enclave_id="enclave-1",
        report=made if report is None else report,
        certs=certs() if chain is None else chain,
        signing_key=bound.signing_key,
        hpke_key=bound.hpke_key,
        manifest_digest=bound.manifest_digest,
        nonce=bound.nonce,
    )


def policy(**changes: Any) -> VtpmPolicy:
    """As strict as `Guest` can pass."""
    pcrs = Guest().pcrs()
    strict = VtpmPolicy(
        allow_host_tpm=True,
        pcr9s=frozenset({pcrs[9]}),
        kernel_digests=frozenset({KERNEL}),
        pcr0s=frozenset({pcrs[0]}),
        pcr_values={7: pcrs[7]},
        require_secure_boot=True,
        hosts=frozenset({HOST}),
    )
    return replace(strict, **changes)
