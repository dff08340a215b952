"""What the image takes of packages is named; a shell is not."""

import pytest

from atoll_cli.image.contents import is_taken


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/python3.13",
        "usr/bin/bwrap",
        "usr/lib64/ld-linux-x86-64.so.2",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.33",
        "usr/lib/python3.13/asyncio/base_events.py",
        "usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so",
    ],
)
def test_taken(path: str) -> None:
    assert is_taken(path)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/sh",
        "usr/bin/busybox",
        "usr/bin/ldd",
        "usr/bin/python3.13-config",
        "usr/sbin/ldconfig",
        "etc/python3.13/sitecustomize.py",
        "usr/share/doc/libc6/copyright",
        "usr/lib/x86_64-linux-gnu/gconv/UTF-7.so",
        "usr/lib/x86_64-linux-gnu/libmemusage.so",
        "usr/lib/python3.13/test/support/__init__.py",
        "usr/lib/python3.13/sitecustomize.py",
        "usr/lib/python3.13/lib-dynload/_sqlite3.cpython-313-x86_64-linux-gnu.so",
    ],
)
def test_left_out(path: str) -> None:
    assert not is_taken(path)
