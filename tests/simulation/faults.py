"""What goes wrong, drawn from the seed: each run has weather of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from simulation.bus import Weather
from simulation.enclave import Habits
from simulation.manager import ManagerProcess
from simulation.scheduler import Process, Scheduler
from simulation.server import Server

Happening = Callable[[], None]


@dataclass(kw_only=True)
class Rates:
    """Mean milliseconds between two faults of a kind; 0: never."""

    crash: int
    step: float
    """Not a mean: how likely a process dies after a step of its own."""
    cut: int
    restart: int
    stop: int
    pause_all: int
    ambush: float
    """How likely all gateways die when a spawn request was just stored."""


class Faults:
    """Crashes, partitions, restarts of the server, until `end_ms`."""

    def __init__(self, scheduler: Scheduler, server: Server, end_ms: int) -> None:
        rng = scheduler.rng
        self._scheduler = scheduler
        self._server = server
        self._end_ms = end_ms
        self.processes: tuple[Process, ...] = ()
        self.weather = Weather(
            drop=rng.choice((0.0, 0.0, 0.01, 0.05)),
            double=rng.choice((0.0, 0.02, 0.1)),
            late=rng.choice((0.0, 0.02, 0.1)),
            late_ms=rng.choice((200, 2000, 8000)),
        )
        self.habits = Habits(
            dies=rng.choice((0.0, 0.1, 0.4, 0.95)),
            host_dies=rng.choice((0.0, 0.3, 1.0)),
            refused=rng.choice((0.0, 0.0, 0.1)),
            fails=rng.choice((0.0, 0.1)),
            attestor_away=rng.choice((0.0, 0.1)),
            work_ms=rng.choice((500, 4000, 20_000, 60_000)),
        )
        self.rates = Rates(
            crash=rng.choice((0, 2000, 6000, 20_000)),
            step=rng.choice((0.0, 0.0, 0.002, 0.01)),
            cut=rng.choice((0, 8000, 30_000)),
            restart=rng.choice((0, 0, 15_000, 40_000)),
            stop=rng.choice((0, 15_000)),
            pause_all=rng.choice((0, 0, 0, 60_000)),
            ambush=rng.choice((0.0, 0.0, 0.0, 0.5)),
        )

    def begin(self, processes: tuple[Process, ...]) -> None:
        """Let them happen to these; the fates of one kind follow each other."""
        self.processes = processes
        self._again(self.rates.crash, lambda: self._crash(self._any(processes)))
        self._again(self.rates.cut, lambda: self._cut(self._any(processes)))
        self._again(self.rates.restart, self._restart)
        managers = tuple(one for one in processes if isinstance(one, ManagerProcess))
        self._again(self.rates.stop, lambda: self._stop(managers))
        gateways = tuple(one for one in processes if one.name.startswith("g"))
        self._again(self.rates.pause_all, lambda: self._away(gateways, 125_000))
        self._server.streams["SPAWN"].hooks.append(lambda _: self._ambush(gateways))
        self._scheduler.after(self._end_ms, self._calm)

    def after_step(self) -> None:
        """Any process may die between any two steps of its own."""
        scheduler = self._scheduler
        process, scheduler.acted = scheduler.acted, None
        if process is None or not self.rates.step or scheduler.now >= self._end_ms:
            return
        # A host dies with all it does; the rest of its steps are not worth more than others'.
        likely = self.rates.step * (0.2 if isinstance(process, ManagerProcess) else 1)
        if scheduler.rng.random() < likely:
            self._crash(process)

    def _any(self, processes: tuple[Process, ...]) -> Process:
        """A process; half the time an enclave, if there is one."""
        rng = self._scheduler.rng
        chosen = rng.choice(processes)
        if isinstance(chosen, ManagerProcess) and chosen.enclaves and rng.random() < 0.5:
            return rng.choice(chosen.enclaves)
        return chosen

    def _again(self, mean_ms: int, happen: Happening) -> None:
        if mean_ms:
            delay = round(self._scheduler.rng.expovariate(1 / mean_ms)) + 1
            self._scheduler.after(delay, self._due, mean_ms, happen)

    def _due(self, mean_ms: int, happen: Happening) -> None:
        if self._scheduler.now < self._end_ms:
            happen()
            self._again(mean_ms, happen)

    def _crash(self, process: Process) -> None:
        if not process.alive:
            return
        self._scheduler.note(f"CRASH {process.name}")
        if hasattr(process, "exit"):
            process.exit(-9)
            return
        process.crash()
        self._scheduler.after(self._pause(), self._revive, process)

    def _revive(self, process: Process) -> None:
        if not process.alive:
            process.up()

    def _cut(self, process: Process) -> None:
        self._scheduler.note(f"CUT OFF {process.name}")
        process.cut_off = True
        self._scheduler.after(self._pause(), self._join, process)

    def _join(self, process: Process) -> None:
        process.cut_off = False
        process.joined_at = self._scheduler.now

    def _restart(self) -> None:
        self._scheduler.note("SERVER DOWN")
        if self._server.alive:
            self._server.crash()
        self._scheduler.after(self._scheduler.rng.randrange(100, 8000), self._server_up)

    def _server_up(self) -> None:
        if not self._server.alive:
            self._scheduler.note("SERVER UP")
            self._server.alive = True

    def _stop(self, managers: tuple[ManagerProcess, ...]) -> None:
        chosen = self._scheduler.rng.choice(managers)
        if chosen.alive:
            self._scheduler.note(f"STOP {chosen.name}")
            chosen.stop()

    def _ambush(self, gateways: tuple[Process, ...]) -> None:
        scheduler = self._scheduler
        if scheduler.now < self._end_ms and scheduler.rng.random() < self.rates.ambush:
            scheduler.after(0, self._away, gateways, 21_000)

    def _away(self, gateways: tuple[Process, ...], at_least_ms: int) -> None:
        """All gateways at once, longer than the duplicate window of the queues may be."""
        scheduler = self._scheduler
        scheduler.note("ALL GATEWAYS AWAY")
        for gateway in gateways:
            gateway.crash()
            away_ms = scheduler.rng.randrange(at_least_ms, at_least_ms + 15_000)
            scheduler.after(away_ms, self._revive, gateway)

    def _pause(self) -> int:
        rng = self._scheduler.rng
        least, most = rng.choice(((10, 500), (500, 5000), (5000, 40_000)))
        return rng.randrange(least, most)

    def _calm(self) -> None:
        self._scheduler.note("CALM")
        self.weather.calm()
        self.habits.good()
