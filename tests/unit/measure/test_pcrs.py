"""What is predicted is what a boot gave: OVMF 2022.11, QEMU 7.2, Linux 6.1 of Debian 12.

The values were read in the guest from the registers and the boot log.
"""

import hashlib

import pytest

from atoll.errors import InputError
from atoll.evidence.eventlog.pcr_log import PcrLog
from atoll.measure.pcrs import pcr9, replay
from support.boots import CMDLINE, DEBIAN_12, INITRD_DIGEST


def test_the_load_options_are_those_of_a_real_boot() -> None:
    options = (CMDLINE + " initrd=initrd\0").encode("utf-16-le")
    events = [event for event in PcrLog.from_bytes(DEBIAN_12.log).events if event.register == 9]

    assert [event.digest for event in events] == [hashlib.sha256(options).digest(), INITRD_DIGEST]


def test_a_real_log_replays_to_the_registers_of_its_boot() -> None:
    replayed = PcrLog.from_bytes(DEBIAN_12.log).replay()

    assert {number: replayed[number] for number in range(10)} == DEBIAN_12.registers
    assert PcrLog.from_bytes(DEBIAN_12.log).secure_boot() is False
    assert len(PcrLog.from_bytes(DEBIAN_12.log).applications()) == 1


def test_pcr_9_follows_from_command_line_and_initrd() -> None:
    options = ("a b initrd=initrd\0").encode("utf-16-le")
    expected = replay([hashlib.sha256(options).digest(), hashlib.sha256(b"initrd").digest()])

    assert pcr9("a b", b"initrd") == expected
    assert pcr9("a c", b"initrd") != expected
    assert pcr9("a b", b"Initrd") != expected


@pytest.mark.parametrize("cmdline", ["ä", "a\0b", "a" * 2049])
def test_a_command_line_that_no_kernel_takes_is_refused(cmdline: str) -> None:
    with pytest.raises(InputError) as caught:
        pcr9(cmdline, b"")

    assert caught.value.code == "measure.append"
