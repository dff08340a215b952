"""A TPM that is there: a device node or a socket, asked one command after the other.

Everything blocks; who runs an event loop calls it in a thread.
"""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from atoll.errors import EvidenceError, UnreachableError
from atoll.tpm import codes, commands, responses, templates
from atoll.tpm.commands import Command
from atoll.tpm.responses import Primary, SignedQuote

RESOURCE_MANAGER: Final = Path("/dev/tpmrm0")
"""The kernel's, which keeps several users apart and takes their keys away at the end."""
MAX_TRIES: Final = 20
"""How often a command is sent that the TPM answers with one of `codes.AGAIN`."""
TIMEOUT_S: Final = 30.0
"""For one answer on a socket; making a key takes a virtual TPM less than a second."""
ALL: Final = tuple(range(24))


class Transport(Protocol):
    """Carries one command and brings its response."""

    def exchange(self, command: bytes) -> bytes: ...

    def close(self) -> None: ...


class DeviceNode:
    """`/dev/tpmrm0`: a write is a command, a read its response.

    Raises:
        UnreachableError: `tpm.unreachable`: it cannot be opened.
    """

    def __init__(self, path: Path = RESOURCE_MANAGER) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _gone(str(path), error) from error

    def exchange(self, command: bytes) -> bytes:
        """Raises: UnreachableError `tpm.unreachable`."""
        try:
            os.write(self._file, command)
            return os.read(self._file, responses.MAX_RESPONSE)
        except OSError as error:
            raise _gone(str(self._path), error) from error

    def close(self) -> None:
        os.close(self._file)


class ConnectedSocket:
    """A stream to a TPM: one end of a pair whose other end `swtpm socket --fd` has."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(TIMEOUT_S)

    def exchange(self, command: bytes) -> bytes:
        """Raises: UnreachableError `tpm.unreachable`; MalformedEvidenceError."""
        try:
            self._socket.sendall(command)
            header = self._octets(responses.HEADER_SIZE)
            return header + self._octets(responses.size_of(header) - len(header))
        except OSError as error:
            raise _gone("the other end of a socket", error) from error

    def close(self) -> None:
        self._socket.close()

    def _octets(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            part = self._socket.recv(size - len(found))
            if not part:
                raise ConnectionResetError("closed in the middle of an answer")
            found += part
        return bytes(found)


class Tpm:
    """What is asked of a TPM. Closed at the end of a `with`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()

    def startup(self) -> None:
        """Start it, unless somebody did already. Raises: EvidenceError, UnreachableError."""
        command = commands.startup()
        raw = self._ask(command)
        # TPM_RC_INITIALIZE: it was started, which is what was wanted.
        if responses.response_code(raw) != 0x100:  # noqa: PLR2004
            responses.done(command, raw)

    def shutdown(self) -> None:
        """Tell it that its power goes. Raises: as `startup` does."""
        command = commands.shutdown()
        responses.done(command, self._ask(command))

    def attestation_key(self) -> Primary:
        """Make the attestation key, which is the same each time (`templates`).

        The caller flushes it. Raises: as `startup` does.
        """
        command = commands.create_primary(codes.ENDORSEMENT, templates.attestation_key())
        return responses.primary(command, self._ask(command))

    def flush(self, handle: int) -> None:
        """Forget a key. Raises: as `startup` does."""
        command = commands.flush_context(handle)
        responses.done(command, self._ask(command))

    def quote(self, key: int, qualifying: bytes, registers: Iterable[int]) -> SignedQuote:
        """Sign registers of the SHA-256 bank. Raises: as `startup` does."""
        command = commands.quote(key, qualifying, codes.SHA256, registers)
        return responses.quoted(command, self._ask(command))

    def read(self, registers: Iterable[int], bank: int = codes.SHA256) -> dict[int, bytes]:
        """The values of registers by number.

        Raises:
            EvidenceError: `tpm.registers`: it has not all of them; and as `startup` does.
        """
        wanted, found = set(registers), dict[int, bytes]()
        while missing := sorted(wanted - found.keys()):
            command = commands.pcr_read(bank, missing)
            values = responses.pcr_values(command, self._ask(command), bank)
            if not values.keys() & set(missing):
                raise EvidenceError(
                    f"the TPM has no PCR {missing[0]} in bank 0x{bank:04x}",
                    code="tpm.registers",
                    hint="the bank of SHA-256 must be active",
                )
            found |= {number: values[number] for number in values.keys() & wanted}
        return dict(sorted(found.items()))

    def extend(self, register: int, digest: bytes) -> None:
        """Extend a register of the SHA-256 bank. Raises: as `startup` does."""
        command = commands.pcr_extend(register, codes.SHA256, digest)
        responses.done(command, self._ask(command))

    def banks(self) -> Mapping[int, tuple[int, ...]]:
        """The registers of each bank. Raises: as `startup` does."""
        command = commands.get_pcr_banks()
        return responses.pcr_banks(command, self._ask(command))

    def keep_only_sha256(self) -> None:
        """From the next start on have no bank but SHA-256's, so that a log has one digest each.

        Raises:
            EvidenceError: `tpm.registers`: it refused; and as `startup` does.
        """
        wanted = [(bank, ALL if bank == codes.SHA256 else ()) for bank in sorted(self.banks())]
        command = commands.pcr_allocate(codes.PLATFORM, *wanted)
        if not responses.allocated(command, self._ask(command)):
            raise EvidenceError("the TPM keeps its banks of registers", code="tpm.registers")

    def _ask(self, command: Command) -> bytes:
        return exchange(self._transport.exchange, command)


def exchange(carry: Callable[[bytes], bytes], command: Command) -> bytes:
    """Send a command until it is answered with something else than "again".

    Raises:
        TpmError: `tpm.refused`: "again" for `MAX_TRIES` times.
        UnreachableError: `tpm.unreachable`.
        MalformedEvidenceError: no response.
    """
    for _ in range(MAX_TRIES):
        raw = carry(command.raw)
        code = responses.response_code(raw)
        if code not in codes.AGAIN:
            return raw
    raise codes.TpmError(command.name, code)


def _gone(where: str, error: OSError) -> UnreachableError:
    return UnreachableError(
        f"no TPM at {where}: {error.strerror or error}",
        code="tpm.unreachable",
        hint="the guest needs a TPM 2.0, and its kernel the driver",
    )
