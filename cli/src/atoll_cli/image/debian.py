"""Locks and fetches packages of Debian, with apt-get and a root folder of its own.

Nothing of the machine is changed: lists, cache and sources lie in the cache folder. The
machine's settings of apt (proxies, certificates) hold. apt checks the archive's signature, which
matters when a lock is made; when packages are fetched, the lock's SHA-256 decides.
"""

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError, UnreachableError
from atoll_cli.image.deb import parse_control
from atoll_cli.image.locks import MAX_SIZE, LockedDeb
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.sources import Archives, archives
from atoll_cli.image.store import Store

KERNEL: Final = "linux-image-cloud-amd64"
"""Has no files; depends on the newest kernel, whose name has its version in it."""
KEYRINGS: Final = ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg")
TIMEOUT_S: Final = 900
_GONE: Final = re.compile(
    r"E: (?:Version '[^']*' for '([^']+)' was not found|Unable to locate package (\S+))"
)
_DEPENDS: Final = re.compile(r"linux-image-[0-9][a-z0-9+.-]*")


class Debian:
    """apt for the image's release, whatever the machine's is."""

    def __init__(self, cache: Path, found: Archives, *, keyring: Path) -> None:
        self._root = cache / "apt"
        self._archives = found
        self._keyring = keyring

    def lock(self, names: Iterable[str]) -> tuple[LockedDeb, ...]:
        """The newest version of each package.

        Raises:
            InputError: `image.package_gone`: no such package; `image.apt`.
            UnreachableError: `image.fetch`.
        """
        with self._prepared() as options:
            found = self._show([*names], options)
            if KERNEL in found:
                needed = _DEPENDS.findall(found.pop(KERNEL).get("Depends", ""))
                if len(needed) != 1:
                    raise refuse("apt", f"{KERNEL} does not depend on one kernel")
                found |= self._show(needed, options)
        return tuple(sorted(_locked(fields) for fields in found.values()))

    def fetch(self, packages: Sequence[LockedDeb], store: Store) -> None:
        """Put all of these packages into the store.

        Raises:
            InputError: `image.package_gone`: an archive no longer has that version;
                `image.hash`: it has another file under that version.
            UnreachableError: `image.fetch`.
        """
        with self._prepared() as options, tempfile.TemporaryDirectory() as folder:
            wanted = [f"{package.name}={package.version}" for package in packages]
            done = _run(["apt-get", *options, "download", *wanted], cwd=folder)
            if found := _GONE.search(done.stderr):
                raise gone(found[1] or found[2])
            _require_done(done)
            for path in Path(folder).glob("*.deb"):
                if path.stat().st_size <= MAX_SIZE:
                    store.put(path.read_bytes())
        for package in packages:
            if store.get(package.sha256) is None:
                raise refuse(
                    "hash",
                    f"{package.name} {package.version} of the archive is not the one of the lock",
                    hint="somebody replaced it; look before `atoll image lock` takes it over",
                )

    def _show(self, names: Sequence[str], options: Sequence[str]) -> dict[str, dict[str, str]]:
        done = _run(["apt-cache", *options, "show", "--no-all-versions", "--", *names])
        stanzas = [parse_control(text.encode()) for text in done.stdout.strip().split("\n\n")]
        found = {stanza.get("Package", ""): stanza for stanza in stanzas}
        for name in names:
            if name not in found:
                raise gone(name)
        return found

    @contextmanager
    def _prepared(self) -> Iterator[list[str]]:
        """Lists of what there is, and the options by which apt uses them; one at a time."""
        try:
            for name in ("state/lists/partial", "cache/archives/partial", "none"):
                (self._root / name).mkdir(parents=True, exist_ok=True)
            sources = self._root / "sources.list"
            sources.write_text(self._archives.sources(str(self._keyring)), encoding="ascii")
            (self._root / "status").touch()
            lock = (self._root / "lock").open("ab")
        except OSError as error:
            raise ConfigError(
                f"the cache cannot be written: {error.filename}: {error.strerror}",
                code="image.cache",
                hint="--cache DIR says where it may be",
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            options = self._options()
            _require_done(_run(["apt-get", *options, "update"]))
            yield options

    def _options(self) -> list[str]:
        none = self._root / "none"
        settings = {
            "Dir::State": self._root / "state",
            "Dir::State::status": self._root / "status",
            "Dir::Cache": self._root / "cache",
            "Dir::Etc::sourcelist": self._root / "sources.list",
            "Dir::Etc::sourceparts": none,
            "Dir::Etc::preferences": none / "none",
            "Dir::Etc::preferencesparts": none,
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            # The user _apt may not enter everybody's cache folder.
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": "3",
        }
        options = [("-o", f"{key}={value}") for key, value in settings.items()]
        return ["-q", *(part for option in options for part in option)]


def machine_archives(etc: Path = Path("/etc/apt")) -> Archives:
    """What the machine's own apt is set up with.

    Raises:
        InputError: `image.no_archive`.
    """
    lists = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]
    stanzas = sorted(etc.glob("sources.list.d/*.sources"))
    return archives(_texts(lists), _texts(stanzas))


def machine_keyring(folder: Path = Path("/usr/share/keyrings")) -> Path:
    """Debian's keys, of the package debian-archive-keyring.

    Raises:
        ConfigError: `image.apt`: the package or apt is not installed.
    """
    found = [folder / name for name in KEYRINGS if (folder / name).is_file()]
    if not found or shutil.which("apt-get") is None:
        raise ConfigError(
            "fetching packages of Debian needs apt-get and Debian's keys",
            code="image.apt",
            hint="on Debian or Ubuntu: apt-get install debian-archive-keyring",
        )
    return found[0]


def gone(name: str) -> InputError:
    """No archive has this package in this version."""
    return refuse(
        "package_gone",
        f"the archive no longer has {shown(name)} as it is locked",
        hint="`atoll image lock` takes the versions of today; that makes another image",
    )


def _locked(fields: dict[str, str]) -> LockedDeb:
    try:
        return LockedDeb(
            name=fields["Package"],
            version=fields["Version"],
            size=int(fields["Size"]),
            sha256=fields["SHA256"],
            path=fields["Filename"],
        )
    except (KeyError, ValueError) as error:
        raise refuse("apt", f"apt-cache says nothing of {shown(error)}") from error


def _texts(paths: Iterable[Path]) -> list[str]:
    return [path.read_text("utf-8", "replace") for path in paths if path.is_file()]


def _run(command: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
    try:
        return subprocess.run(  # noqa: S603 - names and versions of a checked lock
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(
            f"{command[0]} took over {TIMEOUT_S} s", code="image.fetch"
        ) from error
    except OSError as error:
        raise ConfigError(f"{command[0]}: {error.strerror}", code="image.apt") from error


def _require_done(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise UnreachableError(
            f"apt-get failed: {shown(said[-1] if said else done.returncode)}",
            code="image.fetch",
            hint="`apt-get update` shows whether the archive can be reached",
        )
