"""Boot logs of TPMs: what they replay to, and what they are believed to say."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.eventlog.pcr_log import MAX_LOG, PcrLog
from support import ccel, vtpm
from support.vtpm import KERNEL, SECURE_BOOT, boot_log, event

FIRST = ccel.first(ccel.SHA256)
LOCALITY = b"StartupLocality\x00"
CONFIG = 0x80000001


def extended(start: bytes, *digests: bytes) -> bytes:
    value = start
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


def test_registers_are_what_the_events_extend() -> None:
    found = PcrLog.from_bytes(boot_log()).replay()

    assert found[9] == extended(
        bytes(32), hashlib.sha256(b"load options").digest(), hashlib.sha256(b"initrd").digest()
    )
    assert found[4] == extended(bytes(32), KERNEL)
    assert found[15] == bytes(32)
    assert len(found) == 16


def test_an_event_without_action_extends_nothing() -> None:
    log = PcrLog.from_bytes(FIRST + event(3, b"x", kind=3))

    assert log.replay()[3] == bytes(32)


@pytest.mark.parametrize("locality", [0, 3, 4])
def test_pcr_0_starts_with_the_locality(locality: int) -> None:
    log = PcrLog.from_bytes(
        FIRST + event(0, LOCALITY + bytes((locality,)), kind=3, digest=bytes(32)) + event(0, b"fw")
    )

    start = bytes(31) + bytes((locality,))
    assert log.replay()[0] == extended(start, hashlib.sha256(b"fw").digest())


@pytest.mark.parametrize(
    "events",
    [
        event(0, LOCALITY + b"\x01", kind=3),
        event(0, LOCALITY, kind=3),
        event(0, LOCALITY + b"\x03\x03", kind=3),
        event(0, b"fw") + event(0, LOCALITY + b"\x03", kind=3),
    ],
)
def test_a_locality_that_cannot_be_is_refused(events: bytes) -> None:
    with pytest.raises(MalformedEvidenceError, match="locality"):
        PcrLog.from_bytes(FIRST + events)


def test_other_words_without_action_say_no_locality() -> None:
    log = PcrLog.from_bytes(FIRST + event(0, b"other", kind=3) + event(1, LOCALITY + b"\x09", 3))

    assert log.locality == 0


def test_a_register_of_a_dynamic_start_is_refused() -> None:
    with pytest.raises(MalformedEvidenceError, match="PCR 16"):
        PcrLog.from_bytes(FIRST + event(16, b"x"))


def test_a_log_without_sha256_is_unsupported() -> None:
    with pytest.raises(UnsupportedEvidenceError, match="has no SHA-256 digests"):
        PcrLog.from_bytes(ccel.first(ccel.SHA384))


def test_padding_is_no_part_of_it() -> None:
    with pytest.raises(MalformedEvidenceError):
        PcrLog.from_bytes(boot_log() + b"\xff" * 64)


def test_a_log_over_the_limit_is_refused() -> None:
    with pytest.raises(MalformedEvidenceError, match=f"at most {MAX_LOG}"):
        PcrLog.from_bytes(bytes(MAX_LOG + 1))


def test_images_that_were_started_are_those_of_pcr_4() -> None:
    log = PcrLog.from_bytes(boot_log(event(2, b"driver", 0x80000003), event(4, b"x", 0x80000007)))

    assert log.applications() == (KERNEL,)


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (b"", None),
        (event(7, SECURE_BOOT + b"\x01", CONFIG), True),
        (event(7, SECURE_BOOT + b"\x00", CONFIG), False),
        (event(7, SECURE_BOOT + b"\x01", CONFIG) + event(7, SECURE_BOOT + b"\x00", CONFIG), False),
        (event(7, SECURE_BOOT + b"\x01", CONFIG, bytes(32)), None),
        (event(1, SECURE_BOOT + b"\x01", CONFIG), None),
        (event(7, SECURE_BOOT + b"\x01", 0x0D), None),
        (event(7, b"\0" * 24 + SECURE_BOOT[24:] + b"\x01", CONFIG), None),
        (event(7, SECURE_BOOT[:-2] + b"x\0\x01", CONFIG), None),
        (event(7, SECURE_BOOT + b"\x01\x01", CONFIG), False),
        (
            event(7, SECURE_BOOT[:24] + struct.pack("<Q", 2) + SECURE_BOOT[32:] + b"\x01", CONFIG),
            False,
        ),
    ],
)
def test_secure_boot_is_what_a_proven_event_says(*, events: bytes, found: bool | None) -> None:
    assert PcrLog.from_bytes(FIRST + events).secure_boot() is found


def test_a_log_of_several_banks_is_read_for_one() -> None:
    digests = {ccel.SHA1: bytes(20), ccel.SHA256: KERNEL}
    log = PcrLog.from_bytes(
        ccel.first(ccel.SHA1, ccel.SHA256) + ccel.event(4, b"", digests=digests)
    )

    assert log.events[0].digest == KERNEL


@given(raw=st.binary(max_size=300), cut=st.integers(0, 300))
def test_any_bytes_are_a_log_or_the_documented_error(raw: bytes, cut: int) -> None:
    whole = boot_log()
    for one in (raw, whole[:cut] + raw, FIRST + raw):
        try:
            found = PcrLog.from_bytes(one)
        except EvidenceError:
            continue
        found.replay()
        found.applications()
        found.secure_boot()


def test_the_helper_of_tests_replays_alike() -> None:
    found = PcrLog.from_bytes(boot_log()).replay()

    assert {number: found[number] for number in vtpm.replayed(boot_log())} == vtpm.replayed(
        boot_log()
    )
