"""Cases of Intel's kinds: TDX and SGX quotes, PCK chains."""

from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support import dcap
from support.dcap import NOW, PCK, PLATFORM_CA, PROCESSOR_CA, TCB_SIGNING, YEAR, Platform
from vectors.bundle import Bundle
from vectors.cases_snp import flip

ANY = [
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
]
RELAUNCH_SVN = bytes([3]) + dcap.TEE_TCB_SVN[1:]


def root_spki() -> str:
    """The one root that these cases trust."""
    (root,) = dcap.roots().roots
    return root.spki_sha256.hex()


def add_all(bundle: Bundle) -> None:
    """Every case of these kinds."""
    for add in (_tdx, _tdx_bad_quotes, _tdx_bad_collateral, _tdx_status, _tdx_identities):
        add(bundle)
    for add in (_tdx_policies, _sgx, _crypto_only, _parse, _pck_chains):
        add(bundle)


def files(tee: str = "TDX", **changes: Any) -> dict[str, Any]:
    """Collateral by role, in the form of the published vectors."""
    made = dcap.collateral(tee, **changes)
    return {
        "tcb_info": made.tcb_info.raw,
        "tcb_info_sig": made.tcb_info.signature.hex().encode(),
        "tcb_chain": made.tcb_info_chain,
        "qe_identity": made.qe_identity.raw,
        "qe_identity_sig": made.qe_identity.signature.hex().encode(),
        "qe_chain": made.qe_identity_chain,
        "root_crl": made.root_crl,
        "pck_crl": made.pck_crl,
    }


def _add(
    bundle: Bundle,
    name: str,
    raw: bytes | Platform,
    reason: str = "",
    *,
    kind: str = "tdx_quote",
    collateral: dict[str, Any] | None = None,
    **more: Any,
) -> None:
    bundle.add(
        kind,
        f"own-{kind.split('_', maxsplit=1)[0]}-{name}",
        raw.quote() if isinstance(raw, Platform) else raw,
        reason,
        files=files() if collateral is None else collateral,
        trusted_root_spki=root_spki(),
        **({"at": NOW} | more),
    )


def _tdx(bundle: Bundle) -> None:
    good: dict[str, Any] = {"tcb_status": "UpToDate"}
    _add(bundle, "v4", Platform(), **good)
    _add(bundle, "v5-td10", Platform(version=5), **good)
    _add(bundle, "v5-td15", Platform(version=5, body=dcap.td_report(newer=True)), **good)
    _add(bundle, "zero-padded", Platform(tail=bytes(100)), **good)
    _add(bundle, "auth-empty", Platform(auth=b""), **good)
    root_crl = dcap.root_crl(PCK.serial)
    notes = "the root revokes a serial number that the PCK, of another issuer, has, too"
    other = files(root_crl=root_crl)
    _add(bundle, "crl-serial-other-issuer", Platform(), collateral=other, notes=notes, **good)
    processor = Platform(chain=dcap.pck_chain(_pck(issuer=PROCESSOR_CA), PROCESSOR_CA))
    crl = dcap.crl(PROCESSOR_CA.subject, dcap.key("processor"))
    _add(bundle, "processor-ca", processor, collateral=files(pck_crl=crl), **good)
    made = files()
    signer, root = x509.load_pem_x509_certificates(made["tcb_chain"])
    lines = [one.public_bytes(Encoding.PEM) for one in (root, signer)]
    turned = made | {"tcb_chain": b"".join(lines), "qe_chain": lines}
    notes = "chains beside the quote: root first, in one file and in two"
    _add(bundle, "collateral-any-order", Platform(), collateral=turned, notes=notes, **good)


def _pck(**changes: Any) -> dcap.Certificate:
    if issuer := changes.pop("issuer", None):
        changes["issuer"] = issuer.subject
    return replace(PCK, **changes)


def _tdx_bad_quotes(bundle: Bundle) -> None:
    good = Platform().quote()
    cases: dict[str, tuple[bytes | Platform, str]] = {
        "empty": (b"", "tdx.malformed"),
        "truncated": (good[:-1], "tdx.malformed"),
        "trailing-garbage": (good + b"x", "tdx.malformed"),
        "text": (good.hex().encode(), "tdx.quote_version"),
        "version-6": (Platform(version=6, body_type=2), "tdx.quote_version"),
        "att-key-type-3": (Platform(key_type=3), "tdx.quote_key_type"),
        "qe-vendor": (Platform(vendor=bytes(16)), "tdx.quote_vendor"),
        "outer-type-5": (Platform(outer_type=5), "tdx.malformed"),
        "siglen-huge": (good[:632] + b"\xff" * 4 + good[636:], "tdx.malformed"),
        "authlen-huge": (good[:1218] + b"\xff\xff" + good[1220:], "tdx.malformed"),
        "flip-mrtd": (flip(good, 184), "tdx.signature"),
        "flip-reportdata": (flip(good, 631), "tdx.signature"),
        "flip-qe-report": (flip(good, 770 + 64), "tdx.qe_report_signature"),
        "flip-qe-auth": (flip(good, 1220), "tdx.qe_report_data"),
        "ca-not-ca": (_not_ca(), "tdx.chain_ca"),
        "sig-little-endian": (_reversed(good), "tdx.signature"),
        "ak-substituted": (Platform(attestation_key="thief"), "tdx.qe_report_data"),
        "qe-signed-by-ak": (Platform(qe_signer="attestation"), "tdx.qe_report_signature"),
        "chain-too-short": (Platform(chain=dcap.pck_chain()[:2]), "tdx.chain_incomplete"),
        "lookalike-root": (_foreign(), "tdx.untrusted_root"),
        "pck-wrong-cn": (_leaf(subject="Intel SGX PCK"), "tdx.chain_names"),
        "pck-expired": (_leaf(not_after=NOW - dcap.MONTH), "tdx.expired"),
        "pck-unknown-critical": (_leaf(critical="1.2.3.4"), "tdx.critical_extension"),
        "pck-as-ca": (_as_ca(), "tdx.chain_names"),
    }
    for name, (raw, reason) in cases.items():
        _add(bundle, name, raw, reason)
    _add(bundle, "sgx-quote", Platform.sgx(), "tdx.tcb_info_type")
    _add(bundle, "sgx-quote-and-collateral", Platform.sgx(), "tdx.tee", collateral=files("SGX"))


def _reversed(good: bytes) -> bytes:
    r, s = good[636:668], good[668:700]
    return good[:636] + r[::-1] + s[::-1] + good[700:]


def _leaf(**changes: Any) -> Platform:
    return Platform(chain=dcap.pck_chain(_pck(**changes)))


def _foreign() -> Platform:
    root = replace(dcap.ROOT, subject_key="foreign").issue(dcap.key("foreign"))
    ca = PLATFORM_CA.issue(dcap.key("foreign"))
    return Platform(chain=(PCK.issue(dcap.key("platform")), ca, root))


def _not_ca() -> Platform:
    return Platform(chain=dcap.pck_chain(issuer=replace(PLATFORM_CA, ca=False, path_length=None)))


def _as_ca() -> Platform:
    """A genuine PCK certificate in the place of a CA."""
    middle = PCK.issue(dcap.key("platform"))
    leaf = _pck(issuer=PCK, subject_key="thief").issue(dcap.key("pck"))
    return Platform(chain=(leaf, middle, dcap.root_der()), qe_signer="thief")


def _tdx_bad_collateral(bundle: Bundle) -> None:
    info, identity, signed = dcap.tcb_info, dcap.qe_identity, dcap.signed
    early, late = dcap.moment(NOW - 2 * dcap.MONTH), dcap.moment(NOW + 2 * dcap.MONTH)
    past: dict[str, Any] = {"this_update": NOW - YEAR, "next_update": NOW - dcap.MONTH}
    processor = dcap.crl(PROCESSOR_CA.subject, dcap.key("processor"))
    revoked_signer, forged = dcap.root_crl(4), dcap.crl(PLATFORM_CA.subject, dcap.key("pck"))
    expired = dcap.tcb_chain(replace(TCB_SIGNING, not_after=NOW - dcap.MONTH))
    old = {"issueDate": dcap.moment(NOW - YEAR), "nextUpdate": early}
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "pck-revoked": ({"pck_crl": dcap.pck_crl(5)}, "tdx.revoked"),
        "ca-revoked": ({"root_crl": dcap.root_crl(2)}, "tdx.revoked"),
        "tcb-signing-revoked": ({"root_crl": revoked_signer}, "tdx.revoked"),
        "pckcrl-expired": ({"pck_crl": dcap.pck_crl(**past)}, "tdx.crl_expired"),
        "rootcrl-expired": ({"root_crl": dcap.root_crl(**past)}, "tdx.crl_expired"),
        "pckcrl-forged": ({"pck_crl": forged}, "tdx.crl_signature"),
        "pckcrl-processor": ({"pck_crl": processor}, "tdx.crl_issuer"),
        "pckcrl-is-root-crl": ({"pck_crl": dcap.root_crl()}, "tdx.crl_issuer"),
        "tcb-signing-expired": ({"tcb_info_chain": expired}, "tdx.expired"),
        "tcbinfo-signed-by-pck": ({"tcb_info": signed(info(), "pck")}, "tdx.tcb_info_signature"),
        "tcbinfo-expired": ({"tcb_info": signed(info(**old))}, "tdx.tcb_info_expired"),
        "tcbinfo-future": (
            {"tcb_info": signed(info(issueDate=late, nextUpdate=late))},
            "tdx.tcb_info_not_yet_valid",
        ),
        "tcbinfo-other-fmspc": ({"tcb_info": signed(info(fmspc="0" * 12))}, "tdx.tcb_info_fmspc"),
        "tcbinfo-pceid": ({"tcb_info": signed(info(pceId="0001"))}, "tdx.tcb_info_pceid"),
        "tcbinfo-id-sgx": ({"tcb_info": signed(info("SGX"))}, "tdx.tcb_info_type"),
        "qeid-expired": ({"qe_identity": signed(identity(**old))}, "tdx.qe_identity_expired"),
        "qeid-id-qe": ({"qe_identity": signed(identity("QE"))}, "tdx.qe_identity_type"),
        "qeid-signed-by-pck": (
            {"qe_identity": signed(identity(), "pck")},
            "tdx.qe_identity_signature",
        ),
    }
    for name, (changes, reason) in cases.items():
        _add(bundle, name, Platform(), reason, collateral=files(**changes))
    raw = files()
    again = raw["tcb_info"].replace(b'":', b'": ', 1)
    name, reason = "tcbinfo-reserialised", "tdx.tcb_info_signature"
    _add(bundle, name, Platform(), reason, collateral=raw | {"tcb_info": again})
    twice = b'{"fmspc":"000000000000",' + raw["tcb_info"][1:]
    doubled = raw | {"tcb_info": twice, "tcb_info_sig": _hex_signature(twice)}
    _add(bundle, "tcbinfo-duplicate-key", Platform(), "tdx.malformed", collateral=doubled)


def _hex_signature(raw: bytes) -> bytes:
    return dcap.sign(dcap.key("tcb"), raw).hex().encode()


def _tdx_status(bundle: Bundle) -> None:
    any_status: dict[str, Any] = {"policy": {"accept_tcb_status": ANY}}

    def info(*levels: dict[str, Any], **more: Any) -> dict[str, Any]:
        changes = ({"tcbLevels": list(levels)} if levels else {}) | more
        return files(tcb_info=dcap.signed(dcap.tcb_info(**changes)))

    swh = info(dcap.level("SWHardeningNeeded", advisories=("OWN-SA-2",)))
    found: dict[str, Any] = {"tcb_status": "SWHardeningNeeded", **any_status}
    _add(bundle, "status-swhardening", Platform(), collateral=swh, **found)
    _add(bundle, "status-strict", Platform(), "tdx.tcb_status", collateral=swh)
    revoked = info(dcap.level("Revoked"))
    name = "status-revoked"
    _add(bundle, name, Platform(), "tdx.tcb_status", collateral=revoked, **any_status)
    above = bytes((dcap.COMPONENTS[0] + 1, *dcap.COMPONENTS[1:]))
    unsupported = info(dcap.level("UpToDate", sgx=above))
    name = "tcb-not-supported"
    _add(bundle, name, Platform(), "tdx.tcb_not_supported", collateral=unsupported, **any_status)
    trap = bytes((*dcap.COMPONENTS[:7], dcap.COMPONENTS[7] + 1, *dcap.COMPONENTS[8:]))
    lower = bytes((0, *dcap.COMPONENTS[1:]))
    levels = info(dcap.level("UpToDate", sgx=trap), dcap.level("OutOfDate", sgx=lower))
    found = {"tcb_status": "OutOfDate", **any_status}
    _add(bundle, "component-trap", Platform(), collateral=levels, **found)
    pce = info(dcap.level("UpToDate", pce_svn=12), dcap.level("OutOfDate"))
    _add(bundle, "pcesvn-low", Platform(), collateral=pce, **found)
    old_qe = Platform(qe={"isv_svn": 2})
    _add(bundle, "qe-outofdate", old_qe, **found)
    module_old = Platform(body=dcap.td_report(tee_tcb_svn=RELAUNCH_SVN))
    _add(bundle, "module-outofdate", module_old, **found)
    by_default: dict[str, Any] = {"collateral": files()}
    _add(bundle, "outofdate-by-default", old_qe, "tdx.tcb_status", **by_default)
    even_so: dict[str, Any] = {"policy": {"accept_tcb_status": [*ANY, "Revoked"]}}
    name = "status-revoked-accepted"
    _add(bundle, name, Platform(), "tdx.tcb_status", collateral=revoked, **even_so)
    up: dict[str, Any] = {"tcb_status": "UpToDate"}
    loaded = dcap.td_report(tee_tcb_svn=bytes([5, 0, 6]) + bytes(13))
    _add(bundle, "module0", Platform(body=loaded), **up)
    first_two = info(dcap.level("UpToDate", tdx=b"\x09\x09" + dcap.TEE_TCB_SVN[2:]))
    _add(bundle, "module-components-from-2", Platform(), collateral=first_two, **up)
    module0 = Platform(body=loaded)
    name, reason = "module0-components-from-0", "tdx.tcb_not_supported"
    _add(bundle, name, module0, reason, collateral=first_two, **any_status)
    body = dcap.td_report(newer=True, tee_tcb_svn=RELAUNCH_SVN)
    relaunch: dict[str, Any] = {"tcb_status": "TDRelaunchAdvised", **any_status}
    _add(bundle, "relaunch", Platform(version=5, body=body), **relaunch)
    unknown = dcap.td_report(tee_tcb_svn=bytes([5, 9, 6]) + bytes(13))
    _add(bundle, "module-unknown", Platform(body=unknown), "tdx.tdx_module", **any_status)
    ancient = dcap.td_report(tee_tcb_svn=bytes([1, 1, 6]) + bytes(13))
    name, reason = "module-unsupported", "tdx.tdx_module_tcb"
    _add(bundle, name, Platform(body=ancient), reason, **any_status)


def _tdx_identities(bundle: Bundle) -> None:
    foreign: dict[str, Any] = {"mr_signer_seam": b"\1" * 48, "seam_attributes": b"\1" * 8}
    for field, value in foreign.items():
        name, changed = field.replace("_", ""), {field: value}
        body = dcap.td_report(**changed)
        _add(bundle, name, Platform(body=body), "tdx.tdx_module")
    for name, qe in (
        ("qe-mrsigner", {"mr_signer": bytes(32)}),
        ("qe-debug", {"attributes": b"\x17" + bytes(15)}),
        ("qe-prodid", {"isv_prod_id": 1}),
        ("qe-miscselect", {"misc_select": 1}),
    ):
        _add(bundle, name, Platform(qe=qe), "tdx.qe_identity")


def _tdx_policies(bundle: Bundle) -> None:
    body = dcap.td_report(rtmr3=b"\3" * 48, report_data=bytes(range(64)), mr_config_id=b"\4" * 48)
    platform = Platform(body=body)
    match = {"mrtd": body[136:184].hex(), "rtmr3": "03" * 48, "report_data": body[520:].hex()}
    found: dict[str, Any] = {"tcb_status": "UpToDate"}
    _add(bundle, "pol-match", platform, policy=match | {"mrconfigid": "04" * 48}, **found)
    prefix = (body[520:552] + bytes(32)).hex()
    for name, key, value, reason in (
        ("mrtd", "mrtd", "00" * 48, "tdx.mr_td"),
        ("rtmr3", "rtmr3", "00" * 48, "tdx.rtmr3"),
        ("mrconfigid", "mrconfigid", "00" * 48, "tdx.mr_config_id"),
        ("reportdata-prefix", "report_data", prefix, "tdx.report_data"),
        ("mineval", "min_tcb_eval", 18, "tdx.tcb_evaluation"),
    ):
        _add(bundle, f"pol-{name}", platform, reason, policy={key: value})
    debug = Platform(body=dcap.td_report(td_attributes=1 << 28 | 1))
    _add(bundle, "debug-refused", debug, "tdx.debug")
    _add(bundle, "debug-allowed", debug, policy={"allow_debug": True}, **found)
    visible = Platform(body=dcap.td_report(td_attributes=0))
    wanted = {"require_sept_ve_disable": True}
    _add(bundle, "no-septve", visible, "tdx.attributes.required", policy=wanted)


def _sgx(bundle: Bundle) -> None:
    kind, collateral = "sgx_quote", files("SGX")
    add: dict[str, Any] = {"kind": kind, "collateral": collateral}
    good = Platform.sgx()
    _add(bundle, "v3", good, tcb_status="UpToDate", **add)
    raw = good.quote()
    _add(bundle, "flip-mrenclave", flip(raw, 48 + 64), "sgx.signature", **add)
    _add(bundle, "truncated", raw[:-1], "sgx.malformed", **add)
    body = dcap.enclave_report(mr_enclave=b"\7" * 32, attributes=b"\x07" + bytes(15))
    _add(bundle, "debug-refused", Platform.sgx(body=body), "sgx.debug", **add)
    thief = Platform.sgx(attestation_key="thief")
    _add(bundle, "ak-substituted", thief, "sgx.qe_report_data", **add)
    _add(bundle, "td-qe", Platform.sgx(qe={}), "sgx.qe_identity", **add)
    tdx: dict[str, Any] = {"kind": kind, "collateral": files("TDX")}
    _add(bundle, "tcbinfo-tdx", good, "sgx.tcb_info_type", **tdx)
    _add(bundle, "tdx-quote", Platform(), "sgx.tcb_info_type", **add)
    _add(bundle, "tdx-quote-and-collateral", Platform(), "sgx.tee", **tdx)


def _crypto_only(bundle: Bundle) -> None:
    kind = "quote_crypto_only"
    good = Platform()
    add: dict[str, Any] = {"kind": kind, "collateral": {}}
    _add(bundle, "tdx", good, **add)
    _add(bundle, "sgx", Platform.sgx(), **add)
    _add(bundle, "flip", flip(good.quote(), 600), "quote.signature", **add)
    _add(bundle, "lookalike-root", _foreign(), "quote.untrusted_root", **add)
    thief = Platform(attestation_key="thief")
    _add(bundle, "ak-substituted", thief, "quote.qe_report_data", **add)


def _parse(bundle: Bundle) -> None:
    good = Platform().quote()
    bundle.add("quote_parse", "own-parse-quote", good, verdict="parse-only")
    bundle.add("quote_parse", "own-parse-quote-truncated", good[:-1], "quote.malformed")
    version_2 = b"\2" + good[1:]
    bundle.add("quote_parse", "own-parse-quote-version-2", version_2, "quote.quote_version")


def _pck_chains(bundle: Bundle) -> None:
    root = dcap.pem(dcap.root_der())
    crls = {"root_crl": dcap.pem_crl(dcap.root_crl()), "pck_crl": dcap.pem_crl(dcap.pck_crl())}
    bad_ca = replace(PLATFORM_CA, ca=False, path_length=None)
    missing = _pck(sgx_extension=None)
    past: dict[str, Any] = {"this_update": NOW - YEAR, "next_update": NOW - dcap.MONTH}
    revoked, expired = (dcap.pem_crl(dcap.pck_crl(*n, **d)) for n, d in (((5,), {}), ((), past)))
    foreign = dcap.pem(*_foreign().chain)
    cases: dict[str, tuple[bytes, dict[str, bytes], str]] = {
        "ok": (dcap.pem(*dcap.pck_chain()), {}, ""),
        "lookalike-root": (foreign, {}, "pck.untrusted_root"),
        "revoked": (dcap.pem(*dcap.pck_chain()), {"pck_crl": revoked}, "pck.revoked"),
        "crl-expired": (dcap.pem(*dcap.pck_chain()), {"pck_crl": expired}, "pck.crl_expired"),
        "ca-not-ca": (dcap.pem(*dcap.pck_chain(issuer=bad_ca)), {}, "pck.chain_ca"),
        "no-sgx-extension": (dcap.pem(*dcap.pck_chain(missing)), {}, "pck.pck_extension"),
        "expired": (
            dcap.pem(*dcap.pck_chain(_pck(not_after=NOW - dcap.MONTH))),
            {},
            "pck.expired",
        ),
    }
    for name, (chain, changes, reason) in cases.items():
        given: dict[str, Any] = {"chain": chain, "root": root} | crls | changes
        bundle.add("intel_pck_chain", f"own-pck-{name}", chain, reason, files=given, at=NOW)
