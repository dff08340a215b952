"""What real processors answered: published reports and quotes, read from where they are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.evidence.cert_table import ARK, ASK, VCEK, CertificateTable
from support import vectors


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One report or quote with what it was asked over, and what the vectors say of it."""

    case: dict[str, Any]
    raw: bytes
    report_data: bytes

    @property
    def moment(self) -> datetime:
        """When it is judged."""
        return datetime.fromisoformat(self.case["verify_time"])

    def table(self) -> bytes:
        """The certificates as a host gives them."""
        vek, ask, ark = (vectors.read(path) for path in self.case["files"]["certs"])
        return CertificateTable(entries=((VCEK, vek), (ASK, ask), (ARK, ark))).to_bytes()


def snp(product: str = "Milan") -> Recorded:
    """A genuine report under a VCEK. Skips, or fails in CI, without the vectors."""
    vectors.require()
    case = next(
        case
        for case in vectors.of_kind("snp_report")
        if case["product"] == product
        and case["origin"] == "real"
        and case["expected"]["verdict"] == "valid"
        and case["policy"] == {"vmpl": 0}
        and len(case["files"].get("certs", ())) == 3
    )
    raw = vectors.read(case["path"])
    return Recorded(case=case, raw=raw, report_data=raw[0x50:0x90])


def tdx() -> Recorded:
    """A genuine quote of version 4. Skips, or fails in CI, without the vectors."""
    case = vectors.find("tdx_quote", origin="real", product="TDX quote v4", verdict="valid")
    raw = vectors.read(case["path"])
    return Recorded(case=case, raw=raw, report_data=raw[568:632])
