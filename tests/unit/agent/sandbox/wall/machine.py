"""Runs a seccomp program as the kernel would: an interpreter of classic BPF, for tests."""

import struct
from collections.abc import Sequence


def decide(program: bytes, *, number: int, arch: int, args: Sequence[int] = ()) -> int:
    """The program's decision for one system call."""
    values = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<IIQ6Q", number, arch, 0x7FFF_0000_1000, *values)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    for _ in range(len(code)):
        operation, jt, jf, k = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x05:
                at += k
            case 0x15:
                at += jt if accumulator == k else jf
            case 0x35:
                at += jt if accumulator >= k else jf
            case 0x45:
                at += jt if accumulator & k else jf
            case 0x06:
                return int(k)
            case other:
                raise AssertionError(f"instruction {at} has code {other:#x}")
    raise AssertionError("the program does not end")
