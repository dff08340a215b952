"""Whose a domain is, read back from its XML. Pure, and total: other programs make domains too."""

import xml.etree.ElementTree as ET
from typing import Final

from atoll.errors import InputError
from atoll_manager.libvirt.domain import NAME, Owner
from atoll_manager.libvirt.domain_xml import NAMESPACE

MAX_XML: Final = 1 << 20


def owner_of(xml: str) -> Owner | None:
    """The enclave that a domain is, or None: it is not one of ours.

    Our word in the metadata and the domain's name must agree: a domain that somebody cloned
    has ours in its metadata, and is not ours to end.
    """
    if len(xml) > MAX_XML or "<!" in xml:
        return None  # libvirt writes no document types, hence no entities
    try:
        root = ET.fromstring(xml)  # noqa: S314 - without a document type there is nothing to expand
    except (ET.ParseError, ValueError, RecursionError):
        return None
    element = root.find(f"metadata/{{{NAMESPACE}}}enclave")
    if element is None:
        return None
    try:
        owner = Owner(enclave_id=element.get("id", ""), instance=element.get("instance", ""))
    except InputError:
        return None
    return owner if root.findtext("name") == NAME.format(owner.enclave_id) else None
