"""Wheels and bundles of them, made by code."""

import hashlib
import io
import zipfile
from collections.abc import Mapping

WHEEL_FILE = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def zipped(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files in this order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def wheel(name: str, files: Mapping[str, bytes], version: str = "1.0") -> bytes:
    """A wheel of these files, for any machine."""
    return zipped({**files, f"{name}-{version}.dist-info/WHEEL": WHEEL_FILE})


def locked(name: str, raw: bytes, version: str = "1.0") -> str:
    """The line of a lock for this wheel."""
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(raw).hexdigest()}\n"


def bundle(**packages: Mapping[str, bytes]) -> bytes:
    """A zip of one wheel for each package and the lock that names them all."""
    made = {name: wheel(name, files) for name, files in packages.items()}
    lock = "".join(locked(name, raw) for name, raw in made.items())
    wheels = {f"{name}-1.0-py3-none-any.whl": raw for name, raw in made.items()}
    return zipped({"requirements.txt": lock.encode(), **wheels})
