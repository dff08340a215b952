"""ELF headers from hostile hands."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.wall.elf import MAX_PROGRAM_HEADERS, parse_program

CODES = {"workload.not_elf", "workload.wrong_architecture"}


def elf(
    *, kind: int = 3, machine: int = 62, loader: bytes | None = b"/lib/ld.so\0", cls: int = 2
) -> bytes:
    count = 1 if loader is None else 2
    start = 64 + 56 * count
    head = b"\x7fELF" + bytes([cls, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, 0)
    if loader is None:
        return head + load
    size = len(loader)
    return head + load + struct.pack("<IIQQQQQQ", 3, 4, start, 0, 0, size, size, 1) + loader


def code_of(raw: bytes, machine: int = 62) -> str:
    with pytest.raises(InputError) as caught:
        parse_program(raw, machine=machine)
    return caught.value.code


def refused_as(raw: bytes) -> str | None:
    try:
        parse_program(raw, machine=62)
    except InputError as error:
        return error.code
    return None


def test_a_static_and_a_dynamic_program_are_told_apart() -> None:
    assert parse_program(elf(loader=None, kind=2), machine=62).loader is None
    assert parse_program(elf(), machine=62).loader == "/lib/ld.so"
    assert parse_program(elf(machine=183), machine=183).machine == 183


@pytest.mark.parametrize("raw", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\0asm\1\0\0\0", b"MZ" * 40])
def test_what_is_no_elf_is_refused(raw: bytes) -> None:
    assert code_of(raw) == "workload.not_elf"


def test_programs_for_other_machines_are_refused() -> None:
    assert code_of(elf(machine=183)) == "workload.wrong_architecture"
    assert code_of(elf(cls=1)) == "workload.wrong_architecture"
    big_endian = bytearray(elf())
    big_endian[5] = 2
    assert code_of(bytes(big_endian)) == "workload.wrong_architecture"


@pytest.mark.parametrize("kind", [0, 1, 4, 0xFE00])
def test_objects_and_cores_are_no_programs(kind: int) -> None:
    assert code_of(elf(kind=kind)) == "workload.not_elf"


@pytest.mark.parametrize("loader", [b"", b"\0", b"/", b"relative\0", b"/a\nb\0", b"/" + b"x" * 300])
def test_loaders_without_a_legal_path_are_refused(loader: bytes) -> None:
    assert code_of(elf(loader=loader)) == "workload.not_elf"


def test_every_truncation_is_refused() -> None:
    raw = elf()
    assert {code_of(raw[:size]) for size in range(len(raw))} == {"workload.not_elf"}


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [(56, "<H", 0), (56, "<H", MAX_PROGRAM_HEADERS + 1), (54, "<H", 55), (32, "<Q", 1 << 63),
     (32, "<Q", 65_537), (20, "<I", 2)],
)  # fmt: skip
def test_tables_outside_of_the_limits_are_refused(at: int, form: str, value: int) -> None:
    raw = bytearray(elf())
    struct.pack_into(form, raw, at, value)
    assert code_of(bytes(raw)) == "workload.not_elf"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.builds(lambda tail: elf()[:20] + tail, st.binary())))
def test_arbitrary_bytes_are_a_program_or_one_of_the_two_errors(raw: bytes) -> None:
    assert refused_as(raw) in {None, *CODES}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(elf()) * 8 - 1))
def test_a_flipped_bit_is_a_program_or_one_of_the_two_errors(bit: int) -> None:
    raw = bytearray(elf())
    raw[bit // 8] ^= 1 << bit % 8
    assert refused_as(bytes(raw)) in {None, *CODES}
