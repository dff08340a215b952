"""The list of what is inside says what packages say of themselves, and no more."""

import json

from hypothesis import given
from hypothesis import strategies as st

from atoll_cli.image.deb import Package
from atoll_cli.image.locks import LockedDeb, LockedWheel
from atoll_cli.image.sbom import copyright_licences, of_deb, of_wheel, own, sbom
from atoll_cli.image.tree import File
from atoll_cli.image.wheels import Wheel

COPYRIGHT = b"""\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-2+ with exception

License: BSD-3-clause
 Redistribution and use
 License: not-this
"""
DEB = LockedDeb("lib++", "1:1.0+b1", 7, "a" * 64, "pool/x.deb")
WHEEL = LockedWheel("thing", "1.0", "b" * 64)


def wheel(**metadata: str) -> Wheel:
    return Wheel(name="thing", version="1.0", metadata=metadata, files={})


def test_a_package_of_debian() -> None:
    files = {"usr/share/doc/lib++/copyright": File(COPYRIGHT)}
    found = of_deb(DEB, Package(control={"Architecture": "amd64"}, files=files))

    assert found.purl == "pkg:deb/debian/lib%2B%2B@1%3A1.0%2Bb1?arch=amd64&distro=debian-13"
    assert found.licences == ("BSD-3-clause", "GPL-2+ with exception")


def test_a_wheel_has_an_expression_or_a_name() -> None:
    assert of_wheel(WHEEL, wheel(**{"License-Expression": "MIT OR Apache-2.0"})).expression == (
        "MIT OR Apache-2.0"
    )
    assert of_wheel(WHEEL, wheel(License="BSD\nlong text")).licences == ("BSD",)
    assert of_wheel(WHEEL, wheel()).licences == ()


def test_one_image_has_one_list_in_order_and_without_a_time() -> None:
    parts = [
        of_wheel(WHEEL, wheel()),
        of_deb(DEB, Package(control={}, files={})),
        own("o", "1", "c"),
    ]
    raw = sbom(parts, name="image", version="1", digest="d")
    document = json.loads(raw)

    assert raw == sbom(reversed(parts), name="image", version="1", digest="d")
    assert "timestamp" not in document["metadata"]
    assert "serialNumber" not in document
    assert [item["name"] for item in document["components"]] == ["lib++", "o", "thing"]


@given(st.binary(max_size=300))
def test_a_copyright_file_is_read_or_says_nothing(raw: bytes) -> None:
    for text in (raw, b"Format: x\nLicense: " + raw):
        assert all(name.isprintable() for name in copyright_licences(text))
