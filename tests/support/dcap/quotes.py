"""Reports and the platform that signs quotes over them."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Self

from atoll.evidence._fixed import FixedWriter
from atoll.evidence.dcap.quote import INTEL_QE_VENDOR
from support.dcap import signing
from support.dcap.certificates import pck_chain, pem
from support.dcap.platform import QE_MR_SIGNER, TEE_TCB_SVN
from support.dcap.signing import le


def td_report(*, newer: bool = False, **changes: Any) -> bytes:
    """A TD report; `changes` by field, bytes or integers."""
    writer = FixedWriter(size=648 if newer else 584)
    values: dict[str, Any] = {"tee_tcb_svn": TEE_TCB_SVN, "td_attributes": 1 << 28}
    values |= {name_: bytes([at]) * 48 for at, name_ in enumerate(("mr_seam", "mr_td", "rtmr0"), 1)}
    if newer:
        values["tee_tcb_svn_2"] = TEE_TCB_SVN
    for name_, value in (values | changes).items():
        at, size = _TD_FIELDS[name_]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        writer.octets(at, size, raw)
    return writer.finish()


_TD_FIELDS = {
    "tee_tcb_svn": (0, 16),
    "mr_seam": (16, 48),
    "mr_signer_seam": (64, 48),
    "seam_attributes": (112, 8),
    "td_attributes": (120, 8),
    "xfam": (128, 8),
    "mr_td": (136, 48),
    "mr_config_id": (184, 48),
    "mr_owner": (232, 48),
    "mr_owner_config": (280, 48),
    "rtmr0": (328, 48),
    "rtmr1": (376, 48),
    "rtmr2": (424, 48),
    "rtmr3": (472, 48),
    "report_data": (520, 64),
    "tee_tcb_svn_2": (584, 16),
    "mr_service_td": (600, 48),
}


def enclave_report(**changes: Any) -> bytes:
    """An SGX enclave report; `changes` by field, bytes or integers."""
    writer = FixedWriter(size=384)
    values: dict[str, Any] = {
        "attributes": b"\x15" + bytes(15),
        "mr_signer": QE_MR_SIGNER,
        "isv_prod_id": 2,
        "isv_svn": 4,
    }
    for name_, value in (values | changes).items():
        at, size = _ENCLAVE_FIELDS[name_]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        writer.octets(at, size, raw)
    return writer.finish()


_ENCLAVE_FIELDS = {
    "cpu_svn": (0, 16),
    "misc_select": (16, 4),
    "isv_ext_prod_id": (32, 16),
    "attributes": (48, 16),
    "mr_enclave": (64, 32),
    "mr_signer": (128, 32),
    "config_id": (192, 64),
    "isv_prod_id": (256, 2),
    "isv_svn": (258, 2),
    "config_svn": (260, 2),
    "isv_family_id": (304, 16),
    "report_data": (320, 64),
}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Signs quotes. Every step can be made to go wrong by a changed field."""

    version: int = 4
    tee_type: int = 0x81
    key_type: int = 2
    vendor: bytes = INTEL_QE_VENDOR
    body: bytes = field(default_factory=td_report)
    body_type: int | None = None
    chain: tuple[bytes, ...] = field(default_factory=pck_chain)
    certification: tuple[int, bytes] | None = None
    outer_type: int = 6
    auth: bytes = bytes(range(32))
    qe: dict[str, Any] = field(default_factory=dict)
    bound_key: str = "attestation"
    attestation_key: str = "attestation"
    qe_signer: str = "pck"
    tail: bytes = b""

    @classmethod
    def sgx(cls, **changes: Any) -> Self:
        """An SGX platform with quotes of version 3."""
        body = enclave_report(mr_enclave=b"\x07" * 32, isv_prod_id=9)
        qe = {"isv_prod_id": 1}
        values: dict[str, Any] = {"version": 3, "tee_type": 0, "body": body, "qe": qe}
        return cls(**(values | changes))

    def signed_part(self) -> bytes:
        """Header, descriptor and body."""
        header = FixedWriter(size=48)
        header.uint(0, 2, self.version)
        header.uint(2, 2, self.key_type)
        header.uint(4, 4, self.tee_type)
        header.octets(12, 16, self.vendor)
        if self.version < 5:
            return header.finish() + self.body
        kinds = {384: 1, 584: 2, 648: 3}
        kind = self.body_type or kinds[len(self.body)]
        return header.finish() + le(kind, 2) + le(len(self.body), 4) + self.body

    def quote(self) -> bytes:
        """The whole quote."""
        signed_part = self.signed_part()
        ak = signing.point(signing.key(self.bound_key))
        bound = hashlib.sha256(ak + self.auth).digest() + bytes(32)
        qe = enclave_report(**({"report_data": bound} | self.qe))
        kind, data = self.certification or (5, pem(*self.chain) + b"\x00")
        inner = (
            qe + signing.sign(signing.key(self.qe_signer), qe) + le(len(self.auth), 2) + self.auth
        )
        inner += le(kind, 2) + le(len(data), 4) + data
        if self.version > 3:
            inner = le(self.outer_type, 2) + le(len(inner), 4) + inner
        signer = signing.key(self.attestation_key)
        signature_data = signing.sign(signer, signed_part) + signing.point(signer) + inner
        return signed_part + le(len(signature_data), 4) + signature_data + self.tail
