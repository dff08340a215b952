"""What must not change a verdict does not, and a flipped bit of a signature always does.

Over every case of the published vectors and of our own: the judge must not have learned
the cases by heart.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest

from atoll.errors import EvidenceError
from atoll.evidence.judge import judge_vector
from atoll.evidence.x509 import crl_der, ders
from support import vectors
from vectors import generate

Read = Callable[[str], bytes]
Case = dict[str, Any]

SIGNATURE_AT = {
    "snp_report": (0x2A0, 0x2CF, 0x2E8, 0x317),
    "snp_extended_report": (0x2A0, 0x2CF, 0x2E8, 0x317),
    "keystone_report": (1096, 1127, 1128, 1159, 1256, 1287, 1288, 1319),
}
DATED = timedelta(seconds=1)


@cache
def _cases(kind: str) -> list[tuple[Case, Read]]:
    own = json.loads((generate.HERE / generate.MANIFEST).read_text("utf-8"))["vectors"]
    found = [(case, _own) for case in own if case["kind"] == kind]
    return found + [(case, vectors.read) for case in vectors.of_kind(kind)]


def _own(path: str) -> bytes:
    return (generate.HERE / path).read_bytes()


def _judged(case: Case, read: Read, **changes: Any) -> str:
    """The verdict; bytes among the changes stand for files."""
    made: dict[str, bytes] = {}

    def named(value: Any) -> Any:
        if isinstance(value, bytes):
            made[f"made {len(made)}"] = value
            return f"made {len(made) - 1}"
        if isinstance(value, list):
            return [named(one) for one in value]
        return {k: named(v) for k, v in value.items()} if isinstance(value, dict) else value

    changed = {**case, **{key: named(value) for key, value in changes.items()}}
    return judge_vector(changed, lambda path: made[path] if path in made else read(path)).got


def _valid(kind: str) -> Iterator[tuple[Case, Read]]:
    return (one for one in _cases(kind) if one[0]["expected"]["verdict"] == "valid")


def _pem(der: bytes, label: bytes = b"CERTIFICATE") -> bytes:
    text = base64.encodebytes(der)
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, text, label)


def _flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes((raw[at] ^ 0x10,)) + raw[at + 1 :]


def _quote_signature(raw: bytes) -> int:
    """Where a quote's signature begins: after header, body and a length."""
    version, tee = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[4:8], "little")
    if version == 5:
        return 54 + int.from_bytes(raw[50:54], "little") + 4
    return 48 + (584 if tee else 384) + 4


@pytest.mark.parametrize("kind", ["snp_report", "azure_hcl_snp"])
def test_order_and_encoding_of_certificates_change_no_verdict(kind: str) -> None:
    for case, read in _cases(kind):
        given = case["files"].get("certs") or []
        try:
            found = [der for path in given for der in ders(read(path))]
        except EvidenceError:  # a case whose certificates cannot be read
            continue
        expected = case["expected"]["verdict"]
        for certs in (found[::-1], [_pem(der) for der in found], [b"".join(map(_pem, found))]):
            files = {**case["files"], "certs": certs}
            assert _judged(case, read, files=files) == expected, case["id"]


def test_encoding_of_revocation_lists_changes_no_verdict() -> None:
    for case, read in _cases("snp_report"):
        if not (lists := case["files"].get("crls")):
            continue
        crls = [_pem(crl_der(read(path)), b"X509 CRL") for path in lists]
        files = {**case["files"], "crls": crls}
        assert _judged(case, read, files=files) == case["expected"]["verdict"], case["id"]


@pytest.mark.parametrize("kind", ["tdx_quote", "sgx_quote"])
def test_order_of_the_chains_beside_a_quote_changes_no_verdict(kind: str) -> None:
    for case, read in list(_cases(kind))[::5]:
        changed = dict(case["files"])
        for role in ("tcb_chain", "qe_chain"):
            if isinstance(path := changed.get(role), str):
                try:
                    changed[role] = list(ders(read(path))[::-1])
                except EvidenceError:  # a case whose certificates cannot be read
                    changed[role] = path
        assert _judged(case, read, files=changed) == case["expected"]["verdict"], case["id"]


@pytest.mark.parametrize("kind", sorted(SIGNATURE_AT))
def test_a_flipped_bit_of_a_signature_makes_a_valid_case_invalid(kind: str) -> None:
    for case, read in _valid(kind):
        raw = read(case["path"])
        for at in SIGNATURE_AT[kind]:
            assert _judged(case, read, path=_flipped(raw, at)) == "invalid", (case["id"], at)


@pytest.mark.parametrize("kind", ["tdx_quote", "sgx_quote", "quote_crypto_only"])
def test_a_flipped_bit_of_a_quotes_signature_makes_it_invalid(kind: str) -> None:
    for case, read in list(_valid(kind))[::3]:
        raw = read(case["path"])
        start = _quote_signature(raw)
        for at in (start, start + 31, start + 32, start + 63):
            assert _judged(case, read, path=_flipped(raw, at)) == "invalid", (case["id"], at)


@pytest.mark.parametrize("kind", ["tpm_quote", "azure_hcl_snp", "azure_hcl_tdx"])
def test_a_flipped_bit_of_a_tpm_signature_makes_it_invalid(kind: str) -> None:
    for case, read in _valid(kind):
        signature = read(case["files"]["tpm_signature"])
        for at in (0, len(signature) // 2, len(signature) - 1):
            files = {**case["files"], "tpm_signature": _flipped(signature, at)}
            assert _judged(case, read, files=files) == "invalid", (case["id"], at)


@pytest.mark.parametrize(
    "kind", ["snp_report", "snp_cert_chain", "tdx_quote", "sgx_quote", "azure_hcl_tdx"]
)
def test_a_second_more_changes_nothing_and_another_century_everything(kind: str) -> None:
    for case, read in list(_valid(kind))[::2]:
        later = datetime.fromisoformat(case["verify_time"]) + DATED
        assert _judged(case, read, verify_time=later.isoformat()) == "valid", case["id"]
        for year in ("1999", "2200"):
            then = f"{year}-01-01T00:00:00Z"
            assert _judged(case, read, verify_time=then) == "invalid", case["id"]
