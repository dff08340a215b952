"""Signals, delivered to this process while it works."""

import asyncio
import os
import signal

import pytest

from atoll_cli.stopping import StoppedError, checkpoint, finished, run_stoppable


async def interrupt(number: int = signal.SIGINT) -> None:
    """Send ourselves a signal and wait to be cancelled by it."""
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()


def test_work_that_is_not_interrupted_gives_its_value() -> None:
    async def work() -> int:
        return 42

    assert run_stoppable(work()) == 42


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_work_which_cleans_up(number: signal.Signals) -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await interrupt(number)
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    with pytest.raises(StoppedError) as stopped:
        run_stoppable(work())
    assert stopped.value.signal_number == number
    assert steps == ["cleaned up"]


def test_a_lost_cancellation_is_noticed_at_the_next_checkpoint() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await interrupt()
        except asyncio.CancelledError:
            steps.append("lost")
        checkpoint()
        steps.append("never")

    with pytest.raises(StoppedError):
        run_stoppable(work())
    assert steps == ["lost"]


def test_a_checkpoint_does_nothing_to_work_that_may_go_on() -> None:
    async def work() -> str:
        checkpoint()
        return "done"

    assert run_stoppable(work()) == "done"


def test_what_must_be_finished_is_finished_after_a_second_signal() -> None:
    steps: list[str] = []

    async def stop() -> None:
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        steps.append("stopped")

    async def work() -> None:
        try:
            await interrupt()
        finally:
            await finished(stop())

    with pytest.raises(StoppedError):
        run_stoppable(work())
    assert steps == ["stopped"]


def test_a_failure_while_finishing_is_not_hidden() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_stoppable(finished(fail()))
