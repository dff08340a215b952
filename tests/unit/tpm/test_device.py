"""A TPM is asked again as often as it says, and no more; what it lacks is said."""

import socket
import struct
import threading
from pathlib import Path

import pytest

from atoll.errors import EvidenceError, UnreachableError
from atoll.tpm import codes, commands
from atoll.tpm.codes import TpmError
from atoll.tpm.device import MAX_TRIES, ConnectedSocket, DeviceNode, Tpm, exchange

DONE = struct.pack(">HII", codes.NO_SESSIONS, 10, 0)


def refusal(code: int) -> bytes:
    return struct.pack(">HII", codes.NO_SESSIONS, 10, code)


class Scripted:
    """Answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.closed = False

    def exchange(self, command: bytes) -> bytes:
        self.asked.append(command)
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("code", sorted(codes.AGAIN))
def test_a_command_is_sent_again_when_the_tpm_says_so(code: int) -> None:
    script = Scripted(refusal(code), refusal(code), DONE)

    with Tpm(script) as tpm:
        tpm.shutdown()

    assert script.asked == [commands.shutdown().raw] * 3
    assert script.closed


def test_it_is_not_sent_for_ever() -> None:
    script = Scripted(*[refusal(codes.RETRY)] * (MAX_TRIES + 1))

    with pytest.raises(TpmError) as caught:
        exchange(script.exchange, commands.shutdown())

    assert len(script.asked) == MAX_TRIES
    assert caught.value.response == codes.RETRY


def test_a_tpm_that_was_started_is_started() -> None:
    Tpm(Scripted(refusal(0x100))).startup()
    with pytest.raises(TpmError):
        Tpm(Scripted(refusal(0x101))).startup()


def test_registers_that_a_bank_lacks_are_named() -> None:
    nothing = struct.pack(">II", 1, 0) + struct.pack(">I", 0)
    script = Scripted(struct.pack(">HII", codes.NO_SESSIONS, 10 + len(nothing), 0) + nothing)

    with pytest.raises(EvidenceError) as caught:
        Tpm(script).read([3, 4])

    assert caught.value.code == "tpm.registers"
    assert "PCR 3" in caught.value.message


def test_a_node_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        DeviceNode(tmp_path / "tpmrm0")

    assert caught.value.code == "tpm.unreachable"


def test_a_node_is_written_and_read(tmp_path: Path) -> None:
    node = tmp_path / "tpmrm0"
    node.write_bytes(bytes(12) + DONE)

    device = DeviceNode(node)

    assert device.exchange(commands.startup().raw) == DONE
    device.close()
    assert node.read_bytes()[:12] == commands.startup().raw


def test_a_stream_that_ends_in_an_answer_is_unreachable() -> None:
    ours, its = socket.socketpair()
    with its:
        its.sendall(DONE[:4])
        its.shutdown(socket.SHUT_WR)
        device = ConnectedSocket(ours)
        with pytest.raises(UnreachableError):
            device.exchange(b"command")
    device.close()


def test_an_answer_may_come_in_parts() -> None:
    ours, its = socket.socketpair()

    def answer() -> None:
        assert its.recv(64)
        for part in (DONE[:3], DONE[3:]):
            its.sendall(part)

    thread = threading.Thread(target=answer)
    thread.start()
    device = ConnectedSocket(ours)
    assert device.exchange(b"command") == DONE
    thread.join()
    its.close()
    device.close()
