"""Modules come after what they depend on, from what they say themselves."""

import lzma
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image.kernel import depends, read_kernel
from atoll_cli.image.tree import Entry, File
from support.debs import module

FOLDER = "usr/lib/modules/6.12-test"


def package(modules: dict[str, str], *, builtin: str = "") -> dict[str, Entry]:
    files: dict[str, Entry] = {
        "boot/vmlinuz-6.12-test": File(b"kernel"),
        f"{FOLDER}/modules.builtin": File(builtin.encode()),
    }
    for name, needs in modules.items():
        files[f"{FOLDER}/kernel/{name}.ko.xz"] = File(lzma.compress(module(needs)))
    return files


def names(files: dict[str, Entry], *wanted: str) -> list[str]:
    kernel = read_kernel(files, wanted=wanted)
    assert kernel.order.decode() == "".join(f"/{path}\n" for path in kernel.modules)
    return [path.rpartition("/")[2] for path in kernel.modules]


def test_the_order_is_one_in_which_they_can_be_loaded() -> None:
    files = package(
        {"top": "left,right", "left": "base", "right": "base-x", "base": "", "base_x": ""}
    )

    assert names(files, "top", "base") == [
        "base.ko", "left.ko", "base_x.ko", "right.ko", "top.ko",
    ]  # fmt: skip


def test_what_is_built_in_needs_no_file() -> None:
    files = package({"a": "b"}, builtin="kernel/drivers/b.ko\n")

    assert names(files, "a", "b") == ["a.ko"]


def test_the_layout_of_linux_7_is_known() -> None:
    files = package({"a": ""})
    files[f"{FOLDER}/vmlinuz"] = files.pop("boot/vmlinuz-6.12-test")
    kernel = read_kernel(files, wanted=("a",))

    assert (kernel.release, kernel.image) == ("6.12-test", b"kernel")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "image.kernel"),
        ({"boot/vmlinuz-1": File(b""), "boot/vmlinuz-2": File(b"")}, "image.kernel"),
        ({"boot/vmlinuz-1": File(b"")}, "image.kernel"),
        (package({}), "image.kernel"),
        (package({"a": "missing"}), "image.kernel"),
        (package({"a": "b", "b": "a"}), "image.kernel"),
        ({**package({}), f"{FOLDER}/kernel/a.ko.xz": File(b"no")}, "image.xz"),
        ({**package({}), f"{FOLDER}/kernel/a.ko.xz": File(lzma.compress(b"no"))}, "image.module"),
    ],
    ids=["none", "two", "no-builtin", "absent", "dangling", "circle", "no-xz", "no-elf"],
)
def test_what_cannot_be_loaded_is_refused(files: dict[str, Entry], code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_kernel(files, wanted=("a",))
    assert caught.value.code == code


def test_a_module_without_modinfo_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        depends(module("", section=b".nothing"))
    assert caught.value.code == "image.module"


@given(st.integers(0, 400), st.integers(0, 255), st.binary(max_size=200))
def test_whatever_a_module_is_it_is_read_or_refused(at: int, byte: int, raw: bytes) -> None:
    whole = module("a,b-c")
    for damaged in (raw, b"\x7fELF\x02\x01" + raw, whole[:at] + bytes([byte]) + whole[at + 1 :]):
        try:
            depends(damaged)
        except InputError as error:
            assert error.code == "image.module"  # noqa: PT017 - either is right


@given(st.permutations(["a", "b", "c", "d"]))
def test_a_chain_is_loaded_from_its_end(wanted: list[str]) -> None:
    chain = ["a", "b", "c", "d"]
    files = package({"d": "", **dict(pairwise(chain))})

    assert names(files, *wanted) == ["d.ko", "c.ko", "b.ko", "a.ko"]
