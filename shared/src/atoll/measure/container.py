"""What the simulated TEE measures of a container: its image, by the digest of its configuration.

The configuration names the digest of each layer, so it stands for every file of the image, the
entry point and the environment. `measure_container` is over the transcript "atoll container image
v1" and that digest. Reads files.
"""

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError
from atoll.framing import transcript
from atoll.measure.snp import measure_image

LABEL: Final = "atoll container image v1"
ARCHIVE: Final = "docker.tar"
"""In a folder that `atoll image build` wrote."""
MAX_PART: Final = 1 << 20
_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")


def measure_container(image_id: str) -> bytes:
    """The 48-byte measurement of an image with this digest, `sha256:...`.

    Raises:
        ConfigError: `image.unusable`: that is no digest.
    """
    if not _ID.fullmatch(image_id):
        raise ConfigError(f"{image_id[:80]!r} is no digest of an image", code="image.unusable")
    return measure_image(transcript(LABEL, image_id.encode("ascii")))


def archive_of(image: str) -> Path | None:
    """The archive that a folder or a path names; None: it is no file here."""
    path = Path(image)
    archive = path / ARCHIVE if path.is_dir() else path
    return archive if archive.is_file() else None


def archived_image(archive: Path) -> str:
    """The digest of the one image in an archive (`docker save`); nothing is unpacked.

    Raises:
        ConfigError: `image.unusable`.
    """
    try:
        with tarfile.open(archive) as tar:
            (entry,) = json.loads(_part(tar, "manifest.json"))
            config = _part(tar, str(entry["Config"]))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{archive} is no archive of one image", code="image.unusable") from error
    return "sha256:" + hashlib.sha256(config).hexdigest()


def _part(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(name)
    with file:
        return file.read(MAX_PART)
