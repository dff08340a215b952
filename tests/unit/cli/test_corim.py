"""`atoll policy corim`: what is known, who said so, and into a policy only what fits one."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cbor2 import CBORTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll import cbor
from atoll.client.keystore import KeyStore
from atoll.corim.codec import to_cbor
from atoll.corim.keystone import with_device_keys
from atoll.corim.measured import KEYSTONE, TDX, to_corim
from atoll.corim.signed import sign_corim
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.corim.values import Corim, Measurement, Oid, ReferenceTriple, Validity
from unit.cli.console import Console, Said

ONE, TWO = "11" * 48, "22" * 48
KEY = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
PAST = Validity(not_after=datetime(2020, 1, 1, tzinfo=UTC))


def _snp(*measurements: str, name: str = "c", validity: Validity | None = None) -> Corim:
    values = SnpReferenceValues(measurements=frozenset(map(bytes.fromhex, measurements)))
    return snp_to_corim(values, corim_id=name, tag_id=name, validity=validity)


def _file(tmp_path: Path, corim: Corim, name: str = "c.cbor", **options: Any) -> Path:
    """Signed by `KEY`."""
    path = tmp_path / name
    path.write_bytes(sign_corim(corim, KEY, **({"kid": b"build", "signer": "Build"} | options)))
    return path


def _bytes(tmp_path: Path, raw: bytes, name: str = "c.cbor") -> Path:
    path = tmp_path / name
    path.write_bytes(raw)
    return path


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """The public half of `KEY`."""
    return _bytes(
        tmp_path,
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "key.pem",
    )


@pytest.fixture
def policy(console: Console, tmp_path: Path) -> Path:
    """A draft with a section for SEV-SNP that accepts `ONE`."""
    path = tmp_path / "policy.json"
    assert console("policy", "new", "fleet", "--measurement", ONE, "-o", path).status == 0
    return path


def _error(said: Said) -> str:
    assert said.status == 1
    code: str = said.document()["error"]["code"]
    return code


def _import(console: Console, into: Path, *line: str | Path) -> Said:
    output = into.with_name("next.json")
    output.unlink(missing_ok=True)
    return console("policy", "corim", "import", *line, "--into", into, "-o", output, "--json")


def _section(said: Said, tee: str = "sev-snp") -> Any:
    assert said.status == 0, said.err
    return said.document()["document"]["sections"][tee]


def test_takes_values_into_the_next_version_and_changes_nothing_else(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    before = console("policy", "show", policy, "--json").document()["document"]
    said = _import(console, policy, _file(tmp_path, _snp(TWO)), "--key", pem)
    assert _section(said)["measurements"] == [TWO]
    after = said.document()["document"]
    assert after["version"] == before["version"] + 1
    after["sections"]["sev-snp"]["measurements"] = [ONE]
    assert after == {**before, "version": after["version"]}


def test_several_files_of_a_tee_are_taken_together(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    files = [_file(tmp_path, _snp(item, name=item[:2]), item[:2]) for item in (ONE, TWO)]
    assert _section(_import(console, policy, *files, "--key", pem))["measurements"] == [ONE, TWO]
    said = _import(console, policy, files[0], files[0], "--key", pem)
    assert (_error(said), "tag id" in said.err) == ("corim.invalid", True)


def test_one_of_several_keys_is_enough_and_another_is_not(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    console("keys", "new", "other")
    public = _bytes(tmp_path, KeyStore(console.home).load("other").public.to_bytes(), "other.pub")
    path = _file(tmp_path, _snp(TWO))
    assert _import(console, policy, path, "--key", public, "--key", pem).status == 0
    assert _error(_import(console, policy, path, "--key", public)) == "cose.signature"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert _error(_import(console, policy, path, "--key", pem)) == "cose.signature"
    assert not policy.with_name("next.json").exists()


def test_an_unsigned_file_is_taken_only_when_that_is_said(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    path = _bytes(tmp_path, to_cbor(_snp(TWO)))
    assert _error(_import(console, policy, path, "--key", pem)) == "corim.unsigned"
    assert _section(_import(console, policy, path, "--unsigned"))["measurements"] == [TWO]
    signed = _file(tmp_path, _snp(TWO), "signed")
    assert _error(_import(console, policy, signed, "--unsigned")) == "corim.signed"
    assert _import(console, policy, path).status == 2
    assert _import(console, policy, path, "--unsigned", "--key", pem).status == 2


def test_refuses_what_has_expired_wherever_that_is_said(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    content = _file(tmp_path, _snp(TWO, validity=PAST), "content")
    signature = _file(tmp_path, _snp(TWO), "signature", validity=PAST)
    for path in (content, signature):
        assert _error(_import(console, policy, path, "--key", pem)) == "corim.expired"
    unsigned = _bytes(tmp_path, to_cbor(_snp(TWO, validity=PAST)), "unsigned")
    assert _error(_import(console, policy, unsigned, "--unsigned")) == "corim.expired"


def test_names_what_it_does_not_read_instead_of_dropping_it(
    console: Console, tmp_path: Path, policy: Path
) -> None:
    whole = cbor.loads(to_cbor(_snp(TWO)), limit=9999, tags={32, 501, 506})
    whole.value[1].append(CBORTag(505, b"\xa0"))
    said = _import(console, policy, _bytes(tmp_path, cbor.dumps(whole)), "--unsigned")
    assert (_error(said), "CoSWID" in said.err) == ("corim.unsupported", True)
    (comid,) = _snp(TWO).comids
    (triple,) = comid.triples
    more = (*triple.measurements, Measurement(mkey=647, svn=3))
    extra = ReferenceTriple(environment=triple.environment, measurements=more)
    corim = replace(_snp(TWO), comids=(replace(comid, triples=(extra,)),))
    said = _import(console, policy, _bytes(tmp_path, to_cbor(corim)), "--unsigned")
    assert _error(said) == "corim.invalid"
    other = replace(_snp(TWO), profile=Oid(text="1.2.3"))
    said = _import(console, policy, _bytes(tmp_path, to_cbor(other)), "--unsigned")
    assert (_error(said), "1.2.3" in said.err) == ("corim.unsupported", True)


def test_refuses_truncated_files(console: Console, tmp_path: Path, policy: Path, pem: Path) -> None:
    signed, plain = _file(tmp_path, _snp(TWO)).read_bytes(), to_cbor(_snp(TWO))
    for raw, option in ((signed, ("--key", pem)), (plain, ("--unsigned",))):
        for size in range(1, len(raw), 29):
            path = _bytes(tmp_path, raw[:size], "cut")
            code = _error(_import(console, policy, path, *option))
            assert code in {"cose.malformed", "cbor.malformed", "corim.unsigned"}


def test_does_not_open_a_policy_for_another_tee(
    console: Console, tmp_path: Path, policy: Path, pem: Path
) -> None:
    fields = {"mr_tds": frozenset({bytes.fromhex(ONE)})}
    path = _file(tmp_path, to_corim(TDX, fields, corim_id="c", tag_id="t"))
    assert _error(_import(console, policy, path, "--key", pem)) == "policy.no_section"


@pytest.mark.parametrize(
    ("tee", "size", "field"),
    [("sev-snp", 48, "measurements"), ("tdx", 48, "mr_tds"), ("keystone", 64, "enclave_hashes")],
)
def test_what_is_exported_comes_back_by_import(
    console: Console, tmp_path: Path, tee: str, size: int, field: str
) -> None:
    console("keys", "new", "build")
    public = _bytes(tmp_path, KeyStore(console.home).load("build").public.to_bytes(), "build.pub")
    ours, theirs, made = (tmp_path / name for name in ("ours", "theirs", "made.corim"))
    values = ["33" * size, "44" * size]
    line = [part for value in values for part in ("--measurement", value)]
    assert console("policy", "new", "fleet", "--tee", tee, *line, "-o", ours).status == 0
    line = ["--measurement", "55" * size]
    assert console("policy", "new", "fleet", "--tee", tee, *line, "-o", theirs).status == 0
    export = ("policy", "corim", "export", ours, "--until", "2999-01-01", "-o", made)
    said = console(*export, "--key", "build", "--json")
    assert said.status == 0
    assert said.document()["signature"]["signer"] == "build"
    assert said.document()["validity"]["not_after"] == "2999-01-01T00:00:00+00:00"
    assert _section(_import(console, theirs, made, "--key", public), tee)[field] == values
    assert _error(console(*export, "--json")) == "file.exists"


def test_export_says_what_the_policy_checks_beside(
    console: Console, tmp_path: Path, policy: Path
) -> None:
    said = console("policy", "corim", "export", policy, "--out", tmp_path / "o", "--json")
    assert said.document()["left_out"] == ["products", "signers", "vmpls"]
    assert said.document()["signature"] is None
    said = console("policy", "corim", "export", policy, "--out", tmp_path / "p")
    assert "but not in it: products" in said.err
    assert f"sha-384 {ONE}" in said.out


def test_export_wants_one_section_with_values(
    console: Console, tmp_path: Path, policy: Path
) -> None:
    export = ("policy", "corim", "export", "-o", tmp_path / "o", "--json")
    assert _error(console(*export, policy, "--tee", "tdx")) == "policy.no_section"
    both = tmp_path / "both"
    line = ("--from", policy, "--tee", "tdx", "--measurement", ONE, "-o", both)
    assert console("policy", "new", "fleet", *line).status == 0
    assert console(*export, both).status == 2
    assert console(*export, both, "--tee", "tdx").document()["tee"] == "tdx"
    none = tmp_path / "none"
    assert console("policy", "new", "fleet", "-o", none).status == 0
    assert _error(console(*export, none)) == "corim.invalid"


def test_shows_a_file_and_whether_its_signature_was_checked(
    console: Console, tmp_path: Path, pem: Path
) -> None:
    path = _file(tmp_path, _snp(ONE), validity=Validity(not_after=datetime(2999, 1, 1, tzinfo=UTC)))
    said = console("policy", "corim", "show", path)
    assert "NOT CHECKED" in said.out
    assert f"sha-384 {ONE}" in said.out
    document = console("policy", "corim", "show", path, "--key", pem, "--json").document()
    assert document["signature"] == {
        "checked": True,
        "signer": "Build",
        "kid": "build",
        "validity": {"not_before": None, "not_after": "2999-01-01T00:00:00+00:00"},
    }
    assert document["tee"] == "sev-snp"
    (triple,) = document["modules"][0]["reference_triples"]
    assert triple["measurements"] == [{"key": "641", "values": [f"sha-384 {ONE}"]}]
    plain = _bytes(tmp_path, to_cbor(_snp(ONE)), "plain")
    assert console("policy", "corim", "show", plain, "--json").document()["signature"] is None
    said = console("policy", "corim", "show", plain, "--key", pem, "--json")
    assert _error(said) == "corim.unsigned"


def test_shows_device_keys_and_does_not_put_them_into_a_policy(
    console: Console, tmp_path: Path
) -> None:
    fields = {"enclave_hashes": frozenset({b"\x33" * 64})}
    corim = with_device_keys(to_corim(KEYSTONE, fields, corim_id="c", tag_id="t"), [b"\x44" * 32])
    path = _bytes(tmp_path, to_cbor(corim))
    shown = console("policy", "corim", "show", path)
    assert "attestation key" in shown.out
    assert "44" * 32 in shown.out
    (keys,) = console("policy", "corim", "show", path, "--json").document()["modules"][0][
        "attest_key_triples"
    ]
    assert keys["keys"] == ["44" * 32]
    into = tmp_path / "policy.json"
    line = ("--tee", "keystone", "--measurement", "55" * 64, "-o", into)
    assert console("policy", "new", "fleet", *line).status == 0
    said = _import(console, into, path, "--unsigned")
    assert _section(said, "keystone")["enclave_hashes"] == ["33" * 64]
    assert f"no device keys: {'44' * 32}" in said.err
