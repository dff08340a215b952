"""What machines of each kind measure when they boot an image, and what that depends on."""

import hashlib
from dataclasses import replace

import pytest

from atoll.errors import InputError
from atoll.evidence.eventlog.pcr_log import PcrLog
from atoll.measure import rtmrs
from atoll.measure.authenticode import authenticode
from atoll.measure.kernel_handover import kernel_digests
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.pcrs import pcr9
from atoll.measure.reference import MEMORY, Boot, snp_measurements, tdx_fields, vtpm_fields
from atoll.measure.snp_launch import Processors, launch_digest
from atoll.measure.tdvf import Tdvf
from support import ovmf
from support.boots import DEBIAN_12
from unit.measure.test_kernel_handover import image

BOOT = Boot(kernel=image(), initrd=b"root" * 1000, cmdline="console=ttyS0 quiet")
TD = Tdvf.from_bytes(ovmf.td_image())
SNP = Firmware.from_bytes(ovmf.image())
GIB = 1 << 30


def test_a_tpm_has_command_line_initrd_and_kernel() -> None:
    fields = vtpm_fields(BOOT)
    assert fields["pcr9s"] == {pcr9(BOOT.cmdline, BOOT.initrd)}
    (launch,) = BOOT.launches([MEMORY])
    assert fields["kernel_digests"] == set(kernel_digests(BOOT.kernel, launch).values())


def test_a_kernel_is_another_on_small_machines_only() -> None:
    at_least = vtpm_fields(BOOT)["kernel_digests"]
    for memory in (2 * GIB, 2816 << 20, 4 * GIB, 64 * GIB):
        assert vtpm_fields(BOOT, [memory])["kernel_digests"] == at_least
    small = vtpm_fields(BOOT, [GIB])["kernel_digests"]
    assert small != at_least
    assert vtpm_fields(BOOT, [GIB, MEMORY])["kernel_digests"] == small | at_least


def test_a_td_has_what_a_tpm_has_in_other_registers() -> None:
    fields = tdx_fields(BOOT, TD)
    assert fields["mr_tds"] == {TD.mr_td()}
    assert fields["rtmr3s"] == {bytes(48)}
    # Each event once more, from a log that has the same with SHA-256.
    log = [event for event in PcrLog.from_bytes(DEBIAN_12.log).events if event.register in {4, 5}]
    after = [event.digest for event in log[1:]]
    assert after == [
        hashlib.sha256(said).digest()
        for said in (*rtmrs.EVENTS[:2], rtmrs.EVENTS[1], *rtmrs.EVENTS[2:])
    ], "a TPM has a separator in each of PCR 4 and 5, RTMR 1 one for both"
    value = bytes(48)
    for part in (authenticode(BOOT.kernel, "sha384"), *map(_sha384, rtmrs.EVENTS)):
        value = _sha384(value + part)
    assert value in fields["rtmr1s"]
    assert len(fields["rtmr1s"]) == 2
    value = bytes(48)
    for said in ((BOOT.cmdline + " initrd=initrd\0").encode("utf-16-le"), BOOT.initrd):
        value = _sha384(value + _sha384(said))
    assert fields["rtmr2s"] == {value}


def _sha384(raw: bytes) -> bytes:
    return hashlib.sha384(raw).digest()


def test_each_set_of_processors_is_a_measurement_of_its_own() -> None:
    machines = [Processors(count=count, signature=0xA00F11) for count in (1, 2, 4)]
    hashes = KernelHashes.of(BOOT.kernel, initrd=BOOT.initrd, append=BOOT.cmdline)
    assert snp_measurements(BOOT, SNP, machines) == {
        launch_digest(SNP, one, kernel=hashes) for one in machines
    }
    assert len(snp_measurements(BOOT, SNP, machines)) == 3


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        (replace(BOOT, initrd=BOOT.initrd[:-1] + b"x"), {"pcr9s", "rtmr2s"}),
        (replace(BOOT, cmdline=BOOT.cmdline + "x"), {"pcr9s", "rtmr2s"}),
        (replace(BOOT, kernel=image(flags=0x3F)), {"kernel_digests", "rtmr1s"}),
    ],
)
def test_one_byte_is_another_image(changed: Boot, fields: set[str]) -> None:
    def every(boot: Boot) -> dict[str, frozenset[bytes]]:
        return vtpm_fields(boot) | tdx_fields(boot, TD)

    before, after = every(BOOT), every(changed)
    assert {name for name in before if before[name].isdisjoint(after[name])} == fields
    one = [Processors(count=1, signature=0xA00F11)]
    assert snp_measurements(BOOT, SNP, one).isdisjoint(snp_measurements(changed, SNP, one))


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        tdx_fields(replace(BOOT, kernel=b"none"), TD)
    assert caught.value.code == "measure.kernel"
