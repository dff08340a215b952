"""Intel's service on this machine, as far as Atoll asks it."""

from collections.abc import Mapping

from integration.attestor import kds
from integration.attestor.kds import FakeKds
from support.intel_pcs import Served

ROOT_CRL = "/root.der"
HEADERS = {
    "tcb": "TCB-Info-Issuer-Chain",
    "qe": "SGX-Enclave-Identity-Issuer-Chain",
    "crl": "SGX-PCK-CRL-Issuer-Chain",
}


def path(key: str) -> str:
    """Where the document with this key is asked for."""
    _, kind, *rest = key.split(".")
    if kind == "tcb":
        return f"/{rest[0]}/certification/v4/tcb?fmspc={rest[1].upper()}"
    if kind == "qe":
        return f"/{rest[0]}/certification/v4/qe/identity"
    if rest == ["root"]:
        return ROOT_CRL
    return f"/sgx/certification/v4/pckcrl?ca={rest[0]}&encoding=der"


def serve(fake: FakeKds, documents: Mapping[str, Served]) -> None:
    """Answer with these."""
    for key, served in documents.items():
        kind = key.split(".")[1]
        headers = {} if path(key) == ROOT_CRL else served.headers(HEADERS[kind])
        fake.answers[path(key)] = [kds.body(served.body, headers)]
