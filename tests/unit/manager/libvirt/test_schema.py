"""Each kind of domain against libvirt's own schemas, and in its own parser.

The installed libvirt has its schemas. A newer one's are fetched by `make system-deps`, since
Debian 12's knows neither SEV-SNP nor TDX; where they are missing, that is said.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from atoll_manager.libvirt.domain_xml import to_xml
from support import libvirt as support
from unit.manager.libvirt.domains import KINDS

ROOT = Path(__file__).resolve().parents[4]
INSTALLED = Path("/usr/share/libvirt/schemas")
NEWER = ROOT / ".venv" / "libvirt-schemas"
CONFIDENTIAL = {"sev-snp": "launchSecuritySEVSNP", "tdx": "launchSecurityTDX"}


def schemas(kind: str) -> Path:
    """Those of the oldest libvirt here that knows this kind."""
    for folder in (INSTALLED, NEWER):
        common = folder / "domaincommon.rng"
        if common.exists() and CONFIDENTIAL.get(kind, "") in common.read_text():
            return folder
    pytest.skip(f"no schema of a libvirt that knows {kind} (make system-deps fetches one)")


def validate(xml: str, folder: Path, tmp_path: Path) -> str:
    """What xmllint has against it; empty: nothing."""
    if shutil.which("xmllint") is None:
        pytest.skip("xmllint is not installed (Debian: libxml2-utils)")
    path = tmp_path / "domain.xml"
    path.write_text(xml)
    command = ["xmllint", "--noout", "--relaxng", str(folder / "domain.rng"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_domain_is_what_libvirt_s_schema_says(kind: str, tmp_path: Path) -> None:
    assert validate(to_xml(KINDS[kind]), schemas(kind), tmp_path) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_would_have_seen_a_mistake(kind: str, tmp_path: Path) -> None:
    xml = to_xml(KINDS[kind])
    for old, new in (("<memory ", "<memori "), ('type="none"', ""), ("<emulator>", "<emulator>x")):
        if old in xml:
            wrong = xml.replace(old, new).replace("</memory>", "</memori>")
            assert validate(wrong, schemas(kind), tmp_path)


@pytest.mark.parametrize("kind", ["plain", "vtpm"])
def test_libvirt_s_own_parser_takes_it_and_starts_it(kind: str) -> None:
    binding = support.binding()
    connection = binding.open("test:///default")
    try:
        xml = to_xml(KINDS[kind]).replace('type="qemu"', 'type="test"', 1)
        domain: Any = connection.createXML(xml, 0)
        assert domain.name() == "atoll-e0123"
        assert domain.isActive()
        assert 'file="/run/e0123/settings.json"' in domain.XMLDesc().replace("'", '"')
    finally:
        connection.close()
