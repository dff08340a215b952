"""What is written down of each enclave, so that a manager that starts later finds it.

    <data_dir>/enclaves/lock        held by the manager that serves this directory
    <data_dir>/enclaves/instance    who this host is, for good: 16 hex digits
    <data_dir>/enclaves/<id>.json   one enclave: what it is for, its processes, its end
    <data_dir>/enclaves/<id>.sock   where its keeper listens (`atoll_manager.keeper`)

The keeper writes a record, the manager removes it when the enclave is settled. No secret
stands in one. They need not survive the machine, since its enclaves do not: no fsync.
"""

import base64
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll.errors import ConfigError, InputError
from atoll.wire import level
from atoll.wire.names import require_token
from atoll_manager.drivers.driver import Claim, EnclaveSpec
from atoll_manager.processes import ProcessId

VERSION: Final = 1
MAX_RECORD: Final = 1 << 20
MAX_TEXT: Final = 4096
_INSTANCE_DIGITS: Final = 16
_TAG_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveRecord:
    """One enclave as its keeper wrote it down."""

    spec: EnclaveSpec
    keeper: ProcessId | None = None
    agent: ProcessId | None = None
    """None: it was not started yet."""
    status: int | None = None
    """How it ended: the exit status, or the signal, negative. None: no word of that."""
    speaks: int
    """The newest protocol level of its agent's release."""
    kind: str = "process"
    """Of its body (`atoll_manager.bodies`)."""
    name: str = ""
    """What the body is called where that matters: a container, a domain."""


def to_plain(record: EnclaveRecord) -> dict[str, Any]:
    """As JSON values."""
    spec, claim = record.spec, record.spec.claim
    return {
        "version": VERSION,
        "enclave_id": spec.enclave_id,
        "job_id": spec.job_id,
        "attempt": spec.attempt,
        "manifest_digest": spec.manifest_digest,
        "traceparent": spec.traceparent,
        "expires_ms": spec.expires_ms,
        "claim": None
        if claim is None
        else {
            "reply": claim.reply,
            "subject": claim.subject,
            "payload": base64.b64encode(claim.payload).decode(),
            "headers": dict(claim.headers),
        },
        "keeper": None if record.keeper is None else list(record.keeper),
        "agent": None if record.agent is None else list(record.agent),
        "status": record.status,
        "speaks": record.speaks,
        "kind": record.kind,
        "name": record.name,
    }


def parse(raw: bytes) -> EnclaveRecord:
    """The inverse of `to_plain`, from JSON text.

    Raises:
        InputError: `record.invalid`.
    """
    try:
        return from_plain(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a record of an enclave: {error}", code="record.invalid") from error


def from_plain(plain: Any) -> EnclaveRecord:
    """The inverse of `to_plain`.

    Raises:
        InputError: `record.invalid`.
    """
    try:
        if not isinstance(plain, dict) or plain.get("version") != VERSION:
            raise _MalformedError("version")
        spec = EnclaveSpec(
            enclave_id=require_token(_text(plain, "enclave_id"), "enclave id"),
            job_id=_job(plain),
            attempt=_number(plain, "attempt"),
            manifest_digest=bytes.fromhex(_text(plain, "manifest_digest")).hex(),
            traceparent=_text(plain, "traceparent"),
            expires_ms=_number(plain, "expires_ms"),
            claim=_claim(plain.get("claim")),
        )
        status = plain.get("status")
        return EnclaveRecord(
            spec=spec,
            keeper=_process(plain, "keeper"),
            agent=_process(plain, "agent"),
            status=None if status is None else _number(plain, "status"),
            # A release without levels does not say it.
            speaks=_number({"speaks": level.OLDEST, **plain}, "speaks"),
            # One without kinds has processes.
            kind=_text({"kind": "process", **plain}, "kind"),
            name=_text({"name": "", **plain}, "name"),
        )
    except (ValueError, RecursionError, InputError) as error:
        raise InputError(f"not a record of an enclave: {error}", code="record.invalid") from error


class Records:
    """The directory, as the one manager that serves it sees it.

    Raises:
        ConfigError: `host.data_in_use`: another manager serves it; `config.unwritable`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{directory}: {error.strerror}", code="config.unwritable") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.instance = _instance(directory / "instance")
            self._at = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigError(
                f"another manager serves {directory.parent}",
                code="host.data_in_use",
                hint="give each manager a data directory and a host id of its own",
            ) from error
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(f"{directory}: {error.strerror}", code="config.unwritable") from error

    def close(self) -> None:
        """Let another manager serve the directory."""
        os.close(self._at)
        os.close(self._lock)

    @property
    def beginning(self) -> str:
        """How the id of each enclave of this host begins."""
        return f"e{self.instance[:_TAG_DIGITS]}"

    def new_enclave_id(self) -> str:
        """An id that nobody else gives, and that says whose it is."""
        return self.beginning + secrets.token_hex(8)

    def socket(self, enclave_id: str) -> str:
        """Where its keeper listens, in a form that is short enough for a socket's address."""
        return f"/proc/self/fd/{self._at}/{enclave_id}.sock"

    def path(self, enclave_id: str) -> Path:
        """Where its record is."""
        return record_path(self.directory, enclave_id)

    def read(self, enclave_id: str) -> EnclaveRecord | None:
        """What is written down of it, if that can be read."""
        try:
            with self.path(enclave_id).open("rb") as file:
                raw = file.read(MAX_RECORD)
            record = parse(raw)
        except (OSError, InputError):
            return None
        return record if record.spec.enclave_id == enclave_id else None

    def ids(self) -> tuple[str, ...]:
        """The enclaves of which something is written down, readable or not."""
        return tuple(sorted(path.stem for path in self.directory.glob("e*.json")))

    def newest_level(self) -> int:
        """The newest protocol level that this host speaks, its enclaves included: those of the
        release before may have outlived its manager."""
        speaks = (record.speaks for _, record in each(self) if record is not None)
        return min((level.newest(), *speaks))

    def remove(self, enclave_id: str) -> None:
        """Forget an enclave that is settled."""
        for path in (self.path(enclave_id), self.directory / f"{enclave_id}.sock"):
            with contextlib.suppress(OSError):
                path.unlink()


def record_path(directory: Path, enclave_id: str) -> Path:
    return directory / f"{enclave_id}.json"


def rename(directory: Path, old: str, record: EnclaveRecord) -> None:
    """Let the enclave that was written down as `old` be what `record` says. It can be found under
    one of the two whatever happens in between. Raises: OSError."""
    new = record.spec.enclave_id
    write(directory, record)
    (directory / f"{old}.sock").rename(directory / f"{new}.sock")
    record_path(directory, old).unlink()


def write(directory: Path, record: EnclaveRecord) -> None:
    """Replace the record whole. Raises: OSError."""
    path = record_path(directory, record.spec.enclave_id)
    new = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(json.dumps(to_plain(record)).encode())
    new.replace(path)


class _MalformedError(ValueError):
    pass


def _instance(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        text = path.read_text()
        if len(text) == _INSTANCE_DIGITS and bytes.fromhex(text).hex() == text:
            return text
    made = secrets.token_hex(_INSTANCE_DIGITS // 2)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    return made


def _text(plain: dict[str, Any], name: str) -> str:
    value = plain.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _MalformedError(name)
    return value


def _job(plain: dict[str, Any]) -> str:
    """The job, or nothing for an enclave that waits for one."""
    job_id = _text(plain, "job_id")
    return require_token(job_id, "job id") if job_id else ""


def _number(plain: dict[str, Any], name: str) -> int:
    value = plain.get(name)
    if type(value) is not int or abs(value) >= 1 << 53:
        raise _MalformedError(name)
    return value


def _process(plain: dict[str, Any], name: str) -> ProcessId | None:
    match plain.get(name):
        case None:
            return None
        case [int() as pid, str() as started] if 1 < pid < 1 << 31:
            return ProcessId(pid, started)
        case _:
            raise _MalformedError(name)


def _claim(plain: Any) -> Claim | None:
    if plain is None:
        return None
    if not isinstance(plain, dict):
        raise _MalformedError("claim")
    headers = plain.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise _MalformedError("headers")
    payload = plain.get("payload")
    if not isinstance(payload, str):
        raise _MalformedError("payload")
    return Claim(
        reply=_text(plain, "reply"),
        subject=_text(plain, "subject"),
        payload=base64.b64decode(payload, validate=True),
        headers=headers,
    )


def each(records: Records) -> Iterator[tuple[str, EnclaveRecord | None]]:
    """Every enclave that is written down; None for a record that cannot be read."""
    for enclave_id in records.ids():
        yield enclave_id, records.read(enclave_id)
