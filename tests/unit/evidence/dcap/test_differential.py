"""Against `dcap-qvl`, another open verifier: every sample, and mutations of it.

What it accepts, we accept with the same status and advisories, except where we are
stricter on purpose: trailing bytes, the outer certification type, the CNs, PCEID, the
root copy in the chain, the upper half of the QE's REPORTDATA. What it refuses for
reasons of policy (debug, SEPT_VE_DISABLE, a service TD, Revoked), limits (32 bytes of
authentication data) or for not reading it (TCB info version 2) is not compared.
"""

import importlib
import os
import random
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest

from atoll.errors import EvidenceError
from atoll.evidence.dcap.collateral import Collateral, verify_collateral
from atoll.evidence.dcap.intel_chain import PRODUCTION, IntelRoot, IntelRoots
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.signed_json import with_hex_signature
from atoll.evidence.dcap.verify import verify_quote
from support import dcap, vectors

CASES = (*vectors.of_kind("tdx_quote"), *vectors.of_kind("sgx_quote"))
MUTATIONS = int(os.environ.get("ATOLL_MUTATIONS", "25"))  # noqa: TID251
SEED = 20260601
Verdict = tuple[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def qvl() -> ModuleType:
    """The other library: absent at a desk, a failure in CI."""
    vectors.require()
    if os.environ.get("CI") == "true":  # noqa: TID251
        return importlib.import_module("dcap_qvl")
    module: ModuleType = pytest.importorskip("dcap_qvl")
    return module


def _collateral(files: dict[str, bytes]) -> Collateral:
    return Collateral(
        tcb_info=with_hex_signature(files["tcb_info"], files["tcb_info_sig"]),
        tcb_info_chain=files["tcb_chain"],
        qe_identity=with_hex_signature(files["qe_identity"], files["qe_identity_sig"]),
        qe_identity_chain=files["qe_chain"],
        root_crl=files["root_crl"],
        pck_crl=files["pck_crl"],
    )


def _ours(quote: bytes, collateral: Any, roots: IntelRoots, now: datetime) -> Verdict | str:
    try:
        tcb = verify_quote(quote, collateral, roots, now=now).tcb
    except EvidenceError as error:
        return error.code
    return tcb.status.value, tcb.advisory_ids


def _files(case: dict[str, Any]) -> dict[str, bytes]:
    return {role: vectors.read(path) for role, path in case["files"].items()}


class Theirs:
    """The other verifier with the collateral of one case."""

    def __init__(
        self, qvl: ModuleType, quote: bytes, files: dict[str, bytes], now: datetime
    ) -> None:
        self._qvl, self._now = qvl, int(now.timestamp())
        try:
            chain = Quote.from_bytes(quote).certification.chain
        except EvidenceError:
            chain = ()
        self._root = chain[-1] if chain else b""
        self._collateral = qvl.QuoteCollateralV3(
            pck_crl_issuer_chain=dcap.pem(*chain[1:]).decode(),
            root_ca_crl=files["root_crl"],
            pck_crl=files["pck_crl"],
            tcb_info_issuer_chain=files["tcb_chain"].decode(),
            tcb_info=files["tcb_info"].decode(),
            tcb_info_signature=bytes.fromhex(files["tcb_info_sig"].decode()),
            qe_identity_issuer_chain=files["qe_chain"].decode(),
            qe_identity=files["qe_identity"].decode(),
            qe_identity_signature=bytes.fromhex(files["qe_identity_sig"].decode()),
        )

    def judge(self, quote: bytes, *, own_root: bool = False) -> Verdict | str:
        try:
            if own_root:
                report = self._qvl.verify_with_root_ca(
                    quote, self._collateral, self._root, self._now
                )
            else:
                report = self._qvl.verify(quote, self._collateral, self._now)
        except ValueError as error:
            return str(error)
        return report.status, tuple(sorted(report.advisory_ids))


def _roots(case: dict[str, Any]) -> IntelRoots:
    root = case.get("trusted_root_spki")
    if root is None:
        return PRODUCTION
    pinned = IntelRoot(spki_sha256=bytes.fromhex(root), simulated=False)
    return IntelRoots(roots=frozenset({pinned}))


STRICTER = {
    "tdx-v4-00b2526a-c3-trailing-garbage",
    "tdx-v4-00b2526a-c3-outer-cert-type-5",
    "tdx-constructed-pck-wrong-cn",
    "tdx-constructed-tcbinfo-pceid",
    "tdx-constructed-root-swapped-in-chain",
}
POLICY = (
    "Debug mode is enabled",
    "SEPT_VE_DISABLE",
    "Invalid MR service TD",
    "TCB status is invalid",
    "Invalid QE auth data",
    "Failed to decode TcbInfo",
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_agrees_on_every_sample(qvl: ModuleType, case: dict[str, Any]) -> None:
    quote, now = vectors.read(case["path"]), datetime.fromisoformat(case["verify_time"])
    files = _files(case)
    own = "trusted_root_spki" in case
    theirs = Theirs(qvl, quote, files, now).judge(quote, own_root=own)
    try:
        ours = _ours(quote, _collateral(files), _roots(case), now)
    except EvidenceError as error:
        ours = error.code
    if isinstance(theirs, str):
        assert isinstance(ours, str) or any(reason in theirs for reason in POLICY), theirs
    elif case["id"] in STRICTER:
        assert isinstance(ours, str)
    else:
        assert ours == theirs


MUTATED = tuple(
    case for case in CASES if case["expected"]["verdict"] == "valid" and case["origin"] == "real"
)


@pytest.mark.parametrize("case", MUTATED, ids=lambda case: case["id"])
def test_agrees_on_mutations_of_a_sample(qvl: ModuleType, case: dict[str, Any]) -> None:
    quote, now = vectors.read(case["path"]), datetime.fromisoformat(case["verify_time"])
    files = _files(case)
    collateral = verify_collateral(_collateral(files), PRODUCTION, now=now)
    theirs = Theirs(qvl, quote, files, now)
    if isinstance(theirs.judge(quote), str):
        return  # debug or the like: every mutation is refused there
    original = Quote.from_bytes(quote)
    source = random.Random(f"{SEED} {case['id']}")
    for number in range(MUTATIONS):
        mutated = _mutate(quote, source)
        there, here = theirs.judge(mutated), _ours(mutated, collateral, PRODUCTION, now)
        if isinstance(there, str):
            # Here a line may end anywhere in a PEM block: then the quote read is the same.
            same = not isinstance(here, str) and Quote.from_bytes(mutated) == original
            assert isinstance(here, str) or same, f"mutation {number}: only we accept; {there}"
        elif isinstance(here, str):
            assert _is_stricter(quote, mutated, here), f"mutation {number}: only we refuse, {here}"
        else:
            assert here == there, f"mutation {number}"


def _mutate(quote: bytes, source: random.Random) -> bytes:
    at, kind = source.randrange(len(quote)), source.randrange(6)
    match kind:
        case 0:
            return quote[:at]
        case 1:
            return quote[:at] + source.randbytes(4) + quote[at + 4 :]
        case 2:
            return quote[:at] + source.randbytes(1) + quote[at:]
        case 3:
            return quote + source.randbytes(3)
        case _:
            return quote[:at] + bytes([quote[at] ^ 1 << source.randrange(8)]) + quote[at + 1 :]


def _is_stricter(quote: bytes, mutated: bytes, code: str) -> bool:
    """Whether the first change is where the other verifier does not look."""
    pairs = zip(quote, mutated, strict=False)
    at = next((n for n, (old, new) in enumerate(pairs) if old != new), len(quote))
    first, last = quote.find(b"-----BEGIN"), quote.rfind(b"-----BEGIN")
    # The copy of the root, what trails, the armour of the PEM, the outer certification type.
    outer = quote.find(Quote.from_bytes(quote).qe_report_bytes) - 6
    # The inner size: what it leaves over is ignored there.
    unread = at >= first - 4 or at in (outer, outer + 1)
    return at >= last or (unread and code == "evidence.malformed")
