"""Who is believed: the vendors, and beside them only what can widen no trust in a product."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY
from atoll.evidence.trust import MAX_DEVICE_KEYS, PRODUCTION, TrustStore
from support import dcap, evidence, vectors, vtpm

EMPTY = TrustStore(roots=frozenset())
INTEL = dcap.pem(dcap.root_der())
AMD = evidence.chain().ark_pem
AMD_AND_VTPM = EMPTY.with_development_root(AMD + vtpm.authority().certificate_pem)


def refusal(root: bytes) -> str:
    with pytest.raises(InputError) as caught:
        PRODUCTION.with_development_root(root)
    return caught.value.code


@pytest.mark.parametrize("root", [AMD, INTEL, dcap.root_der(), AMD + INTEL, INTEL + AMD])
def test_a_development_root_of_either_vendor_is_simulated(root: bytes) -> None:
    store = EMPTY.with_development_root(root)
    assert store.has_simulated
    assert all(one.simulated for one in store.roots)
    assert all(one.simulated for one in store.intel.roots)
    assert len(store.roots) + len(store.intel.roots) == max(1, root.count(b"BEGIN CERTIFICATE"))
    both = PRODUCTION.with_development_root(root)
    assert both.roots == PRODUCTION.roots | store.roots
    assert both.intel.roots == PRODUCTION.intel.roots | store.intel.roots


@pytest.mark.parametrize(
    "root",
    [
        b"",
        b"no certificate",
        AMD + AMD,
        INTEL + INTEL,
        evidence.chain().ask,
        dcap.pem(*dcap.pck_chain()[:1]),
        AMD + dcap.pem(*dcap.pck_chain()[1:2]),
    ],
)
def test_anything_else_is_no_development_root(root: bytes) -> None:
    assert refusal(root) == "trust.development_root"


def test_a_vendors_genuine_root_is_no_development_root() -> None:
    vectors.require()
    genuine = [
        vectors.read("snp/certs/ark-milan.pem"),
        *(
            vectors.read(one["files"]["root"])
            for one in vectors.of_kind("intel_pck_chain")
            if one.get("origin") == "real" and "root" in one["files"]
        ),
    ]
    assert {refusal(root) for root in genuine} == {"trust.development_root"}


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_development_root(root: bytes) -> None:
    assert refusal(root) == "trust.development_root"


def test_device_keys_are_read_from_lines_with_comments() -> None:
    one, other = b"\x01" * 32, b"\x02" * 32
    text = f"# devices\n{one.hex()}  # the first\n\n  {other.hex().upper()}\n"
    store = EMPTY.with_device_keys(text)
    assert store.keystone.keys == {one, other}
    assert not store.has_simulated
    assert store.with_device_keys("").keystone.keys == {one, other}


@pytest.mark.parametrize(
    "text",
    [
        "zz",
        "01" * 31,
        "01" * 33,
        DEVELOPMENT_DEVICE_KEY.hex(),
        "\n".join(number.to_bytes(32, "big").hex() for number in range(MAX_DEVICE_KEYS + 1)),
    ],
)
def test_what_is_no_device_key_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        EMPTY.with_device_keys(text)
    assert caught.value.code == "trust.device_key"


def test_the_authority_of_virtual_tpms_is_believed_where_it_is_named() -> None:
    pem = vtpm.authority().certificate_pem
    store = EMPTY.with_development_root(pem)

    assert (len(store.vtpm.keys), store.has_simulated) == (1, True)
    assert not PRODUCTION.vtpm.keys
    assert AMD_AND_VTPM.roots == EMPTY.with_development_root(AMD).roots
    assert AMD_AND_VTPM.vtpm == store.vtpm
