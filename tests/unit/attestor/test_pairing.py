"""Files are told apart by what they hold, whatever it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.evidence.x509 import Certificate, ders
from atoll_attestor.collateral import pairing
from atoll_attestor.collateral.pairing import sort, to_pem
from support import dcap, intel_pcs
from support.evidence import chain


@given(st.dictionaries(st.text(max_size=3), st.binary(max_size=100), max_size=4))
@settings(max_examples=200)
def test_any_bytes_are_of_use_or_not(files: dict[str, bytes]) -> None:
    found = sort(files)
    assert len(found.names) == len(found.candidates)
    assert set(found.useless) <= set(files)


def test_pem_is_read_back() -> None:
    certificates = [Certificate.from_bytes(der) for der in chain().certificates]
    assert ders(to_pem(*certificates)) == tuple(one.der for one in certificates)


def test_a_document_is_offered_with_each_signer_of_the_right_name() -> None:
    own = intel_pcs.own()
    files = {"qe": own["intel.qe.tdx"].body, "crl": own["intel.crl.platform"].body}
    signer, root = ders(own["intel.qe.tdx"].chain)
    files |= {"signer": signer, "root": root, "ca": dcap.PLATFORM_CA.issue(dcap.key("root"))}
    files["look-alike"] = dcap.TCB_SIGNING.issue(dcap.key("pck"))
    found = sort(files)
    ways = dict(zip(found.names, found.candidates, strict=True))
    assert {name: len(some) for name, some in ways.items()} == {"qe": 2, "crl": 1}
    assert not found.useless


def test_too_many_authorities_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "MAX_CERTIFICATES", 1)
    found = sort({"chain": intel_pcs.own()["intel.qe.tdx"].chain})
    assert "over 1" in found.useless["chain"]
