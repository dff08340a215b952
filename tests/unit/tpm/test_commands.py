"""Commands are the bytes of the specification."""

import hashlib

import pytest

from atoll.tpm import codes, commands, templates

PASSWORD = "00000009400000090000000000"


def test_startup_is_the_bytes_of_the_specification() -> None:
    assert commands.startup().raw.hex() == "80010000000c000001440000"


def test_shutdown_is_the_bytes_of_the_specification() -> None:
    assert commands.shutdown().raw.hex() == "80010000000c000001450000"


def test_flush_has_its_handle_as_a_parameter() -> None:
    assert commands.flush_context(0x80000001).raw.hex() == "80010000000e0000016580000001"


def test_a_quote_is_authorised_by_an_empty_password() -> None:
    made = commands.quote(0x80000000, b"ab", codes.SHA256, [0, 9])

    assert made.raw.hex() == (
        "80020000002b0000015880000000" + PASSWORD + "00026162001000000001000b03010200"
    )


def test_extending_names_one_bank() -> None:
    made = commands.pcr_extend(9, codes.SHA256, bytes(32))

    assert made.raw.hex() == (
        "8002000000410000018200000009" + PASSWORD + "00000001000b" + "00" * 32
    )


def test_creating_a_key_sends_the_template() -> None:
    made = commands.create_primary(codes.ENDORSEMENT, templates.attestation_key())

    assert made.raw[10:14].hex() == "4000000b"
    assert templates.attestation_key() in made.raw
    assert int.from_bytes(made.raw[2:6], "big") == len(made.raw)


def test_the_key_is_restricted_and_never_leaves_the_tpm() -> None:
    unique = hashlib.sha256(b"atoll vtpm attestation key v1").hexdigest()

    assert templates.attestation_key().hex() == (
        "0023000b00050472000000100018000b000300100020" + unique + "0000"
    )


def test_allocating_says_every_bank() -> None:
    made = commands.pcr_allocate(codes.PLATFORM, (codes.SHA1, ()), (codes.SHA256, range(24)))

    assert made.raw.hex().endswith("00000002000403000000000b03ffffff")


def test_reading_a_public_key_needs_no_password() -> None:
    assert commands.read_public(0x81000000).raw.hex() == "80010000000e0000017381000000"


@pytest.mark.parametrize("number", [-1, 24])
def test_a_register_that_is_none_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="there is no PCR"):
        commands.pcr_read(codes.SHA256, [number])


def test_more_qualifying_data_than_every_tpm_takes_is_refused() -> None:
    commands.quote(1, bytes(50), codes.SHA256, [0])
    with pytest.raises(ValueError, match="at most 50"):
        commands.quote(1, bytes(51), codes.SHA256, [0])


def test_a_digest_of_another_bank_is_refused() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        commands.pcr_extend(0, codes.SHA256, bytes(20))
