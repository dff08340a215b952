"""Certificates, AMD's extensions, CRLs, PEM and the certificate table."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence import _der, certs
from atoll.evidence.cert_table import ARK, ASK, VCEK, CertificateTable
from atoll.evidence.certs import Signer, VekExtensions
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.x509 import Certificate, Extension, RevocationList, ders
from support import evidence, vectors


def _vek(**values: bytes | None) -> Certificate:
    """The simulated VCEK with extensions replaced by raw values, or removed."""
    parsed = Certificate.from_bytes(evidence.chain().vcek)
    changed = {_der.oid(getattr(certs, name)): value for name, value in values.items()}
    kept = [item for item in parsed.extensions if item.oid not in changed]
    added = [
        Extension(oid=oid, critical=False, value=value)
        for oid, value in changed.items()
        if value is not None
    ]
    return replace(parsed, extensions=(*kept, *added))


def test_reads_the_extensions_of_a_vcek() -> None:
    found = VekExtensions.of(_vek())
    assert found == VekExtensions(
        signer=Signer.VCEK,
        product=Product.SIMULATED,
        tcb=evidence.TCB,
        hwid=evidence.CHIP_ID,
        csp_id=None,
    )


def test_reads_a_vlek_by_its_csp_id() -> None:
    found = VekExtensions.of(_vek(OID_HWID=None, OID_CSP=b"\x16\x03abc"))
    assert (found.signer, found.hwid, found.csp_id) == (Signer.VLEK, None, "abc")


def test_reads_an_old_product_name_with_a_stepping() -> None:
    assert VekExtensions.of(_vek(OID_PRODUCT=b"\x16\x08Milan-B0")).product is Product.MILAN


@pytest.mark.parametrize(
    "values",
    [
        {"OID_CSP": b"\x16\x03abc"},
        {"OID_HWID": None},
        {"OID_HWID": bytes(8)},
        {"OID_HWID": b"\x04\x40" + bytes(64)},
        {"OID_PRODUCT": None},
        {"OID_PRODUCT": b"\x0c\x05Milan"},
        {"OID_PRODUCT": b"\x16\x06Milan-"},
        {"OID_PRODUCT": b"\x16\x06Naples"},
        {"OID_PRODUCT": b"\x16\x05Turin"},
        {"OID_PRODUCT": b"\x16\x05Milan\x00"},
        {"OID_PRODUCT": b"\x16\x06Milan\x00"},
        {"OID_HWID": None, "OID_CSP": b"\x16\x00"},
        {"OID_STRUCT_VERSION": b"\x02\x01\x01"},
        {"OID_SNP": None},
        {"OID_SNP": b"\x02\x02\x01\x00"},
        {"OID_SNP": b"\x02\x02\x00\x18"},
        {"OID_SNP": b"\x04\x01\x18"},
        {"OID_FMC": b"\x02\x01\x01"},
    ],
)
def test_refuses_extensions_that_no_vek_has(values: dict[str, bytes | None]) -> None:
    with pytest.raises(MalformedEvidenceError):
        VekExtensions.of(_vek(**values))


def test_refuses_a_reserved_version_that_is_not_zero() -> None:
    parsed = _vek()
    oid = _der.oid(certs.OID_RESERVED[0])
    edited = tuple(
        replace(item, value=b"\x02\x01\x01") if item.oid == oid else item
        for item in parsed.extensions
    )
    with pytest.raises(MalformedEvidenceError, match="reserved"):
        VekExtensions.of(replace(parsed, extensions=edited))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_refuses_every_truncation_of_a_certificate(which: int) -> None:
    der = evidence.chain().certificates[which]
    for size in range(len(der)):
        with pytest.raises(EvidenceError):
            Certificate.from_bytes(der[:size])
    with pytest.raises(MalformedEvidenceError, match="after its end"):
        Certificate.from_bytes(der + b"\x00")


def test_refuses_an_oversized_certificate_or_list_unread() -> None:
    for parse in (Certificate.from_bytes, RevocationList.from_bytes):
        with pytest.raises(MalformedEvidenceError, match="at most"):
            parse(bytes(8 << 20))


@given(st.binary(max_size=200), st.integers(0, 600))
@settings(max_examples=150)
def test_arbitrary_bytes_in_a_certificate_raise_only_evidence_errors(raw: bytes, at: int) -> None:
    der = evidence.chain().vcek
    for candidate in (raw, der[:at] + raw + der[at + len(raw) :]):
        for parse in (Certificate.from_bytes, RevocationList.from_bytes):
            try:
                parse(candidate)
            except EvidenceError:
                continue


def test_takes_pem_and_der_alike() -> None:
    chain = evidence.chain()
    assert ders(chain.ark) == ders(chain.ark_pem) == (chain.ark,)


@pytest.mark.parametrize(
    "raw",
    [
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nmore",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 9,
        b"-----" + bytes(200_000),
    ],
)
def test_refuses_pem_with_anything_else_in_it(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        ders(raw)


def test_a_certificate_table_reads_back() -> None:
    table = evidence.chain().table()
    read = CertificateTable.from_bytes(table.to_bytes() + bytes(100))
    assert read == table
    assert read.certificates() == evidence.chain().certificates


def _entry(guid: bytes, offset: int, length: int) -> bytes:
    return guid + offset.to_bytes(4, "little") + length.to_bytes(4, "little")


END = bytes(24)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        END[:-1],
        _entry(VCEK.bytes, 24, 1),
        _entry(VCEK.bytes, 24, 1) + END,
        _entry(VCEK.bytes, 48, 0) + END + b"x",
        _entry(VCEK.bytes, 48, 2) + END + b"x",
        _entry(VCEK.bytes, 0xFFFFFFFF, 1) + END + b"x",
        _entry(VCEK.bytes, 72, 1) + _entry(VCEK.bytes, 73, 1) + END + b"xy",
        _entry(VCEK.bytes, 72, 2) + _entry(ARK.bytes, 73, 1) + END + b"xy",
        b"".join(_entry(bytes((n,)) * 16, 500 + n, 1) for n in range(1, 18)) + END + bytes(600),
        bytes(70_000),
    ],
)
def test_refuses_a_malformed_certificate_table(raw: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        CertificateTable.from_bytes(raw)


def test_an_empty_certificate_table_is_legal() -> None:
    assert CertificateTable.from_bytes(END).entries == ()


@given(
    st.lists(
        st.tuples(st.sampled_from([VCEK, ASK, ARK]), st.integers(0, 120), st.integers(0, 40)),
        max_size=4,
    ),
    st.binary(max_size=80),
)
@settings(max_examples=150)
def test_arbitrary_tables_give_a_table_or_the_documented_error(
    entries: list[tuple[object, int, int]], tail: bytes
) -> None:
    raw = b"".join(_entry(guid.bytes, at, size) for guid, at, size in entries)  # type: ignore[attr-defined]
    try:
        table = CertificateTable.from_bytes(raw + END + tail)
    except MalformedEvidenceError:
        return
    assert len(table.entries) == len(entries)


def test_tcb_layouts_differ_between_products() -> None:
    turin = TcbVersion.from_bytes(bytes.fromhex("0101010400000051"), Product.TURIN)
    assert turin == TcbVersion(fmc=1, bootloader=1, tee=1, snp=4, microcode=0x51)
    milan = TcbVersion.from_bytes(bytes.fromhex("04000000000018db"), Product.MILAN)
    assert milan == TcbVersion(bootloader=4, tee=0, snp=24, microcode=219)
    assert turin.to_bytes(Product.TURIN).hex() == "0101010400000051"
    assert milan.to_bytes(Product.MILAN).hex() == "04000000000018db"
    with pytest.raises(MalformedEvidenceError):
        TcbVersion.from_bytes(bytes.fromhex("0101010400000051"), Product.MILAN)
    with pytest.raises(MalformedEvidenceError):
        TcbVersion.from_bytes(bytes.fromhex("04000000000018db"), Product.TURIN)
    with pytest.raises(MalformedEvidenceError):
        TcbVersion.from_bytes(bytes(7), Product.MILAN)


def test_a_tcb_component_is_one_byte() -> None:
    with pytest.raises(ValueError, match="snp"):
        TcbVersion(bootloader=0, tee=0, snp=256, microcode=0)


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x01, Product.MILAN),
        (0x19, 0x11, Product.GENOA),
        (0x19, 0xA0, Product.GENOA),
        (0x19, 0x20, None),
        (0x19, 0xB0, None),
        (0x1A, 0x02, Product.TURIN),
        (0x1A, 0x50, None),
        (0xFF, 0xFF, Product.SIMULATED),
        (0xFF, 0x00, None),
        (0x00, 0x00, None),
    ],
)
def test_product_lines_by_cpuid(family: int, model: int, product: Product | None) -> None:
    assert product_of_cpuid(family, model) is product


def test_no_amd_processor_is_simulated_and_the_other_way_round() -> None:
    simulated = {
        (family, model)
        for family in range(256)
        for model in range(256)
        if product_of_cpuid(family, model) is Product.SIMULATED
    }
    assert simulated == {(0xFF, 0xFF)}


def test_reads_every_vek_of_a_published_valid_report() -> None:
    vectors.require()
    paths = {
        case["files"]["certs"][0]
        for case in vectors.of_kind("snp_report")
        if case["expected"]["verdict"] == "valid"
    }
    found = [VekExtensions.of(Certificate.from_bytes(vectors.read(path))) for path in paths]
    assert len(found) > 25
    assert {one.product for one in found} == {Product.MILAN, Product.GENOA, Product.TURIN}
    assert {one.signer for one in found} == {Signer.VCEK, Signer.VLEK}
