"""Classic BPF as seccomp runs it: instructions, and decision trees put together from them.

Sources: seccomp(2); Linux, include/uapi/linux/filter.h (`struct sock_filter`: code u16, jt u8,
jf u8, k u32), include/uapi/linux/seccomp.h (return values, `struct seccomp_data`: nr at 0, arch
at 4, arguments from 16 on, eight bytes each). Little-endian machines only: the low half of an
argument comes first.

A block is a list of instructions that ends in a return on every path, so blocks are joined by
placing one behind another; no label and no fix-up is needed.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

LOAD: Final = 0x20
"""BPF_LD | BPF_W | BPF_ABS."""
JUMP: Final = 0x05
EQUAL: Final = 0x15
AT_LEAST: Final = 0x35
ANY_BIT: Final = 0x45
RETURN: Final = 0x06
MAX_INSTRUCTIONS: Final = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
"""SECCOMP_RET_KILL_PROCESS: all threads, with SIGSYS."""
ERRNO: Final = 0x00050000

NUMBER: Final = 0
ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16
_FAR: Final = 255
"""What a conditional jump can pass over."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One `struct sock_filter`."""

    code: int
    k: int
    jt: int = 0
    jf: int = 0

    def to_bytes(self) -> bytes:
        return struct.pack("<HBBI", self.code, self.jt, self.jf, self.k)


Block: TypeAlias = tuple[Instruction, ...]


def returns(value: int) -> Block:
    """A block that decides `value`."""
    return (Instruction(RETURN, value),)


def refuses(number: int) -> int:
    """The decision: do not do it, and give the caller `errno` = `number`."""
    return ERRNO | number


def low_argument(index: int) -> Instruction:
    """Load the low 32 bits of an argument: all that the kernel reads of an int."""
    return Instruction(LOAD, _ARGUMENTS + 8 * index)


def high_argument(index: int) -> Instruction:
    """Load the high 32 bits of an argument."""
    return Instruction(LOAD, _ARGUMENTS + 8 * index + 4)


def choose(test: int, k: int, then: Block, otherwise: Block) -> Block:
    """`then` if the test of the accumulator against `k` holds, else `otherwise`."""
    if len(then) <= _FAR:
        return (Instruction(test, k, 0, len(then)), *then, *otherwise)
    far = Instruction(JUMP, len(then))
    return (Instruction(test, k, 1, 0), far, *then, *otherwise)


def one_of(values: Sequence[int], then: Block, otherwise: Block) -> Block:
    """`then` if the accumulator equals one of `values`."""
    block = otherwise
    for value in reversed(values):
        block = choose(EQUAL, value, then, block)
    return block


def search(cases: Sequence[tuple[int, Block]]) -> Block:
    """A binary search: the block of the last case whose number is not above the accumulator.

    `cases` are sorted by number and the first is 0, so that one always fits.
    """
    if len(cases) == 1:
        return cases[0][1]
    middle = len(cases) // 2
    return choose(AT_LEAST, cases[middle][0], search(cases[middle:]), search(cases[:middle]))


def assemble(block: Block) -> bytes:
    """The program's bytes.

    Raises:
        ValueError: it is longer than the kernel takes; a mistake in the policy.
    """
    if len(block) > MAX_INSTRUCTIONS:
        raise ValueError(f"{len(block)} instructions, want at most {MAX_INSTRUCTIONS}")
    return b"".join(instruction.to_bytes() for instruction in block)
