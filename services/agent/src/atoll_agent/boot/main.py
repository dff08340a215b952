"""What the first process of a guest does, in order.

Status of the guest on its console: `atoll: agent ended with status N`. Then it is off.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from atoll.errors import AtollError, ConfigError
from atoll.measure.launch_settings import LaunchSettings
from atoll_agent.boot import child, linux, modules, pivot, ports
from atoll_agent.boot.mounts import AFTER_MODULES, FIRST, Mount
from atoll_agent.boot.settings import LAUNCH_SETTINGS, MAX_SETTINGS, PATH, parse_settings


def main() -> None:
    """Run the agent once; does not return. Only for process 1 of a guest."""
    if os.getpid() != 1:
        sys.exit("atoll_agent.boot is the first process of a guest and nothing else")
    try:
        prepare()
        settings = read_settings()
        say(f"agent ended with status {child.run(settings)}")
    except AtollError as error:
        say(f"{error} ({error.code})")
    except BaseException as error:  # noqa: BLE001 - nobody is above us
        # No text: the host reads this, and nobody knows what it would quote.
        say(f"{type(error).__name__} while starting")
    finally:
        linux.power_off()


def prepare() -> None:
    """From what the kernel hands over to where the agent can run.

    Raises:
        OSError: what the kernel says.
        ConfigError: `agent.modules`.
    """
    pivot.make_pivotable()
    _mount(FIRST)
    modules.load(
        modules.parse_order(Path(modules.ORDER).read_text(encoding="ascii")), linux.load_module
    )
    _mount(AFTER_MODULES)
    linux.loopback_up()
    child.make_cgroup()
    pivot.make_read_only()


def read_settings(path: Path = Path(PATH)) -> Mapping[str, str]:
    """The settings that the host gave and their digests, with the channel's port in its place.

    They are read once: what is hashed is what counts, whatever the host has there later.

    Raises:
        ConfigError: `agent.settings`, `agent.channel`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SETTINGS + 1)
    except OSError as error:
        raise ConfigError("the host gave no settings", code="agent.settings") from error
    settings = parse_settings(raw)
    port = ports.wanted_port(settings.get(ports.CHANNEL, ""))
    if port is not None:
        ports.link_port(port)
    return {**settings, LAUNCH_SETTINGS: LaunchSettings.of(raw).to_text()}


def say(line: str) -> None:
    """One line for the host, on the console."""
    sys.stderr.write(f"atoll: {line}\n")
    sys.stderr.flush()


def _mount(table: tuple[Mount, ...]) -> None:
    for entry in table:
        try:
            if entry.make:
                Path(entry.target).mkdir(exist_ok=True)
            linux.mount(entry.source, entry.target, entry.kind, entry.flags, entry.data)
        except OSError:
            if not entry.optional:
                raise
