"""The guest's image, built once for each state of the sources, and kept in the cache folder.

    from support.guest_image import guest_image  # noqa: F401 - a fixture

The fixture's value is the folder of the image. Where packages cannot be fetched, tests that ask
for it are skipped with the reason; in CI a skip is a failure.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from atoll.errors import AtollError, InputError
from atoll.measure.agent import agent_image
from atoll.measure.guest import DESCRIPTION_FILE
from atoll.measure.installed import installed_agent_files
from atoll_cli.image import build as building
from atoll_cli.image.build import Places, build, default_cache, lock

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "infra" / "image"
CACHE = default_cache(os.environ)  # noqa: TID251 - where a developer's packages are
KEPT = 4
"""Images of earlier sources that stay."""


@pytest.fixture(scope="session")
def guest_image(request: pytest.FixtureRequest) -> Path:
    """Folder of the image of this checkout; read-only for tests."""

    def say(line: str) -> None:
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"guest_image: {line}", yellow=True)

    try:
        return prepared(say)
    except AtollError as error:
        if error.code in {"image.fetch", "image.apt", "image.no_archive", "image.host"}:
            pytest.skip(f"no guest image: {error} ({error.code})")
        raise


def prepared(say: building.Say) -> Path:
    """Build it, or find it as another process has."""
    images = CACHE / "test-images"
    images.mkdir(parents=True, exist_ok=True)
    with (images / "lock").open("ab") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        out = images / state()
        if not (out / DESCRIPTION_FILE).exists():
            _tidy(images)
            try:
                build(Places(locks=LOCKS, cache=CACHE), out, say)
            except InputError as error:
                if error.code != "image.package_gone":
                    raise
                say(f"WARNING: {error}; this run tests an image of today's packages instead")
                _build_of_today(out, say)
    return out


def state() -> str:
    """Another one whenever anything is different that makes the image."""
    sources = sorted(Path(building.__file__).parent.glob("*.py"))
    parts = [path.read_bytes() for path in (*sources, *sorted(LOCKS.iterdir()))]
    parts.append(agent_image(installed_agent_files(distributions=())))
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()[:32]


def _build_of_today(out: Path, say: building.Say) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(LOCKS, folder, dirs_exist_ok=True)
        places = Places(locks=Path(folder), cache=CACHE)
        lock(places, say)
        build(places, out, say)


def _tidy(images: Path) -> None:
    folders = sorted(
        (path for path in images.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for old in folders[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
