"""Connecting, asking, and losing the connection; on a real nats-server."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator

import pytest

from atoll.bus import Bus, Message, connect
from atoll.errors import ConfigError, InputError, RefusedError, UnreachableError
from atoll_cli.nats_server import EmbeddedNats
from support.nats import LIMITED, bus_config, kill, restart, wait_for


async def echo(bus: Bus, subject: str) -> None:
    async def answer(message: Message) -> None:
        await bus.publish(message.reply, message.payload, headers=message.headers or None)

    await bus.subscribe(subject, answer)


async def test_a_request_brings_payload_and_headers_back(bus: Bus) -> None:
    await echo(bus, "echo.1")
    reply = await bus.request("echo.1", b"hello", headers={"traceparent": "00-aa-bb-01"})
    assert reply.payload == b"hello"
    assert reply.headers == {"traceparent": "00-aa-bb-01"}


async def test_nobody_there_is_unreachable_at_once(bus: Bus) -> None:
    with pytest.raises(UnreachableError) as caught:
        await bus.request("nobody.here", b"", timeout_s=30)
    assert caught.value.code == "bus.no_responders"


async def test_who_asked_in_vain_until_the_end_is_told_what_was_heard_last(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, within_s = asyncio.sleep, 2.0

    async def long_pause(_: float) -> None:
        await pause(within_s)

    monkeypatch.setattr(asyncio, "sleep", long_pause)
    with pytest.raises(UnreachableError) as caught:
        await bus.request("nobody.here", b"", timeout_s=within_s, retry=True)
    assert caught.value.code == "bus.no_responders"


async def test_no_answer_is_a_timeout(bus: Bus) -> None:
    async def ignore(_: Message) -> None:
        return

    await bus.subscribe("silent", ignore)
    with pytest.raises(UnreachableError) as caught:
        await bus.request("silent", b"", timeout_s=0.05)
    assert caught.value.code == "bus.timeout"


async def test_refuses_an_oversized_payload_and_stays_connected(bus: Bus) -> None:
    with pytest.raises(InputError) as caught:
        await bus.publish("big", b"x" * (bus.max_payload + 1))
    assert caught.value.code == "bus.too_large"
    with pytest.raises(InputError) as caught:
        await bus.publish("big", b"x" * bus.max_payload, headers={"a": "b"})
    assert caught.value.code == "bus.too_large"
    await bus.flush()
    assert bus.connected


async def test_refuses_a_subject_that_would_inject_a_command(bus: Bus) -> None:
    for subject in ("a\r\nPUB b 0", "a b", "a.*", ""):
        with pytest.raises(InputError):
            await bus.request(subject, b"")


async def test_no_server_is_unreachable_after_the_deadline(nats: EmbeddedNats) -> None:
    config = bus_config(nats, url="nats://127.0.0.1:9", connect_timeout_s=0.3)
    with pytest.raises(UnreachableError) as caught:
        async with connect(config):
            pytest.fail("connected")
    assert caught.value.code == "bus.unreachable"
    assert "127.0.0.1:9" in caught.value.message


async def test_a_server_that_says_nothing_is_unreachable(nats: EmbeddedNats) -> None:
    done = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = bus_config(nats, url=f"nats://127.0.0.1:{port}", connect_timeout_s=0.3)
    async with server:
        with pytest.raises(UnreachableError):
            async with connect(config):
                pytest.fail("connected")
        done.set()


async def test_a_wrong_password_is_refused_without_retrying(nats: EmbeddedNats) -> None:
    with pytest.raises(RefusedError) as caught:
        async with connect(bus_config(nats, password="wrong", connect_timeout_s=30)):
            pytest.fail("connected")
    assert caught.value.code == "bus.permission"
    assert "wrong" not in caught.value.message


async def test_the_password_is_not_in_the_representation(nats: EmbeddedNats) -> None:
    config = bus_config(nats)
    assert config.password not in repr(config)
    assert dataclasses.replace(config, name="x").name == "x"


async def test_refuses_a_server_that_is_too_old(nats: EmbeddedNats) -> None:
    async with old_server() as port:
        with pytest.raises(ConfigError, match=r"2\.10\.4.*2\.11 or newer") as caught:
            async with connect(bus_config(nats, url=f"nats://127.0.0.1:{port}")):
                pytest.fail("connected")
    assert caught.value.code == "bus.server_too_old"


@contextlib.asynccontextmanager
async def old_server() -> AsyncIterator[int]:
    """Speaks just enough of the protocol to be connected to, and says it is 2.10.4."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.10.4","max_payload":1048576,"headers":true}\r\n')
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_forbidden_publish_is_named_at_once(nats: EmbeddedNats) -> None:
    async with connect(bus_config(nats, user=LIMITED)) as limited:
        with pytest.raises(RefusedError, match=r"forbidden\.subject") as caught:
            await limited.request("forbidden.subject", b"", timeout_s=30)
        assert caught.value.code == "bus.permission"
        assert limited.connected


async def test_a_forbidden_subscription_is_refused(nats: EmbeddedNats) -> None:
    async def ignore(_: Message) -> None:
        return

    async with connect(bus_config(nats, user=LIMITED)) as limited:
        with pytest.raises(RefusedError) as caught:
            await limited.subscribe("forbidden.>", ignore)
        assert caught.value.code == "bus.permission"
        await limited.subscribe("allowed.>", ignore)


async def test_a_request_in_flight_fails_when_the_server_dies(nats_server: EmbeddedNats) -> None:
    asked = asyncio.Event()

    async def ignore(_: Message) -> None:
        asked.set()

    async with connect(bus_config(nats_server)) as bus, asyncio.TaskGroup() as group:
        await bus.subscribe("silent", ignore)
        request = group.create_task(outcome(bus))
        await asked.wait()
        await kill(nats_server)
        assert await request == "bus.unreachable"
        assert not bus.connected


async def outcome(bus: Bus) -> str:
    try:
        await bus.request("silent", b"", timeout_s=60)
    except UnreachableError as error:
        return error.code
    return "answered"


async def test_comes_back_after_a_restart_with_its_subscriptions(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connect(bus_config(nats_server)) as bus:
        await echo(bus, "echo.2")
        await restart(nats_server)
        reply = await bus.request("echo.2", b"again", timeout_s=20, retry=True)
        assert reply.payload == b"again"
    assert "connected again" in caplog.text


async def test_a_repeatable_request_waits_for_the_server(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus, asyncio.TaskGroup() as group:
        await echo(bus, "echo.3")
        await kill(nats_server)
        await wait_for(lambda: not bus.connected, "the loss is noticed")
        request = group.create_task(bus.request("echo.3", b"x", timeout_s=20, retry=True))
        await nats_server.start()
        assert (await request).payload == b"x"


async def test_without_a_server_it_closes_within_its_deadline(nats_server: EmbeddedNats) -> None:
    async with connect(bus_config(nats_server)) as bus:
        await kill(nats_server)
        await wait_for(lambda: not bus.connected, "the loss is noticed")
        with pytest.raises(UnreachableError):
            await bus.request("x", b"", timeout_s=0.05)


async def test_a_subscription_is_active_when_subscribe_returns(nats: EmbeddedNats) -> None:
    async def ignore(_: Message) -> None:
        return

    async with connect(bus_config(nats)) as one, connect(bus_config(nats)) as two:
        for number in range(100):
            subscription = await one.subscribe(f"active.{number}", ignore)
            # Nobody answers; "no responders" would mean that the server did not know it yet.
            with pytest.raises(UnreachableError) as caught:
                await two.request(f"active.{number}", b"", timeout_s=0.005)
            assert caught.value.code == "bus.timeout"
            await subscription.close()


async def test_a_timeout_holds_when_the_server_stops_reading(nats: EmbeddedNats) -> None:
    stop, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        while not stop.is_set() and (line := await reader.readline()):
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        await gone.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = bus_config(nats, url=f"nats://127.0.0.1:{port}", drain_timeout_s=0.2)
    async with server:
        try:
            async with asyncio.timeout(30), connect(config) as bus:
                stop.set()
                for _ in range(40):
                    with pytest.raises(UnreachableError) as caught:
                        await bus.request("x", bytes(1_000_000), timeout_s=0.02)
                    assert caught.value.code == "bus.timeout"
        finally:
            gone.set()


async def test_a_flush_that_is_cancelled_does_not_end_the_connection(bus: Bus) -> None:
    for turns in range(6):
        flushing = asyncio.get_running_loop().create_task(bus.flush())
        for _ in range(turns):
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait({flushing})
        await bus.flush()
    assert bus.connected
