"""Intel's collateral as its service serves it: our vendor's, and what was recorded of Intel's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.signed_json import SignedJson
from atoll.evidence.trust import TrustStore
from support import dcap, vectors

RECORDED = "tdx-v4-00b2526a-c3"
"""A genuine quote of a platform that was up to date, with its collateral."""
_SIGNED = b'{"%s":%s,"signature":"%s"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A body and the chain that goes into the header."""

    body: bytes
    chain: bytes = b""

    def headers(self, name: str) -> dict[str, str]:
        return {name: quote(self.chain)} if self.chain else {}


def envelope(name: str, value: SignedJson) -> bytes:
    return _SIGNED % (name.encode(), value.raw, value.signature.hex().encode())


def own_trust() -> TrustStore:
    """Only our vendor's root."""
    return TrustStore(roots=frozenset(), intel=dcap.roots())


def own(**changes: Served) -> dict[str, Served]:
    """Good documents of our vendor by key, with some changed."""
    root, platform = dcap.pem(dcap.root_der()), dcap.pem(*dcap.pck_chain()[1:])
    parts = {
        f"intel.tcb.tdx.{dcap.FMSPC}": Served(
            body=envelope("tcbInfo", dcap.signed(dcap.tcb_info())), chain=dcap.tcb_chain()
        ),
        "intel.qe.tdx": Served(
            body=envelope("enclaveIdentity", dcap.signed(dcap.qe_identity())),
            chain=dcap.tcb_chain(),
        ),
        "intel.crl.platform": Served(body=dcap.pck_crl(), chain=platform),
        "intel.crl.root": Served(body=dcap.root_crl(), chain=root),
    }
    return parts | {key.replace("_", "."): value for key, value in changes.items()}


def case(name: str = RECORDED) -> Mapping[str, object]:
    """A case of the vectors' manifest."""
    return next(one for one in vectors.of_kind("tdx_quote") if one["id"] == name)


def recorded(name: str = RECORDED) -> tuple[bytes, dict[str, Served]]:
    """A genuine quote and Intel's documents about it, by key."""
    found = case(name)
    files = {role: vectors.read(path) for role, path in _files(found).items()}
    raw = vectors.read(str(found["path"]))
    chain = Quote.from_bytes(raw).certification.chain

    def signed(label: str, role: str, chain_role: str) -> Served:
        value = _SIGNED % (label.encode(), files[role], files[f"{role}_sig"].strip())
        return Served(body=value, chain=files[chain_role])

    fmspc = str(_fields(found)["fmspc"])
    return raw, {
        f"intel.tcb.tdx.{fmspc}": signed("tcbInfo", "tcb_info", "tcb_chain"),
        "intel.qe.tdx": signed("enclaveIdentity", "qe_identity", "qe_chain"),
        "intel.crl.platform": Served(body=files["pck_crl"], chain=dcap.pem(*chain[1:])),
        "intel.crl.root": Served(body=files["root_crl"], chain=dcap.pem(chain[-1])),
    }


def flipped(served: Served, at: int) -> Served:
    """With one bit of the body turned."""
    body = bytearray(served.body)
    body[at] ^= 1
    return replace(served, body=bytes(body))


def _files(found: Mapping[str, object]) -> dict[str, str]:
    files = found["files"]
    assert isinstance(files, dict)
    return files


def _fields(found: Mapping[str, object]) -> dict[str, object]:
    fields = found["fields"]
    assert isinstance(fields, dict)
    return fields
