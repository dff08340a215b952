"""Evidence within other evidence, through the verification API: roots, chains, simulation."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from atoll.errors import InputError
from atoll.evidence.judge import judge, judge_vector
from atoll.evidence.judgement import Judgement, Roots
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY
from support import dcap, keystone, ratls
from support.dcap import NOW, Platform
from vectors import generate


@cache
def _own() -> Mapping[str, dict[str, Any]]:
    manifest = json.loads((generate.HERE / generate.MANIFEST).read_text("utf-8"))
    return {case["id"]: case for case in manifest["vectors"]}


def _read(path: str) -> bytes:
    return (generate.HERE / path).read_bytes()


def _ratls(roots: Roots | None) -> Judgement:
    claims = ratls.claims(nonce=b"fresh")
    body = dcap.enclave_report(report_data=ratls.report_data(claims))
    quote = Platform.sgx(body=body).quote()
    der = ratls.Tls(value=ratls.evidence(claims, quote)).der()
    return judge("ratls_cert", der, now=NOW, roots=roots)


def test_a_callers_root_is_believed_and_what_stands_under_it_is_simulated() -> None:
    assert _ratls(None).reason == "ratls.untrusted_root"
    under = _ratls(Roots(certificates=(dcap.root_der(),)))
    assert (under.verdict, under.simulated) == ("valid", True)
    with pytest.raises(InputError) as caught:
        _ratls(Roots(certificates=(b"no certificate",)))
    assert caught.value.code == "trust.root"


@pytest.mark.parametrize(
    "name", ["own-azure-snp-ok", "own-azure-tdx-ok", "own-azure-tdx-collateral", "own-ratls-ok"]
)
def test_pinned_roots_do_not_vouch_for_our_own_vectors(name: str) -> None:
    case = _own()[name]
    blind = {key: value for key, value in case.items() if not key.startswith("trusted_")}
    assert judge_vector(case, _read).got == "valid"
    assert judge_vector(blind, _read).got == "invalid"


def test_azure_names_every_check_of_the_report_and_the_registers() -> None:
    case = _own()["own-azure-snp-pol-all-match"]
    files = {
        role: [_read(one) for one in ([paths] if isinstance(paths, str) else paths)]
        for role, paths in case["files"].items()
    }
    roots = Roots(
        amd_spki_sha256={name: bytes.fromhex(one) for name, one in case["trusted_roots"].items()}
    )
    said = judge(
        "azure_hcl_snp",
        _read(case["path"]),
        files=files,
        policy=case["policy"],
        now=NOW,
        roots=roots,
    )
    ids = {one.id for one in said.checks}
    assert said.verdict == "valid"
    assert {"azure.verified", "snp.debug", "snp.measurement", "tpm.pcr.sha256.0"} <= ids


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\x30\x03\x02\x01\x05"])
def test_a_chain_beside_a_quote_that_cannot_be_read_fails_the_case(content: bytes) -> None:
    case = _own()["own-tdx-v4"]
    for role in ("tcb_chain", "qe_chain"):
        files = {**case["files"], role: "changed"}
        row = judge_vector(
            {**case, "files": files}, lambda path: content if path == "changed" else _read(path)
        )
        assert (row.got, row.reason) == ("invalid", "tdx.malformed")


def _keystone(root: bytes, policy: dict[str, Any] | None = None) -> Judgement:
    worthless = DEVELOPMENT_DEVICE_KEY
    raw = keystone.Content(device_public=worthless if root == worthless else None).report()
    return judge("keystone", raw, policy=policy, roots=Roots(certificates=(root,)))


def test_a_devices_own_key_given_as_root_is_enough() -> None:
    said = _keystone(keystone.DEVICE.public)
    assert (said.verdict, said.simulated) == ("valid", False)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({}, "keystone.development_key"),
        ({"allow_development_key": False}, "keystone.development_key"),
        # Allowed, it is the anchor, and this report is another device's.
        ({"allow_development_key": True}, "keystone.sm_bad_signature"),
        ({"device_public_key": DEVELOPMENT_DEVICE_KEY.hex()}, "keystone.sm_bad_signature"),
    ],
)
def test_the_published_device_key_counts_only_if_the_policy_says_so(
    policy: dict[str, Any], reason: str
) -> None:
    assert _keystone(DEVELOPMENT_DEVICE_KEY, policy).reason == reason


def test_what_allows_the_published_key_is_true_or_false() -> None:
    with pytest.raises(InputError):
        _keystone(keystone.DEVICE.public, {"allow_development_key": "yes"})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("own-ratls-pck-reissued", ""),
        ("own-ratls-pck-reissued-strict", "ratls.not_yet_valid"),
        ("own-ratls-pck-after-the-end", "ratls.not_yet_valid"),
        ("own-ratls-authority-reissued", "ratls.not_yet_valid"),
        ("own-ratls-authority-ends-before", "ratls.expired"),
    ],
)
def test_only_a_pck_certificate_may_begin_after_the_moment_to_judge_at(
    name: str, reason: str
) -> None:
    assert judge_vector(_own()[name], _read).reason == reason


def test_a_whole_policy_of_a_tpm_counts_with_every_field() -> None:
    case = _own()["own-tpm-ok"]
    whole = {"version": 1, "tee": "tpm", "nonce": case["policy"]["nonce"]}
    for values, verdict in (
        ("unchecked", "valid"),
        ({"sha256": {"0": "00" * 32}}, "invalid"),
        (None, "invalid"),
    ):
        policy = whole | ({} if values is None else {"pcr_values": values})
        assert judge_vector({**case, "policy": policy}, _read).got == verdict


def test_a_csp_id_that_is_no_text_is_not_meant() -> None:
    case = _own()["own-snp-csp-match"]
    for value in (5, None, "", "é", "x" * 129, ["CN=cc.example.invalid"]):
        row = judge_vector({**case, "policy": {"csp_id": value}}, _read)
        assert (row.got, row.reason) == ("invalid", "policy.invalid")
