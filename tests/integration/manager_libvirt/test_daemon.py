"""Guests of a daemon of libvirt's: they outlive it, and its end is noticed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.errors import RefusedError
from atoll_manager.libvirt.domain import NAME
from atoll_manager.processes import identify, lives
from integration.manager.drivers.benches import a_spec
from integration.manager_libvirt.test_failures import rig
from support import libvirt as support
from support.libvirt import Libvirtd
from support.nats import wait_for

pytestmark = pytest.mark.timeout(600)
KILLED = -9


@pytest.fixture
def daemon() -> Iterator[Libvirtd]:
    support.binding()
    with support.daemon(guests=True) as it:
        yield it


async def test_a_guest_outlives_libvirtd_and_the_next_one_ends_it(
    daemon: Libvirtd, tmp_path: Path, guest_image: Path
) -> None:
    async with rig(daemon.uri, tmp_path, guest_image) as it:
        enclave = await it.driver.start(a_spec(it.store.new_enclave_id()))
        (listed,) = await it.driver.list()
        assert listed.pid is not None
        machine = identify(listed.pid)
        assert machine is not None
        daemon.kill()
        await wait_for(lambda: not it.libvirt.there, "it is noticed that libvirtd is gone")
        assert lives(machine)
        with pytest.raises(RefusedError, match=r"libvirt\.lost"):
            await it.driver.start(a_spec(it.store.new_enclave_id()))
        assert [one.enclave_id for one in await it.driver.list()] == [enclave.enclave_id]
        daemon.start()
        await wait_for(lambda: it.libvirt.there, "libvirtd is found again", within_s=60)
        assert await it.names() == [NAME.format(enclave.enclave_id)]
        await enclave.stop(0.0)
        assert await enclave.wait() == KILLED
        await wait_for(it.none_left, "it is gone", within_s=60)
        assert not lives(machine)


async def test_a_machine_is_ended_without_libvirtd(
    daemon: Libvirtd, tmp_path: Path, guest_image: Path
) -> None:
    """Its keeper holds the emulator itself."""
    async with rig(daemon.uri, tmp_path, guest_image) as it:
        enclave = await it.driver.start(a_spec(it.store.new_enclave_id()))
        daemon.kill()
        await wait_for(lambda: not it.libvirt.there, "it is noticed that libvirtd is gone")
        await enclave.stop(0.0)
        assert await enclave.wait() == KILLED
        assert await it.driver.list() == ()
