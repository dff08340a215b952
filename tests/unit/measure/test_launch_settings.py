"""What a launch says of a guest's settings, and the text by which it is passed on."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.launch_settings import LaunchSettings


@given(st.binary(max_size=300))
def test_the_digests_are_of_exactly_the_bytes(raw: bytes) -> None:
    found = LaunchSettings.of(raw)
    assert found.host_data == hashlib.sha256(raw).digest()
    assert found.mr_config_id == hashlib.sha384(raw).digest()
    assert LaunchSettings.from_text(found.to_text()) == found


def test_the_values_are_those_that_other_tools_give() -> None:
    # printf '{}' | sha256sum, sha384sum
    assert LaunchSettings.of(b"{}").to_text() == (
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a,"
        "sha384:d2a23bc783e3aa38f401e13c7488505137c4954a7fd88331"
        "f1597c5ff71111dc807c7370a5b282c6da541c56ede69f30"
    )


GOOD = LaunchSettings.of(b"{}").to_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:,sha384:",
        GOOD.upper(),
        GOOD + "\n",
        " " + GOOD,
        GOOD + "," + GOOD,
        GOOD.partition(",")[0],
        GOOD.partition(",")[2],
        GOOD.replace("sha384", "sha512"),
        GOOD[:-2],
        GOOD + "00",
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        LaunchSettings.from_text(text)
    assert caught.value.code == "measure.launch_settings"


@given(st.text(max_size=200))
def test_any_text_is_digests_or_the_one_error(text: str) -> None:
    with pytest.raises(InputError) as caught:
        LaunchSettings.from_text(text)
    assert caught.value.code == "measure.launch_settings"


@pytest.mark.parametrize(("one", "other"), [(31, 48), (32, 47), (0, 0)])
def test_digests_have_their_size(one: int, other: int) -> None:
    with pytest.raises(ValueError, match="digests of"):
        LaunchSettings(host_data=bytes(one), mr_config_id=bytes(other))
