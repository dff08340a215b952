"""A lock pins exact versions with hashes, or it is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.bundle.lock import MAX_LOCK, normal_name, parse_lock

HASH, OTHER = "a" * 64, "b" * 64


def test_reads_what_pip_writes() -> None:
    text = f"""# made by a tool
numpy==1.26.4 \\
    --hash=sha256:{HASH} \\
    --hash=sha256:{OTHER}
Typing_Extensions==4.0 ; python_version < "3.11" --hash=sha256:{HASH}  # via x
scikit-learn[all]==1.5+cpu --hash=sha256:{HASH}
"""
    found = parse_lock(text.encode())
    assert list(found) == ["numpy", "typing-extensions", "scikit-learn"]
    assert found["numpy"].hashes == {HASH, OTHER}
    assert found["numpy"].needed
    assert not found["typing-extensions"].needed
    assert found["scikit-learn"].version == "1.5+cpu"


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy==1.0",
        f"numpy>=1.0 --hash=sha256:{HASH}",
        "numpy==1.0 --hash=md5:00",
        f"numpy==1.0 --hash=sha256:{HASH[1:]}",
        f"numpy==1.0 --hash=sha256:{HASH.upper()}",
        "-r other.txt",
        "--index-url https://example.org",
        f"numpy @ https://example.org/x.whl --hash=sha256:{HASH}",
        f"../x==1.0 --hash=sha256:{HASH}",
        "n\u00fcmpy==1.0",
    ],
)
def test_refuses(line: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_lock(line.encode())
    assert caught.value.code == "bundle.lock"


def test_refuses_a_name_twice_however_it_is_written() -> None:
    line = f"==1.0 --hash=sha256:{HASH}\n"
    with pytest.raises(InputError, match="twice"):
        parse_lock(f"a.b{line}A_b{line}".encode())


def test_refuses_a_lock_without_end() -> None:
    with pytest.raises(InputError):
        parse_lock(b"#" * (MAX_LOCK + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_lock_or_the_one_error(raw: bytes) -> None:
    try:
        found = parse_lock(raw)
    except InputError:
        return  # which has but one code
    assert all(name == normal_name(name) and pin.hashes for name, pin in found.items())
