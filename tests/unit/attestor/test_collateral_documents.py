"""A document is believed for its signature, and kept under the key that it says itself."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, InputError
from atoll.evidence.certs import Signer
from atoll.evidence.needed import tcb_key
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.trust import PRODUCTION
from atoll_attestor.collateral.documents import (
    chain_key,
    read,
    require_current,
    vcek_key,
)
from support import dcap, intel_pcs, vectors
from support.intel_pcs import Served, envelope

MONTH = timedelta(days=40)


def code_of(served: Served) -> str:
    with pytest.raises(EvidenceError) as caught:
        read(served.body, served.chain, intel_pcs.own_trust())
    return caught.value.code


def test_every_document_of_intel_is_kept_under_its_own_key() -> None:
    for key, served in intel_pcs.own().items():
        found = read(served.body, served.chain, intel_pcs.own_trust())
        assert found.key == key
        assert found.issued < dcap.NOW < found.next_update


def test_sgx_has_keys_of_its_own() -> None:
    parts = {
        "intel.tcb.sgx." + dcap.FMSPC: ("tcbInfo", dcap.tcb_info("SGX")),
        "intel.qe.sgx": ("enclaveIdentity", dcap.qe_identity("QE")),
    }
    for key, (name, value) in parts.items():
        body = envelope(name, dcap.signed(value))
        assert read(body, dcap.tcb_chain(), intel_pcs.own_trust()).key == key
    processor = dcap.pck_chain(issuer=dcap.PROCESSOR_CA)[1:]
    crl = dcap.crl(dcap.PROCESSOR_CA.subject, dcap.key("processor"))
    found = read(crl, dcap.pem(*processor), intel_pcs.own_trust())
    assert found.key == "intel.crl.processor"


def test_nothing_is_believed_under_another_root() -> None:
    for key, served in intel_pcs.own().items():
        with pytest.raises(EvidenceError) as caught:
            read(served.body, served.chain, PRODUCTION)
        assert caught.value.code == "evidence.untrusted_root", key


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("intel.qe.tdx", "enclaveIdentity", dcap.qe_identity("QVE")),
        ("intel.tcb", "tcbInfo", dcap.tcb_info(tcbType=9)),
    ],
)
def test_a_signed_document_of_no_use_is_refused(key: str, name: str, value: object) -> None:
    assert isinstance(value, dict)
    body = envelope(name, dcap.signed(value))
    assert code_of(Served(body=body, chain=dcap.tcb_chain())).startswith("evidence."), key


def test_what_another_key_signed_is_refused() -> None:
    body = envelope("tcbInfo", dcap.signed(dcap.tcb_info(), "pck"))
    assert code_of(Served(body=body, chain=dcap.tcb_chain())) == "evidence.collateral_signature"
    forged = dcap.crl(dcap.PLATFORM_CA.subject, dcap.key("pck"))
    platform = intel_pcs.own()["intel.crl.platform"].chain
    assert code_of(Served(body=forged, chain=platform)) == "evidence.crl_signature"


def test_a_list_of_another_authority_is_refused() -> None:
    own = intel_pcs.own()
    platform, root = own["intel.crl.platform"], own["intel.crl.root"]
    assert code_of(Served(body=platform.body, chain=root.chain)) == "evidence.crl_issuer"
    assert code_of(Served(body=root.body, chain=platform.chain)) == "evidence.crl_issuer"


def test_an_authority_that_the_root_did_not_sign_is_refused() -> None:
    look_alike = dcap.PLATFORM_CA.issue(dcap.key("pck"))
    chain = dcap.pem(look_alike, dcap.root_der())
    assert code_of(Served(body=dcap.pck_crl(), chain=chain)) == "evidence.chain_signature"


def test_a_list_with_a_chain_of_certificates_that_issue_none_is_refused() -> None:
    for chain in (dcap.tcb_chain(), dcap.pem(*dcap.pck_chain())):
        assert code_of(Served(body=dcap.pck_crl(), chain=chain)) == "evidence.chain_names"


def test_no_bit_of_a_signed_document_is_ignored() -> None:
    for key, served in intel_pcs.own().items():
        for at in range(0, len(served.body), 97):
            changed = intel_pcs.flipped(served, at)
            with pytest.raises(EvidenceError):
                read(changed.body, changed.chain, intel_pcs.own_trust())
            assert changed.body != served.body, key


@given(st.binary(max_size=200), st.binary(max_size=50))
@settings(max_examples=200)
def test_arbitrary_bytes_raise_only_the_documented_error(body: bytes, chain: bytes) -> None:
    for head in (b"", b'{"tcbInfo":', b"-----BEGIN X509 CRL-----\n", b"0\x82"):
        with pytest.raises(EvidenceError):
            read(head + body, chain or dcap.tcb_chain(), intel_pcs.own_trust())


def test_a_document_counts_between_its_dates_only() -> None:
    key, served = next(iter(intel_pcs.own().items()))
    known = {key: read(served.body, served.chain, intel_pcs.own_trust())}
    assert require_current(known, key, dcap.NOW) is known[key]
    for moment, wanted, code in (
        (dcap.NOW, "intel.qe.sgx", "collateral.missing"),
        (dcap.NOW + MONTH, key, "collateral.expired"),
        (dcap.NOW - MONTH, key, "collateral.not_yet_valid"),
    ):
        with pytest.raises(InputError) as caught:
            require_current(known, wanted, moment)
        assert caught.value.code == code


def test_amds_authorities_are_told_apart() -> None:
    vectors.require()
    for product in (Product.MILAN, Product.GENOA, Product.TURIN):
        name = product.value.lower()
        ark = vectors.read(f"snp/certs/ark-{name}.pem")
        for file, signer in (("ask", Signer.VCEK), ("asvk", Signer.VLEK)):
            body = vectors.read(f"snp/certs/{file}-{name}.pem") + ark
            assert read(body, b"", PRODUCTION).key == chain_key(product, signer)
        both = body + vectors.read(f"snp/certs/ask-{name}.pem")
        for chain in (ark, both):
            with pytest.raises(EvidenceError):
                read(chain, b"", PRODUCTION)


def test_keys_name_what_a_document_is_about() -> None:
    tcb = TcbVersion(bootloader=3, tee=0, snp=8, microcode=115)
    assert (
        vcek_key(Product.MILAN, bytes(64), tcb)
        == f"amd.vcek.Milan.{'00' * 64}.{'03' + '00' * 5}0873"
    )
    assert tcb_key("tdx", bytes.fromhex(dcap.FMSPC)) == f"intel.tcb.tdx.{dcap.FMSPC}"
