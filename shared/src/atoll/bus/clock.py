"""The clock by which a connection waits; another one takes its place in simulations."""

import asyncio


class LoopClock:
    """The event loop's."""

    def now(self) -> float:
        """Seconds on the clock by which its timeouts run."""
        return asyncio.get_running_loop().time()

    async def pause(self, seconds: float) -> None:
        """Wait, on that clock."""
        await asyncio.sleep(seconds)
