"""Debian's archives are found in whatever way the machine's apt has them written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image.sources import Archives, archives

DEB822 = """\
# comment
Types: deb deb-src
URIs: http://one.example/debian
 http://two.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://one.example/debian-security
Suites: bookworm-security

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
"""


def test_stanzas() -> None:
    found = archives([], [DEB822])

    assert found == Archives(
        main="http://one.example/debian", security="http://one.example/debian-security"
    )


def test_lines() -> None:
    lines = (
        "# deb http://zero.example/debian trixie main\n"
        "deb-src http://zero.example/debian trixie main\n"
        "deb http://other.example nodistro main\n"
        "deb [arch=amd64 signed-by=/x] http://one.example/debian trixie main contrib\n"
        "deb http://sec.example/debian-security trixie-security main\n"
    )

    assert archives([lines], []) == Archives(
        main="http://one.example/debian", security="http://sec.example/debian-security"
    )


def test_what_apt_is_told_is_the_release_of_the_image() -> None:
    told = Archives(main="http://one.example/debian", security="http://sec.example").sources("/key")

    assert told == (
        "deb [signed-by=/key] http://one.example/debian trixie main\n"
        "deb [signed-by=/key] http://one.example/debian trixie-updates main\n"
        "deb [signed-by=/key] http://sec.example trixie-security main\n"
    )


@pytest.mark.parametrize(
    "text", ["", "deb http://x.example stable-security main", "deb not-a-uri trixie main"]
)
def test_without_one_it_says_how_to_name_one(text: str) -> None:
    with pytest.raises(InputError) as caught:
        archives([text], [])
    assert caught.value.code == "image.no_archive"
    assert "--mirror" in str(caught.value.hint)


@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_is_written_there_no_line_can_be_smuggled_in(line: str, stanza: str) -> None:
    try:
        found = archives([f"deb {line} trixie main", line], [stanza, f"Types: deb\n{stanza}"])
    except InputError as error:
        assert error.code == "image.no_archive"  # noqa: PT017 - either is right
    else:
        assert found.sources("/key").count("\n") in {2, 3}
        assert found.main.isprintable()
