"""Cases of Azure's reports and of RA-TLS certificates: evidence within other evidence."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support import dcap, ratls, tpm
from support.dcap import Platform
from vectors import cases_intel
from vectors.amd import Chain
from vectors.bundle import Bundle
from vectors.cases_intel import root_spki
from vectors.cases_snp import ROOTS, flip

NOW = dcap.NOW


def add_all(bundle: Bundle) -> None:
    """Every case of these kinds."""
    for add in (_azure_snp, _azure_snp_policies, _azure_tdx, _azure_tdx_policies):
        add(bundle)
    for add in (_ratls, _ratls_dates, _ratls_collateral):
        add(bundle)


def _azure_files(message: bytes, **changes: Any) -> dict[str, Any]:
    files = {
        "tpm_message": message,
        "tpm_signature": tpm.sign(message),
        "tpm_pcrs": tpm.pcrs_json(),
    }
    return files | changes


def _azure_snp(bundle: Bundle) -> None:
    chain, message, runtime = Chain(), tpm.Quote().message(), tpm.runtime_data()
    swapped = tpm.runtime_data(tpm.jwk(of=tpm.other_key()))
    bound = tpm.report_data(runtime)

    def hcl(content: bytes = runtime, kind: int = 2, **changes: Any) -> bytes:
        hardware = chain.report(**({"report_data": bound} | changes))
        return tpm.Hcl(hardware=hardware, runtime=content, kind=kind).report()

    good, others = hcl(), _azure_files(message, tpm_signature=tpm.sign(message, tpm.other_key()))
    cases: dict[str, tuple[bytes, str, dict[str, Any]]] = {
        "ok": (good, "", {}),
        "flip-report": (flip(good, 32 + 0x90), "azure.signature", {}),
        "runtime-swapped": (hcl(swapped), "azure.runtime_data_binding_mismatch", others),
        "tpm-other-key": (good, "azure.tpm_bad_signature", others),
        "vmpl-1": (hcl(vmpl=1), "snp.vmpl", {}),
        "debug": (hcl(policy=0xB0000), "snp.debug", {}),
        "kind-tdx": (hcl(kind=4), "azure.hcl_kind", {}),
        "truncated": (good[:1000], "azure.malformed", {}),
        "no-signature": (b"XCLA" + good[4:], "azure.malformed", {}),
    }
    for name, (raw, reason, files) in cases.items():
        given = _azure_files(message) | files | {"certs": chain.certificates()}
        policy = {"nonce": tpm.NONCE.hex(), "vmpl": 0}
        options: dict[str, Any] = {"files": given, "policy": policy, "at": NOW}
        kind = "azure_hcl_snp"
        bundle.add(kind, f"own-azure-snp-{name}", raw, reason, trusted_roots=ROOTS, **options)
    policy = {"nonce": "00", "vmpl": 0}
    given = _azure_files(message) | {"certs": chain.certificates()}
    options = {"files": given, "policy": policy, "at": NOW, "trusted_roots": ROOTS}
    reason = "azure.nonce_mismatch"
    bundle.add("azure_hcl_snp", "own-azure-snp-other-nonce", good, reason, **options)


def _azure_snp_policies(bundle: Bundle) -> None:
    """Requirements on the report and on registers, and revocation."""
    chain, message, runtime = Chain(), tpm.Quote().message(), tpm.runtime_data()
    report = chain.report(report_data=tpm.report_data(runtime))
    raw = tpm.Hcl(hardware=report, runtime=runtime, kind=2).report()
    zero = tpm.PCRS[0].hex()
    match = {"measurement": "5a" * 48, "min_guest_svn": 2, "pcr_values": {"sha256": {"0": zero}}}
    other = {"pcr_values": {"sha256": {"0": "00" * 32}}}
    cases: dict[str, tuple[str, dict[str, Any], list[bytes]]] = {
        "pol-all-match": ("", match | {"require_crl": True}, [chain.crl(0x999)]),
        "pol-measurement": ("snp.measurement", {"measurement": "5b" * 48}, []),
        "pol-pcr": ("tpm.pcr.sha256.0", other, []),
        "pol-crl": ("snp.revocation", {"require_crl": True}, []),
        "ask-revoked": ("azure.revoked", {}, [chain.crl(0x10001)]),
        "pol-unknown": ("policy.invalid", {"mrtd": "00" * 48}, []),
    }
    for name, (reason, policy, crls) in cases.items():
        files = _azure_files(message, certs=chain.certificates(), crls=crls)
        options: dict[str, Any] = {"files": files, "policy": policy, "at": NOW}
        kind = "azure_hcl_snp"
        bundle.add(kind, f"own-azure-snp-{name}", raw, reason, trusted_roots=ROOTS, **options)


def _azure_tdx(bundle: Bundle) -> None:
    message, runtime = tpm.Quote().message(), tpm.runtime_data()
    bound = tpm.report_data(runtime)
    body = dcap.td_report(report_data=bound, td_attributes=0)
    info = body[120:520]

    def hcl(data: bytes = bound, of: bytes = info, content: bytes = runtime) -> bytes:
        return tpm.Hcl(hardware=tpm.td_report(data, of), runtime=content, kind=4).report()

    good, quote = hcl(), Platform(body=body).quote()
    other_td = dcap.td_report(report_data=bound, mr_td=b"\x09" * 48, td_attributes=0)
    other_data = dcap.td_report(report_data=b"\1" * 64, td_attributes=0)
    debug = dcap.td_report(report_data=bound, td_attributes=1)
    cases: dict[str, tuple[bytes, str, bytes]] = {
        "ok": (good, "", quote),
        "quote-of-other-td": (good, "azure.td_quote_mismatch", Platform(body=other_td).quote()),
        "quote-of-other-data": (good, "azure.td_quote_mismatch", Platform(body=other_data).quote()),
        "quote-flip": (good, "azure.signature", flip(quote, 300)),
        "runtime-flip": (hcl(content=runtime + b" "), "azure.runtime_data_binding_mismatch", quote),
        "debug": (hcl(of=debug[120:520]), "tdx.debug", Platform(body=debug).quote()),
        "foreign-quote": (good, "azure.untrusted_root", _foreign_quote(body)),
    }
    for name, (raw, reason, proof) in cases.items():
        options: dict[str, Any] = {"policy": {"nonce": tpm.NONCE.hex()}, "at": NOW}
        files = _azure_files(message, quote=proof)
        bundle.add(
            "azure_hcl_tdx",
            f"own-azure-tdx-{name}",
            raw,
            reason,
            files=files,
            trusted_root_spki=root_spki(),
            **options,
        )


def _azure_tdx_policies(bundle: Bundle) -> None:
    """Requirements on the TD, and the whole of Intel's collateral."""
    message, runtime = tpm.Quote().message(), tpm.runtime_data()
    bound = tpm.report_data(runtime)
    body = dcap.td_report(report_data=bound, td_attributes=0)
    raw = tpm.Hcl(hardware=tpm.td_report(bound, body[120:520]), runtime=runtime, kind=4).report()
    quote, mr_td = Platform(body=body).quote(), body[136:184].hex()
    some = {"tcb_info": cases_intel.files()["tcb_info"]}
    old = cases_intel.files(root_crl=dcap.root_crl(dcap.PLATFORM_CA.serial))
    cases: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "pol-mrtd-match": ("", {"mrtd": mr_td}, {}),
        "pol-mrtd": ("tdx.mr_td", {"mrtd": "00" * 48}, {}),
        "pol-tcb-without-collateral": ("policy.invalid", {"min_tcb_eval": 1}, {}),
        "collateral": ("", {"mrtd": mr_td, "min_tcb_eval": 1}, cases_intel.files()),
        "collateral-incomplete": ("case.invalid", {}, some),
        "collateral-revoked": ("azure.revoked", {}, old),
        "collateral-min-eval": ("tdx.tcb_evaluation", {"min_tcb_eval": 999}, cases_intel.files()),
    }
    for name, (reason, policy, collateral) in cases.items():
        bundle.add(
            "azure_hcl_tdx",
            f"own-azure-tdx-{name}",
            raw,
            reason,
            files=_azure_files(message, quote=quote, **collateral),
            policy=policy,
            at=NOW,
            trusted_root_spki=root_spki(),
        )


def _foreign_quote(body: bytes) -> bytes:
    root = replace(dcap.ROOT, subject_key="foreign").issue(dcap.key("foreign"))
    ca = dcap.PLATFORM_CA.issue(dcap.key("foreign"))
    pck = dcap.PCK.issue(dcap.key("platform"))
    return Platform(body=body, chain=(pck, ca, root)).quote()


def _ratls(bundle: Bundle) -> None:
    claims = ratls.claims(nonce=b"fresh")
    quote = Platform.sgx(body=_enclave(ratls.report_data(claims))).quote()
    loose = Platform.sgx(body=_enclave(bytes(64))).quote()
    thief = ratls.other_key()
    stolen = ratls.Tls(value=ratls.evidence(claims, quote), key=thief)
    cases: dict[str, tuple[bytes, str]] = {
        "ok": (ratls.Tls(value=ratls.evidence(claims, quote)).der(), ""),
        "quote-for-other-claims": (
            ratls.Tls(value=ratls.evidence(claims, loose)).der(),
            "ratls.claims_binding_mismatch",
        ),
        "other-tls-key": (stolen.der(), "ratls.pubkey_binding_mismatch"),
        "other-signer": (
            ratls.Tls(value=ratls.evidence(claims, quote), signer=thief).der(),
            "ratls.certificate_signature",
        ),
        "quote-flip": (
            ratls.Tls(value=ratls.evidence(claims, flip(quote, 100))).der(),
            "ratls.signature",
        ),
        "no-evidence": (ratls.Tls(value=None).der(), "ratls.malformed"),
        "unknown-critical": (
            ratls.Tls(value=ratls.evidence(claims, quote), critical="1.2.3.4").der(),
            "ratls.critical_extension",
        ),
    }
    policy = {"nonce": b"fresh".hex()}
    add: dict[str, Any] = {"trusted_root_spki": root_spki()}
    for name, (raw, reason) in cases.items():
        bundle.add("ratls_cert", f"own-ratls-{name}", raw, reason, policy=policy, at=NOW, **add)
    good = cases["ok"][0]
    pem = x509.load_der_x509_certificate(good).public_bytes(Encoding.PEM)
    bundle.add("ratls_cert", "own-ratls-pem", pem, policy=policy, at=NOW, **add)
    replay = {"nonce": b"stale".hex()}
    reason = "ratls.nonce_mismatch"
    bundle.add("ratls_cert", "own-ratls-replayed", good, reason, policy=replay, at=NOW, **add)
    late = ratls.UNTIL + dcap.MONTH
    bundle.add("ratls_cert", "own-ratls-expired", good, "ratls.expired", at=late, **add)


def _enclave(report_data: bytes) -> bytes:
    return dcap.enclave_report(mr_enclave=b"\7" * 32, isv_prod_id=9, report_data=report_data)


def _ratls_dates(bundle: Bundle) -> None:
    """A PCK certificate that was issued anew after the moment to judge at."""
    claims = ratls.claims(nonce=b"fresh")
    body = _enclave(ratls.report_data(claims))
    second = timedelta(seconds=1)

    def certificate(pck: dcap.Certificate, ca: dcap.Certificate = dcap.PLATFORM_CA) -> bytes:
        quote = Platform.sgx(body=body, chain=dcap.pck_chain(pck, ca)).quote()
        return ratls.Tls(value=ratls.evidence(claims, quote)).der()

    later = replace(dcap.PCK, not_before=NOW + dcap.MONTH)
    after = replace(dcap.PCK, not_before=ratls.UNTIL + second)
    young = replace(dcap.PLATFORM_CA, not_before=NOW + dcap.MONTH)
    brief = replace(dcap.PLATFORM_CA, not_after=NOW + second)
    cases: dict[str, tuple[bytes, str, dict[str, Any]]] = {
        "pck-reissued": (certificate(later), "", {}),
        "pck-reissued-strict": (
            certificate(later),
            "ratls.not_yet_valid",
            {"require_begun_pck": True},
        ),
        "pck-after-the-end": (certificate(after), "ratls.not_yet_valid", {}),
        "authority-reissued": (certificate(dcap.PCK, young), "ratls.not_yet_valid", {}),
        "authority-ends-before": (certificate(later, brief), "ratls.expired", {}),
    }
    for name, (raw, reason, policy) in cases.items():
        options: dict[str, Any] = {"policy": policy, "at": NOW, "trusted_root_spki": root_spki()}
        bundle.add("ratls_cert", f"own-ratls-{name}", raw, reason, **options)


def _ratls_collateral(bundle: Bundle) -> None:
    claims = ratls.claims(nonce=b"fresh")
    quote = Platform.sgx(body=_enclave(ratls.report_data(claims))).quote()
    raw = ratls.Tls(value=ratls.evidence(claims, quote)).der()
    cases: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "collateral": ("", {"mrenclave": "07" * 32, "isvprodid": 9}, cases_intel.files("SGX")),
        "collateral-mrenclave": ("sgx.mr_enclave", {"mrenclave": "00" * 32}, {}),
        "collateral-of-tdx": ("ratls.tcb_info_type", {}, cases_intel.files("TDX")),
        "pol-without-collateral": ("policy.invalid", {"mrenclave": "07" * 32}, {}),
    }
    for name, (reason, policy, collateral) in cases.items():
        files = cases_intel.files("SGX") if reason.startswith("sgx.") else collateral
        options: dict[str, Any] = {"policy": policy, "at": NOW, "trusted_root_spki": root_spki()}
        bundle.add("ratls_cert", f"own-ratls-{name}", raw, reason, files=files, **options)
