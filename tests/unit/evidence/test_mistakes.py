"""The mistakes that verifiers make, each named after the attack that it lets through.

Every test has cases of the project's own vectors, under keys of our own, and the published
ones of the same attack: those are skipped at a desk without them and fail in CI.
"""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from atoll.evidence import judge as judges
from atoll.evidence.chain import verify_chain
from atoll.evidence.dcap.intel_chain import PRODUCTION as INTEL
from atoll.evidence.judge import Row, judge_vector
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION, TrustedRoot, TrustStore
from support import vectors

OWN = Path(__file__).resolve().parents[2] / "vectors"
SNP, TDX, KEYSTONE = "own-snp-", "own-tdx-", "own-keystone-"


@cache
def own() -> dict[str, dict[str, Any]]:
    cases = json.loads((OWN / "manifest.json").read_text("utf-8"))["vectors"]
    return {case["id"]: case for case in cases}


@cache
def published() -> dict[str, dict[str, Any]]:
    return {case["id"]: case for kind in vectors.all_kinds() for case in vectors.of_kind(kind)}


def read_own(path: str) -> bytes:
    return (OWN / path).read_bytes()


def row(name: str) -> Row:
    if name in own():
        return judge_vector(own()[name], read_own)
    vectors.require()
    return judge_vector(published()[name], vectors.read)


def refused(*names: str, reason: str | tuple[str, ...] = "") -> None:
    """Each of these is refused, for this reason or one of these."""
    for name in names:
        found = row(name)
        assert found.got == "invalid", name
        assert not reason or found.reason in ((reason,) if isinstance(reason, str) else reason), (
            name,
            found.reason,
        )


def accepted(*names: str, tcb_status: str | None = None) -> None:
    """Each of these is valid: the attack's harmless sibling must not be refused."""
    for name in names:
        found = row(name)
        assert found.got == "valid", (name, found.reason)
        assert tcb_status in (None, found.tcb_status), name


def test_01_signature_numbers_in_the_other_byte_order() -> None:
    refused(f"{SNP}sig-bigendian", reason="snp.signature")
    refused(f"{TDX}sig-little-endian", reason="tdx.signature")
    refused("snp-milan-v3-e75e8d4e-sig-bigendian", reason="snp.signature")
    refused("tdx-v4-00b2526a-c3-sig-little-endian", reason="tdx.signature")


def test_02_unprivileged_software_asks_for_a_report_of_its_own() -> None:
    refused(f"{SNP}vmpl-1", reason="snp.vmpl")
    refused("snp-milan-v2-6be90869-vmpl0-required", reason="snp.vmpl")
    refused("snp-milan-v2-b1ed960a-vmpl0-required", reason="snp.vmpl")


def test_03_the_host_debugs_the_guest() -> None:
    refused(f"{SNP}debug", reason="snp.debug")
    refused(f"{TDX}debug-refused", reason="tdx.debug")
    refused("own-sgx-debug-refused", reason="sgx.debug")
    refused("tdx-v4-12b401a8-debug-refused", reason="tdx.debug")
    refused("sgx-v3-1cc40342-debug-refused", reason="sgx.debug")


def test_04_old_firmware_hides_behind_new_microcode() -> None:
    refused(f"{SNP}pol-mintcb-trap", reason="snp.tcb.bootloader")
    accepted(f"{TDX}component-trap", tcb_status="OutOfDate")
    refused("snp-milan-v3-e75e8d4e-pol-mintcb-component-trap", reason="snp.tcb.bootloader")
    accepted("tdx-constructed-component-trap", tcb_status="SWHardeningNeeded")


def test_05_turins_versions_are_read_as_milans() -> None:
    refused(f"{SNP}turin-milan-tcb-layout", reason="snp.tcb_match")
    accepted(f"{SNP}turin-v3", f"{SNP}turin-v5")
    refused("snp-constructed-turin-milan-tcb-layout", reason="snp.tcb_match")
    refused("snp-turin-v5-85da705e-pol-mintcb-fmc", reason="snp.tcb.fmc")
    accepted("snp-turin-v5-85da705e")


def test_06_a_certificate_for_other_firmware_than_the_report_claims() -> None:
    refused(f"{SNP}tcb-higher", f"{SNP}tcb-lower", reason="snp.tcb_match")
    refused("snp-constructed-milan-tcb-higher", reason="snp.tcb_match")
    refused("snp-constructed-milan-tcb-lower", reason="snp.tcb_match")


def test_07_another_chips_certificate() -> None:
    refused(f"{SNP}chip-other", f"{SNP}turin-chip-tail", reason="snp.hwid")
    refused(f"{SNP}vcek-with-csp", reason="snp.chain")
    refused("snp-turin-v5-85da705e-hwid-64-compare-trap", reason="snp.hwid")
    refused("snp-constructed-milan-vcek-with-csp", reason="snp.chain")


def test_08_a_report_without_a_chip_id() -> None:
    refused(f"{SNP}zero-chip-unmasked", reason="snp.hwid")
    accepted(f"{SNP}milan-masked-chip")
    refused("snp-constructed-genoa-zero-chip-unmasked", reason="snp.hwid")


def test_09_a_cloud_providers_key_passes_for_a_chips() -> None:
    refused(f"{SNP}vlek-by-ask", f"{SNP}vlek-with-hwid", reason="snp.chain")
    accepted(f"{SNP}milan-vlek", f"{SNP}turin-vlek")
    case = own()[f"{SNP}milan-vlek"]
    roots = (
        TrustedRoot(product=Product(name), spki_sha256=bytes.fromhex(digest), simulated=False)
        for name, digest in case["trusted_roots"].items()
    )
    certs = [read_own(path) for path in case["files"]["certs"]]
    now = datetime.fromisoformat(case["verify_time"])
    chain = verify_chain(certs, TrustStore(roots=frozenset(roots)), now=now)
    assert (chain.vek.csp_id, chain.vek.hwid) == ("CN=cc.example.invalid", None)
    refused("snp-constructed-milan-vlek-by-ask", "snp-constructed-turin-vlek-by-ask")


def test_10_an_unsigned_report() -> None:
    refused(f"{SNP}signer-none", reason="snp.signer")
    refused("snp-constructed-milan-signer-none-signed", reason="snp.signer")
    refused("snp-milan-v3-e75e8d4e-signer-none", reason="snp.signer")


def test_11_an_author_key_that_nobody_checked() -> None:
    refused(f"{SNP}author-digest-without-bit", reason="snp.author_key")
    accepted(f"{SNP}author-ok")
    refused("snp-constructed-turin-author-digest-without-bit")


def test_12_another_product_lines_chain() -> None:
    refused(f"{SNP}fms-genoa", f"{SNP}genoa-chain", reason="snp.product")
    refused("snp-milan-v3-e75e8d4e-fms-genoa", reason="snp.product")
    refused("snp-milan-v3-e75e8d4e-genoa-chain", reason="snp.product")


def test_13_a_root_that_comes_with_the_evidence_or_only_has_the_name() -> None:
    refused(f"{SNP}lookalike-root", "own-ext-root-from-table", reason="snp.root")
    refused("own-chain-lookalike-root", "own-crl-untrusted-issuer", reason="snp.root")
    refused(f"{TDX}lookalike-root", reason="tdx.untrusted_root")
    refused("snp-constructed-genoa-lookalike-root", reason="snp.root")
    refused("tdx-v4-6fb27f35-foreign-root", reason="tdx.untrusted_root")


def test_13_the_roots_of_the_own_vectors_are_not_pinned() -> None:
    case = own()[f"{SNP}milan-v3"]
    pinned = {root.spki_sha256.hex() for root in PRODUCTION.roots}
    assert pinned.isdisjoint(case["trusted_roots"].values())
    intel = {root.spki_sha256.hex() for root in INTEL.roots}
    assert own()[f"{TDX}v4"]["trusted_root_spki"] not in intel


def test_14_a_revoked_authority_behind_an_old_or_forged_list() -> None:
    refused(*(f"{SNP}crl-{one}" for one in ("expired", "forged", "other-product")))
    refused(f"{SNP}ask-revoked", reason="snp.crl")
    # All VEKs have the serial number 0, so a list that has it revokes no chip.
    accepted(f"{SNP}milan-v3")
    refused("snp-constructed-milan-ask-revoked", "snp-constructed-genoa-crl-forged")
    refused("snp-milan-v3-e75e8d4e-crl-expired", "snp-milan-v3-e75e8d4e-crl-other-product")


def test_15_genuine_evidence_is_refused_for_what_is_merely_new() -> None:
    accepted(f"{SNP}milan-unknown-platform-bit", "own-ext-pem")
    accepted("snp-turin-v5-85da705e", "snp-genoa-v3-tsm-extended")


def test_16_half_of_the_report_data_is_somebody_elses() -> None:
    refused(f"{SNP}pol-reportdata-prefix", reason="snp.report_data")
    refused(f"{TDX}pol-reportdata-prefix", reason="tdx.report_data")
    refused(f"{KEYSTONE}nonce-prefix", reason="keystone.data_mismatch")
    refused("snp-milan-v3-e75e8d4e-pol-reportdata-prefix", reason="snp.report_data")


def test_17_bytes_that_nobody_signed_make_a_new_identity() -> None:
    refused(f"{SNP}reserved-tail", f"{SNP}trailing-byte", f"{SNP}reserved-signed")
    refused(f"{TDX}trailing-garbage", reason="tdx.malformed")
    # A second signature over the same report is as good, and says the same.
    first, second = (own()[f"{SNP}{one}"] for one in ("pol-all-match", "sig-malleated"))
    accepted(first["id"], second["id"])
    one, other = (judges.parse("snp", read_own(case["path"])) for case in (first, second))
    assert {name for name in one if one[name] != other[name]} == {"signature_s"}
    refused("snp-milan-v3-e75e8d4e-reserved-tail", "snp-milan-v3-e75e8d4e-sig-padding")


def test_18_asn1_that_is_read_by_its_last_byte() -> None:
    names = ("svn-not-minimal", "svn-octet-string", "svn-trailing", "svn-256")
    refused(*(SNP + name for name in names), reason="snp.chain")
    accepted(f"{SNP}milan-v3")  # its microcode, 219, is 02 02 00 DB


def test_19_a_certificate_that_may_not_issue_or_says_what_nobody_understands() -> None:
    refused(f"{SNP}unknown-critical", f"{SNP}ask-not-ca", reason="snp.chain")
    refused(f"{TDX}pck-unknown-critical", reason="tdx.critical_extension")
    refused(f"{TDX}ca-not-ca", reason="tdx.chain_ca")
    refused(f"{TDX}pck-as-ca", reason="tdx.chain_names")
    refused("own-ratls-unknown-critical", "own-pck-ca-not-ca")
    refused("snp-constructed-milan-vcek-unknown-critical", "snp-constructed-milan-ask-not-ca")
    refused("tdx-constructed-pck-as-ca")


def test_20_genuine_tcb_info_of_sgx_for_a_trust_domain() -> None:
    refused(f"{TDX}tcbinfo-id-sgx", "own-sgx-tcbinfo-tdx")
    refused(f"{TDX}sgx-quote", "own-sgx-tdx-quote")
    refused("tdx-constructed-tcbinfo-id-sgx", "tdx-constructed-tcbinfo-v2")


def test_21_genuine_tcb_info_of_another_platform() -> None:
    refused(f"{TDX}tcbinfo-other-fmspc", reason="tdx.tcb_info_fmspc")
    refused(f"{TDX}tcbinfo-pceid", reason="tdx.tcb_info_pceid")
    refused("tdx-v4-00b2526a-c3-tcbinfo-other-fmspc", reason="tdx.tcb_info_fmspc")
    refused("tdx-constructed-tcbinfo-pceid", reason="tdx.tcb_info_pceid")


def test_22_one_json_is_verified_and_another_is_read() -> None:
    refused(f"{TDX}tcbinfo-reserialised", reason="tdx.tcb_info_signature")
    refused(f"{TDX}tcbinfo-duplicate-key", reason="tdx.malformed")
    refused("tdx-v4-00b2526a-c3-tcbinfo-reserialised", reason="tdx.tcb_info_signature")
    refused("tdx-v4-00b2526a-c3-tcbinfo-edited", reason="tdx.tcb_info_signature")


def test_23_collateral_of_yesterday_or_tomorrow() -> None:
    names = ("pckcrl-expired", "rootcrl-expired", "tcb-signing-expired", "tcbinfo-expired")
    refused(*(TDX + name for name in (*names, "tcbinfo-future", "qeid-expired", "pck-expired")))
    refused(f"{SNP}vcek-expired", f"{SNP}ask-expired", f"{SNP}before-vcek", reason="snp.chain")
    refused("tdx-v4-00b2526a-c3-tcbinfo-expired", "tdx-v4-00b2526a-c3-qeid-expired")
    refused("tdx-v4-102dfdfd-tcbinfo-future", "tdx-v4-00b2526a-c3-collateral-expired")


def test_24_another_enclave_plays_the_quoting_enclave() -> None:
    names = ("qe-mrsigner", "qe-debug", "qe-prodid", "qe-miscselect")
    refused(*(TDX + name for name in names), reason="tdx.qe_identity")
    refused("own-sgx-td-qe", reason="sgx.qe_identity")
    accepted(f"{TDX}qe-outofdate", tcb_status="OutOfDate")
    refused("tdx-constructed-qe-debug", "tdx-constructed-qe-mrsigner", reason="tdx.qe_identity")
    accepted("tdx-constructed-qe-outofdate", tcb_status="OutOfDate")


def test_25_an_attestation_key_that_the_quoting_enclave_never_had() -> None:
    refused(f"{TDX}ak-substituted", f"{TDX}flip-qe-auth", reason="tdx.qe_report_data")
    refused("own-sgx-ak-substituted", reason="sgx.qe_report_data")
    refused("own-quote-ak-substituted", reason="quote.qe_report_data")
    refused("tdx-constructed-ak-substituted", reason="tdx.qe_report_data")
    refused("tdx-v4-00b2526a-c3-flip-qeauth", reason="tdx.qe_report_data")


def test_26_an_old_tdx_module_behind_new_firmware() -> None:
    accepted(f"{TDX}module-outofdate", tcb_status="OutOfDate")
    refused(f"{TDX}module-unsupported", f"{TDX}module-unknown")
    # The module's own versions count among the components only where no identity judges it.
    accepted(f"{TDX}module0", f"{TDX}module-components-from-2", tcb_status="UpToDate")
    refused(f"{TDX}module0-components-from-0", reason="tdx.tcb_not_supported")
    refused("tdx-constructed-module-unsupported")
    accepted("tdx-constructed-module0", tcb_status="UpToDate")


def test_27_a_genuine_revocation_list_of_another_authority() -> None:
    refused(f"{TDX}pckcrl-processor", f"{TDX}pckcrl-is-root-crl", reason="tdx.crl_issuer")
    accepted(f"{TDX}crl-serial-other-issuer", f"{TDX}processor-ca", tcb_status="UpToDate")
    refused(f"{TDX}pck-revoked", f"{TDX}ca-revoked", f"{TDX}tcb-signing-revoked")
    refused("tdx-v4-00b2526a-c3-pckcrl-is-root-crl", "tdx-v4-00b2526a-c3-rootcrl-is-pck-crl")


def test_28_somebody_elses_tdx_module() -> None:
    refused(f"{TDX}mrsignerseam", f"{TDX}seamattributes", reason="tdx.tdx_module")
    refused("tdx-constructed-mrsignerseam", "tdx-constructed-seamattributes")


def test_29_an_event_log_that_tells_more_than_the_registers_prove() -> None:
    accepted("own-ccel-ok", "own-ccel-no-action")
    refused("own-ccel-index-off-by-one", "own-ccel-event-dropped", "own-ccel-event-repeated")
    refused("own-rtmr-json-payload", reason="rtmr_json.event_digest_mismatch")
    refused("own-rtmr-json-lite", reason="rtmr_json.event_digest_mismatch")
    refused("ccel-cos113-noaction", "rtmrjson-0f7898a7-payload")


def test_30_keystone_with_the_wrong_hash_a_foreign_key_or_unsigned_data() -> None:
    names = ("rfc8032-sha512", "s-plus-l", "small-order-sm-key", "other-device", "flip-data-len")
    refused(*(KEYSTONE + name for name in names))
    refused(f"{KEYSTONE}datalen-1025", f"{KEYSTONE}datalen-huge", reason="keystone.bad_data_len")
    accepted(f"{KEYSTONE}tail-changed", f"{KEYSTONE}ok", f"{KEYSTONE}no-data")
    one, other = (
        judges.parse("keystone", read_own(own()[KEYSTONE + name]["path"]))
        for name in ("ok", "tail-changed")
    )
    assert one == other
    refused("keystone-noncanonical-S", "keystone-attacker-device-key", "keystone-datalen-huge")
    refused("keystone-small-order-sm-key", "keystone-enclave-signed-by-device")


def test_31_an_unrestricted_tpm_key_signs_what_looks_like_a_quote() -> None:
    refused("own-tpm-no-magic", "own-tpm-certify", reason="tpm.tpm_not_quote")
    refused("own-tpm-other-nonce", "own-tpm-other-pcrs", "own-azure-snp-tpm-other-key")


def test_32_out_of_date_by_default_and_revoked_by_policy() -> None:
    refused(f"{TDX}outofdate-by-default", f"{TDX}status-strict", reason="tdx.tcb_status")
    refused(f"{TDX}status-revoked", f"{TDX}status-revoked-accepted", reason="tdx.tcb_status")
    assert row(f"{TDX}status-swhardening").tcb_status == "SWHardeningNeeded"
    refused("tdx-constructed-status-revoked", "tdx-constructed-pcesvn-low-strict")


def test_33_lengths_that_lead_outside() -> None:
    refused(f"{TDX}siglen-huge", f"{TDX}authlen-huge", reason="tdx.malformed")
    refused("own-ccel-size-huge", reason="ccel.malformed")
    refused("own-ext-overlapping", "own-ext-unterminated", reason="snp.cert_table")
    refused("tdx-v4-00b2526a-c3-siglen-huge", "tdx-v4-00b2526a-c3-authlen-huge")
