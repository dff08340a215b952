"""What libvirt says that a QEMU can do (libvirt, "Domain capabilities XML format"). Pure."""

import xml.etree.ElementTree as ET
from typing import Final

MAX_XML: Final = 1 << 22


def launch_security(xml: str) -> frozenset[str]:
    """The kinds of launch security that guests can have: `sev`, `sev-snp`, `tdx`.

    Since 11.x libvirt lists them; before, it had only an element for SEV.
    """
    if len(xml) > MAX_XML or "<!" in xml:
        return frozenset()
    try:
        root = ET.fromstring(xml)  # noqa: S314 - without a document type there is nothing to expand
    except (ET.ParseError, ValueError, RecursionError):
        return frozenset()
    kinds = set()
    for name in ("sev", "tdx"):
        element = root.find(f"features/{name}")
        if element is not None and element.get("supported") == "yes":
            kinds.add(name)
    element = root.find("features/launchSecurity")
    if element is not None and element.get("supported") == "yes":
        values = element.iterfind("enum[@name='sectype']/value")
        kinds |= {value.text for value in values if value.text}
    return frozenset(kinds)
