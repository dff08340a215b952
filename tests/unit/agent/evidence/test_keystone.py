"""Keystone: no report without a runtime, and what a runtime's buffer is read for."""

from collections.abc import Callable

import pytest

from atoll.errors import EvidenceError
from atoll.evidence.document import Tee
from atoll_agent.evidence.keystone import KeystoneProvider
from support.keystone import Content
from unit.agent.evidence.makers import DATA, OTHER


def buffer(data: bytes) -> bytes:
    """What Eyrie copies out: 2048 bytes, of which the report is the beginning."""
    return Content(data=data).report().ljust(2048, b"\xa5")


async def test_a_runtimes_report_is_given_without_the_rest_of_its_buffer() -> None:
    provider = KeystoneProvider(buffer)
    quoted = await provider.quote(DATA)
    assert provider.tee is Tee.KEYSTONE
    assert quoted.report == Content(data=DATA).report()
    assert quoted.certs == ()


def broken(_: bytes) -> bytes:
    raise OSError(38, "not implemented")


@pytest.mark.parametrize(
    ("attest", "code"),
    [
        (None, "keystone.no_runtime"),
        (broken, "keystone.failed"),
        (lambda _: bytes(100), "evidence.malformed"),
        (lambda _: buffer(OTHER), "evidence.other_data"),
        (lambda _: buffer(DATA[:63]), "evidence.other_data"),
    ],
)
async def test_anything_else_is_refused_by_name(
    attest: Callable[[bytes], bytes] | None, code: str
) -> None:
    with pytest.raises(EvidenceError) as caught:
        await KeystoneProvider(attest).quote(DATA)
    assert caught.value.code == code
