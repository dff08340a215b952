"""The connection to libvirt: calls in threads, events on the loop, and a daemon that dies."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.errors import ConfigError, ConflictError, NotFoundError, RefusedError, UnreachableError
from atoll_manager.libvirt import connection, versions
from atoll_manager.libvirt.connection import Change, DomainEvent, Found, Libvirt, Lost
from support import libvirt as support
from support.libvirt import Libvirtd
from support.nats import wait_for

PLAIN = "<domain type='test'><name>{}</name><memory>8192</memory><os><type>hvm</type></os></domain>"


@pytest.fixture
def daemon() -> Iterator[Libvirtd]:
    support.binding()
    with support.daemon() as it:
        yield it


class Heard:
    """Everything that a listener was told."""

    def __init__(self) -> None:
        self.events: list[DomainEvent | Lost | Found] = []
        self.threads: set[int] = set()

    def __call__(self, event: DomainEvent | Lost | Found) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())

    def changes(self, name: str) -> list[Change]:
        return [it.change for it in self.events if isinstance(it, DomainEvent) and it.name == name]


async def test_calls_run_in_threads_and_events_come_on_the_loop() -> None:
    support.binding()
    heard = Heard()
    async with Libvirt("test:///default", heard).connected() as libvirt:
        at = await libvirt.call(lambda _: threading.get_ident())
        domain = await libvirt.call(lambda conn: conn.createXML(PLAIN.format("atoll-e1"), 0))
        await libvirt.call(lambda _: domain.destroy())
        await wait_for(lambda: Change.STOPPED in heard.changes("atoll-e1"), "it is told of the end")
    assert at != threading.get_ident()
    assert heard.threads == {threading.get_ident()}
    assert Change.STARTED in heard.changes("atoll-e1")


async def test_what_libvirt_refuses_is_an_error_of_ours() -> None:
    support.binding()
    async with Libvirt("test:///default").connected() as libvirt:
        await libvirt.call(lambda conn: conn.createXML(PLAIN.format("atoll-e1"), 0))
        with pytest.raises(ConflictError) as duplicate:
            await libvirt.call(lambda conn: conn.createXML(PLAIN.format("atoll-e1"), 0))
        with pytest.raises(NotFoundError) as missing:
            await libvirt.call(lambda conn: conn.lookupByName("atoll-e2"))
        with pytest.raises(RefusedError) as malformed:
            await libvirt.call(lambda conn: conn.createXML("<domain", 0))
    assert duplicate.value.code == "libvirt.duplicate"
    assert missing.value.code == "libvirt.no_domain"
    assert malformed.value.code == "libvirt.refused"
    assert malformed.value.message.isprintable()


async def test_a_daemon_that_was_killed_is_noticed_and_found_again(
    daemon: Libvirtd, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with Libvirt(daemon.uri, heard).connected() as libvirt:
        assert await libvirt.call(lambda conn: conn.isAlive())
        daemon.kill()
        await wait_for(lambda: Lost() in heard.events, "it is noticed that libvirtd is gone")
        with pytest.raises(UnreachableError) as lost:
            await libvirt.call(lambda conn: conn.getHostname())
        daemon.start()
        await wait_for(lambda: heard.events.count(Found()) == 2, "it is found again")
        await libvirt.call(lambda conn: conn.createXML(PLAIN.format("atoll-e9"), 0))
        await wait_for(lambda: bool(heard.changes("atoll-e9")), "its events come again")
    assert lost.value.code == "libvirt.lost"
    assert heard.events.index(Lost()) > heard.events.index(Found())
    assert "went away" in caplog.text
    assert "is back" in caplog.text


async def test_a_daemon_that_hangs_is_given_up(daemon: Libvirtd) -> None:
    heard = Heard()
    async with Libvirt(daemon.uri, heard).connected() as libvirt:
        daemon.kill(signal.SIGSTOP)
        with pytest.raises(UnreachableError) as lost:
            await libvirt.call(lambda conn: conn.getHostname())
        await wait_for(lambda: Lost() in heard.events, "it is given up")
        daemon.kill()
    assert lost.value.code == "libvirt.lost"


async def test_a_call_that_is_under_way_when_the_daemon_dies_is_lost(daemon: Libvirtd) -> None:
    began = threading.Event()

    def work(conn: object) -> object:
        began.set()
        while True:
            conn.listAllDomains()  # type: ignore[attr-defined] # untyped

    async with Libvirt(daemon.uri).connected() as libvirt, asyncio.TaskGroup() as group:

        async def code() -> str:
            with pytest.raises(UnreachableError) as caught:
                await libvirt.call(work)
            return caught.value.code

        calling = group.create_task(code())
        await asyncio.to_thread(began.wait)
        daemon.kill()
        assert await calling == "libvirt.lost"


async def test_nobody_there_is_said(tmp_path: Path) -> None:
    support.binding()
    uri = f"test+unix:///default?socket={tmp_path}/none"
    with pytest.raises(UnreachableError) as caught:
        async with Libvirt(uri).connected():
            pass
    assert caught.value.code == "libvirt.unreachable"
    assert uri in caught.value.message


async def test_one_that_is_too_old_is_named_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    support.binding()
    monkeypatch.setattr(versions, "LIBVIRT", versions.Release(99, 0, 0))
    with pytest.raises(ConfigError, match=r"99\.0\.0") as caught:
        async with Libvirt("test:///default").connected():
            pass
    assert caught.value.code == "libvirt.too_old"


async def test_connections_follow_each_other_and_leave_nothing() -> None:
    support.binding()
    from atoll_manager.libvirt import events

    for _ in range(20):
        async with Libvirt("test:///default").connected() as libvirt:
            await libvirt.call(lambda conn: conn.getHostname())
    assert events.install().is_idle()


def test_settings_of_an_embedded_driver_are_written_once(tmp_path: Path) -> None:
    uri = f"qemu:///embed?root={tmp_path}/root"
    connection.prepare(uri)
    conf = tmp_path / "root/etc/qemu.conf"
    assert "user = " in conf.read_text()
    conf.write_text("# the operator's\n")
    connection.prepare(uri)
    assert conf.read_text() == "# the operator's\n"


@pytest.mark.parametrize("query", ["", "?root=", "?root=relative", "?root=/a&root=/b"])
def test_an_embedded_driver_needs_one_directory(query: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connection.embedded_root(f"qemu:///embed{query}")
    assert caught.value.code == "config.invalid"


async def test_an_embedded_libvirt_is_opened_once_for_a_process(embedded: str) -> None:
    """Libvirt takes about twenty."""
    for _ in range(30):
        heard = Heard()
        async with Libvirt(embedded, heard).connected() as libvirt:
            assert await libvirt.call(lambda conn: conn.getType()) == "QEMU"
        assert heard.events == [Found()]
