"""The launch digest, the agent's image, and what an installation is measured as."""

import hashlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import ConfigError, InputError
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import DISTRIBUTIONS, installed_agent_files, installed_agent_state
from atoll.measure.snp import INITIAL, PageType, extend, launch_digest, measure_image

PAGE = b"\xab" * 4096


def test_page_info_is_laid_out_as_the_specification_prints_it() -> None:
    info = bytearray(0x70)
    info[0x00:0x30] = b"\x01" * 48
    info[0x30:0x60] = hashlib.sha384(PAGE).digest()
    info[0x60:0x62] = b"\x70\x00"
    info[0x62] = 1
    info[0x68:0x70] = (0xFFC00000).to_bytes(8, "little")
    expected = hashlib.sha384(info).digest()
    assert extend(b"\x01" * 48, PageType.NORMAL, 0xFFC00000, PAGE) == expected


@pytest.mark.parametrize("kind", [PageType.ZERO, PageType.SECRETS, PageType.CPUID])
def test_pages_that_firmware_fills_count_by_type_and_place(kind: PageType) -> None:
    info = bytes(96) + b"\x70\x00" + bytes((kind,)) + bytes(5) + (0x1000).to_bytes(8, "little")
    assert extend(INITIAL, kind, 0x1000) == hashlib.sha384(info).digest()


@pytest.mark.parametrize(
    ("digest", "kind", "gpa", "page"),
    [
        (bytes(47), PageType.NORMAL, 0, PAGE),
        (INITIAL, PageType.NORMAL, 1, PAGE),
        (INITIAL, PageType.NORMAL, 1 << 64, PAGE),
        (INITIAL, PageType.NORMAL, 0, None),
        (INITIAL, PageType.NORMAL, 0, PAGE[1:]),
        (INITIAL, PageType.ZERO, 0, PAGE),
    ],
)
def test_refuses_pages_that_no_hypervisor_could_add(
    digest: bytes, kind: PageType, gpa: int, page: bytes | None
) -> None:
    with pytest.raises(ValueError, match=r"page|digest"):
        extend(digest, kind, gpa, page)


def test_order_place_and_content_of_pages_all_count() -> None:
    first, second = (PageType.NORMAL, 0, PAGE), (PageType.NORMAL, 4096, bytes(4096))
    digests = {
        launch_digest([first, second]),
        launch_digest([second, first]),
        launch_digest([first]),
        launch_digest([(PageType.NORMAL, 4096, PAGE), (PageType.NORMAL, 0, bytes(4096))]),
        launch_digest([first, (PageType.VMSA, 4096, bytes(4096))]),
    }
    assert len(digests) == 5


def test_an_image_is_its_pages_in_order() -> None:
    pages = [(PageType.NORMAL, 0, PAGE), (PageType.NORMAL, 4096, b"x" + bytes(4095))]
    assert measure_image(PAGE + b"x") == launch_digest(pages)


def test_an_image_does_not_depend_on_the_order_of_files() -> None:
    files = [("a/x.py", b"1"), ("a/y.py", b"2"), ("b.py", b"")]
    assert agent_image(files) == agent_image(reversed(files))
    assert len(agent_measurement(agent_image(files))) == 48


def test_moving_a_byte_between_name_and_content_changes_the_image() -> None:
    assert agent_image([("ab", b"c")]) != agent_image([("a", b"bc")])


@pytest.mark.parametrize(
    "files",
    [
        [],
        [("a", b""), ("a", b"")],
        [("", b"")],
        [("/a", b"")],
        [("a/../b", b"")],
        [("./a", b"")],
        [("ä", b"")],
        [(str(number), b"") for number in range(4097)],
        [("a", bytes((64 << 20) + 1))],
    ],
)
def test_refuses_an_image_of_odd_files(files: list[tuple[str, bytes]]) -> None:
    with pytest.raises(InputError) as caught:
        agent_image(files)
    assert caught.value.code == "measure.image"


FILES = st.dictionaries(st.text("ab.", min_size=1, max_size=4), st.binary(max_size=8), min_size=1)


@given(FILES, FILES)
@settings(max_examples=150)
def test_different_files_give_different_images(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    try:
        images = [agent_image(files.items()) for files in (one, other)]
    except InputError:
        return
    assert (images[0] == images[1]) == (one == other)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the installed agent's package."""
    import atoll_agent

    shutil.copytree(
        Path(str(atoll_agent.__file__)).parent,
        tmp_path / "atoll_agent",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path / "atoll_agent"


def _measure(root: Path) -> bytes:
    files = installed_agent_files({"atoll_agent": root}, distributions=())
    return agent_measurement(agent_image(files))


def test_the_same_tree_measures_the_same_and_caches_do_not_count(tree: Path) -> None:
    before = _measure(tree)
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"cache")
    assert _measure(tree) == before


def test_one_changed_byte_of_any_file_changes_the_measurement(tree: Path) -> None:
    before = _measure(tree)
    for path in sorted(tree.rglob("*.py")):
        original = path.read_bytes()
        path.write_bytes(bytes([original[0] ^ 1]) + original[1:] if original else b"#")
        assert _measure(tree) != before
        path.write_bytes(original)
    assert _measure(tree) == before


def test_an_added_removed_or_renamed_file_changes_the_measurement(tree: Path) -> None:
    before = _measure(tree)
    (tree / "extra.py").write_bytes(b"")
    added = _measure(tree)
    (tree / "extra.py").rename(tree / "other.py")
    assert len({before, added, _measure(tree)}) == 3


def test_the_installation_is_measured_with_its_dependencies() -> None:
    files = dict(installed_agent_files())
    assert {"atoll/__init__.py", "atoll/evidence/snp.py", "atoll_agent/__init__.py"} <= set(files)
    for name in DISTRIBUTIONS:
        text = files[f"distributions/{name}"].decode()
        assert text.startswith(f"{name}==")
        assert "sha256=" in text
        assert "__pycache__" not in text
        assert "../" not in text
    assert not any(path.endswith(".pyc") for path in files)
    assert agent_image(files.items()) == agent_image(installed_agent_files())


def test_says_what_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no files"):
        installed_agent_files({"atoll_agent": tmp_path}, distributions=())
    with pytest.raises(ConfigError, match="no-such-thing"):
        installed_agent_files({}, distributions=("no-such-thing",))


def test_the_state_of_installed_files_changes_with_each_of_them(tmp_path: Path) -> None:
    roots = {"atoll": tmp_path}
    (tmp_path / "one.py").write_text("one")
    (tmp_path / "notes.txt").write_text("not measured")
    states = [installed_agent_state(roots)]
    assert installed_agent_state(roots) == states[0]
    (tmp_path / "notes.txt").write_text("still not")
    assert installed_agent_state(roots) == states[0]
    (tmp_path / "one.py").write_text("longer")
    states.append(installed_agent_state(roots))
    (tmp_path / "two.py").write_text("two")
    states.append(installed_agent_state(roots))
    (tmp_path / "new").write_text("longer")
    (tmp_path / "new").replace(tmp_path / "one.py")
    states.append(installed_agent_state(roots))
    assert len(set(states)) == 4
