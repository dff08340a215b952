"""The authority certifies keys of the one form, and is loaded as it was saved."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from atoll.errors import InputError
from atoll.tpm import templates
from atoll.tpm.authority import VtpmAuthority

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AUTHORITY = VtpmAuthority.generate(now=NOW)
KEY = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()


def public(x: int = KEY.x, y: int = KEY.y) -> bytes:
    """The template with a point in it."""
    point = b"".join(b"\0\x20" + one.to_bytes(32, "big") for one in (x, y))
    return templates.attestation_key()[:20] + point


def test_it_is_loaded_as_it_was_saved() -> None:
    loaded = VtpmAuthority.from_pem(AUTHORITY.to_pem())

    assert loaded.certificate == AUTHORITY.certificate
    assert loaded.to_pem() == AUTHORITY.to_pem()


def test_another_key_is_not_the_authoritys() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(InputError) as caught:
        VtpmAuthority.from_pem(AUTHORITY.certificate_pem + pem)

    assert caught.value.code == "vtpm.authority"


@pytest.mark.parametrize("raw", [b"", b"nonsense", AUTHORITY.certificate_pem])
def test_what_is_no_authority_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        VtpmAuthority.from_pem(raw)


def test_a_certificate_names_the_host_and_ends_soon() -> None:
    leaf, authority = AUTHORITY.certify(
        public(), host_id="host-7", now=NOW, lifetime=timedelta(hours=1)
    )

    found = x509.load_der_x509_certificate(leaf)
    assert found.subject.rfc4514_string() == "CN=host-7"
    assert found.not_valid_after_utc == NOW + timedelta(hours=1)
    assert authority == AUTHORITY.certificate


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        public(y=1),
        public().replace(b"\0\x05\x04\x72", b"\0\x04\x04\x72"),
    ],
)
def test_a_key_of_another_form_is_not_certified(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        AUTHORITY.certify(raw, host_id="host-7", now=NOW)

    assert caught.value.code == "vtpm.key"


@pytest.mark.parametrize("host", ["", "a" * 65, "häuser", "a\n"])
def test_a_host_that_no_certificate_can_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        AUTHORITY.certify(public(), host_id=host, now=NOW)
