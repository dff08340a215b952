"""What is inside an image, as CycloneDX 1.6 in JSON. Pure.

Source: ECMA-424, CycloneDX 1.6. It has no time and no random serial number, so one image has one
list. Licences are what the packages themselves say: the short names in Debian's copyright files
(machine-readable debian/copyright, version 1.0) and the headers of a wheel's METADATA; where a
package says nothing that can be read, the list says nothing either.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from atoll_cli.image.deb import Package
from atoll_cli.image.locks import LockedDeb, LockedWheel
from atoll_cli.image.tree import File, Link
from atoll_cli.image.wheels import Wheel

MAX_LICENCES: Final = 64
_LICENCE: Final = re.compile(
    r"^License:[ \t]*([A-Za-z0-9][A-Za-z0-9.+ ,/()-]{0,100})$", re.MULTILINE
)
_EXPRESSION: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_FORMAT: Final = re.compile(r"^Format:", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """Something inside."""

    purl: str
    name: str
    version: str
    sha256: str
    licences: tuple[str, ...] = ()
    expression: str | None = None
    """An SPDX expression; then `licences` is empty."""


def of_deb(locked: LockedDeb, package: Package) -> Component:
    """A package of Debian."""
    version = quote(locked.version, safe="~")
    architecture = quote(package.control.get("Architecture", "amd64"), safe="")
    return Component(
        purl=f"pkg:deb/debian/{quote(locked.name, safe='')}@{version}"
        f"?arch={architecture}&distro=debian-13",
        name=locked.name,
        version=locked.version,
        sha256=locked.sha256,
        licences=copyright_licences(_copyright(locked.name, package)),
    )


def of_wheel(locked: LockedWheel, wheel: Wheel) -> Component:
    """A wheel."""
    expression = wheel.metadata.get("License-Expression", "")
    named = wheel.metadata.get("License", "").split("\n")[0].strip()[:100]
    spdx = _EXPRESSION.fullmatch(expression) is not None
    return Component(
        purl=f"pkg:pypi/{quote(locked.name, safe='')}@{quote(locked.version, safe='')}",
        name=locked.name,
        version=locked.version,
        sha256=locked.sha256,
        licences=() if spdx or not named.isprintable() or not named else (named,),
        expression=expression if spdx else None,
    )


def own(name: str, version: str, sha256: str) -> Component:
    """A package of ours."""
    purl = f"pkg:generic/{quote(name, safe='')}@{quote(version, safe='')}"
    return Component(purl=purl, name=name, version=version, sha256=sha256)


def copyright_licences(raw: bytes) -> tuple[str, ...]:
    """The short names of licences in a machine-readable copyright file, sorted; else nothing."""
    text = raw.decode("utf-8", "replace")
    if _FORMAT.match(text) is None:
        return ()
    return tuple(sorted({name.strip() for name in _LICENCE.findall(text)})[:MAX_LICENCES])


def sbom(components: Iterable[Component], *, name: str, version: str, digest: str) -> bytes:
    """The document.

    Args:
        components: in any order.
        name: of the whole.
        version: of the whole.
        digest: of the image, hex.
    """
    listed = [_component(item) for item in sorted(components)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "operating-system",
                "bom-ref": f"{name}@{version}",
                "name": name,
                "version": version,
                "properties": [{"name": "atoll:image:digest", "value": digest}],
            }
        },
        "components": listed,
        "dependencies": [
            {"ref": f"{name}@{version}", "dependsOn": [item["bom-ref"] for item in listed]}
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def _component(item: Component) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "library",
        "bom-ref": item.purl,
        "name": item.name,
        "version": item.version,
        "purl": item.purl,
        "hashes": [{"alg": "SHA-256", "content": item.sha256}],
    }
    if item.expression is not None:
        shown["licenses"] = [{"expression": item.expression}]
    elif item.licences:
        shown["licenses"] = [{"license": {"name": name}} for name in item.licences]
    return shown


def _copyright(name: str, package: Package) -> bytes:
    files: Mapping[str, File | Link | Any] = package.files
    found = files.get(f"usr/share/doc/{name}/copyright")
    return found.content if isinstance(found, File) else b""
