"""What libvirt says that a QEMU can do (libvirt, "Domain capabilities XML format"). Pure."""

import xml.etree.ElementTree as ET
from typing import Final

MAX_XML: Final = 1 << 22


def launch_security(xml: str) -> frozenset[str]:
    """The kinds of launch security that guests can have: `sev`, `sev-snp`, `tdx`.

    Since 11.x libvirt lists them; before, it had only an element for SEV.
    """
    root = _root(xml)
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


def vcpu_types(xml: str) -> frozenset[str]:
    """The models of processors that a guest can be given by name, usable here or not: how a model
    and a host differ in features is no part of what is measured."""
    custom = _root(xml).find("cpu/mode[@name='custom']")
    if custom is None or custom.get("supported") != "yes":
        return frozenset()
    return frozenset(model.text for model in custom.iterfind("model") if model.text)


def _root(xml: str) -> ET.Element:
    """The document; an empty one for what is none."""
    if len(xml) <= MAX_XML and "<!" not in xml:
        try:
            return ET.fromstring(xml)  # noqa: S314 - without a document type, nothing to expand
        except (ET.ParseError, ValueError, RecursionError):
            pass
    return ET.Element("none")
