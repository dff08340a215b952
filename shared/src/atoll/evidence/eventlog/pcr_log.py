"""The boot log of a TPM, as the kernel gives it out: a crypto-agile log (`tcg`) of its registers.

Linux: `/sys/kernel/security/tpm0/binary_bios_measurements`, in which the events that came after
the firmware had handed over its log are already appended. What is read is SHA-256.

A log has registers 0 to 15 of the static boot, which start as zeros. PCR 0 starts with the
locality of TPM2_Startup in its last byte, if an event of type EV_NO_ACTION says so:
`StartupLocality`, NUL, u8 (PC Client Platform Firmware Profile 1.06, section 10.4.5.3).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from atoll.evidence._cursor import Cursor
from atoll.evidence.eventlog import tcg
from atoll.evidence.eventlog.tcg import SHA256, Event

MAX_LOG: Final = 64 << 10
COUNT: Final = 16
DIGEST_SIZE: Final = 32
BOOT_APPLICATION: Final = 0x80000003
"""EV_EFI_BOOT_SERVICES_APPLICATION: in PCR 4, an image that was started; its digest is the
Authenticode hash of the image (section 10.4.1)."""
DRIVER_CONFIG: Final = 0x80000001
"""EV_EFI_VARIABLE_DRIVER_CONFIG: in PCR 7, a variable of Secure Boot."""

_LOCALITY: Final = b"StartupLocality\x00"
_LOCALITIES: Final = frozenset({0, 3, 4})
_BOOT_REGISTER: Final = 4
_SECURE_BOOT_REGISTER: Final = 7
_GLOBAL_VARIABLE: Final = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
"""EFI_GLOBAL_VARIABLE (UEFI 2.10, section 3.3)."""
_SECURE_BOOT: Final = "SecureBoot".encode("utf-16-le")
_VARIABLE_NAME: Final = _GLOBAL_VARIABLE + (10).to_bytes(8, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrLog:
    """A parsed log, in order."""

    events: tuple[Event, ...]
    locality: int
    """What PCR 0 starts with."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one log.

        Does not check: anything else about what events mean, nor whether it replays.

        Raises:
            MalformedEvidenceError: as `tcg.parse` does; a register over 15; a locality that is
                none of 0, 3 and 4, or stands after PCR 0 was extended.
            UnsupportedEvidenceError: no SHA-256, or an algorithm not known here.
        """
        events = tcg.parse(raw, _KIND)
        return cls(events=events, locality=_locality(events))

    def replay(self) -> Mapping[int, bytes]:
        """The registers 0 to 15 as the log explains them."""
        values = dict.fromkeys(range(COUNT), bytes(DIGEST_SIZE))
        values[0] = self.locality.to_bytes(DIGEST_SIZE, "big")
        for event in self.events:
            if event.extends:
                extended = values[event.register] + event.digest
                values[event.register] = hashlib.sha256(extended).digest()
        return values

    def applications(self) -> tuple[bytes, ...]:
        """Authenticode SHA-256 of every image that the firmware started, in order."""
        return tuple(
            event.digest
            for event in self.events
            if event.register == _BOOT_REGISTER and event.type == BOOT_APPLICATION
        )

    def secure_boot(self) -> bool | None:
        """Whether Secure Boot was on when the machine started; None: no event proves it.

        Said more than once it counts as off, unless every one says on.
        """
        found = list(self._secure_boot())
        return all(found) if found else None

    def _secure_boot(self) -> Iterator[bool]:
        for event in self.events:
            if (event.register, event.type) != (_SECURE_BOOT_REGISTER, DRIVER_CONFIG):
                continue
            # UEFI_VARIABLE_DATA: GUID, u64 characters of the name, u64 size, name, value.
            data = event.proven_data
            if data is None or data[:24] != _VARIABLE_NAME or data[32:52] != _SECURE_BOOT:
                continue
            yield data[24:32] == (1).to_bytes(8, "little") and data[52:] == b"\x01"


def _locality(events: tuple[Event, ...]) -> int:
    found, extended = 0, False
    for event in events:
        if event.register != 0:
            continue
        if event.extends:
            extended = True
        elif event.data.startswith(_LOCALITY):
            value = event.data[len(_LOCALITY) :]
            if extended or len(value) != 1 or value[0] not in _LOCALITIES:
                cursor = Cursor(event.data, structure=f"{_KIND.structure} locality")
                raise cursor.fail("is none of 0, 3 and 4, or comes too late")
            found = value[0]
    return found


def _check(cursor: Cursor, register: int, kind: int) -> None:
    del kind
    if register >= COUNT:
        raise cursor.fail(f"has an event for PCR {register}, want 0 to {COUNT - 1}")


_KIND: Final = tcg.Kind(structure="TPM log", algorithm=SHA256, limit=MAX_LOG, check=_check)
