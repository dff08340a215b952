"""Which of some files belong together: documents, and the certificates of who signed them. Pure.

Vendors serve a document and its chain together; in files they lie beside each other under any
names. So every chain that the names in certificates allow is offered, and the signature decides.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product as pairs
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.dcap.intel_chain import ROOT_CN, TCB_SIGNING_CN, read_certificate
from atoll.evidence.x509 import INTEL, Certificate, RevocationList, crl_der, ders

MAX_CERTIFICATES: Final = 64
_ARK: Final = "ARK-"
_SEV: Final = ("SEV-", "SEV-VLEK-")
_VCEK: Final = "SEV-VCEK"
_PEM_LINE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A document with a chain that may be its signer's. `name` is the file's."""

    name: str
    body: bytes = field(repr=False)
    chain: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """What some files are."""

    candidates: tuple[tuple[Candidate, ...], ...]
    """For each document, the ways in which it may be signed; perhaps none."""
    names: tuple[str, ...]
    """The files of these documents."""
    amd_lists: tuple[tuple[str, bytes], ...]
    """AMD's revocation lists, DER."""
    roots: tuple[bytes, ...]
    """AMD's roots, or what is named like them, DER."""
    useless: Mapping[str, str]
    """Files that are nothing of this, and why."""


def sort(files: Mapping[str, bytes]) -> Sorted:
    """Tell files apart by what they hold. Nothing is authentic yet."""
    certificates: dict[bytes, Certificate] = {}
    veks: list[tuple[str, bytes]] = []
    bodies: list[tuple[str, bytes]] = []
    lists: list[tuple[str, bytes]] = []
    useless: dict[str, str] = {}
    for name, raw in files.items():
        try:
            if raw.lstrip()[:1] == b"{":
                bodies.append((name, raw))
            elif (found := _list(raw)) is not None:
                (lists if found else bodies).append((name, crl_der(raw)))
            else:
                read = _certificates(raw)
                chips = {der for der, one in read.items() if one.subject_cn == _VCEK}
                veks += [(name, der) for der in chips]
                certificates |= {der: one for der, one in read.items() if der not in chips}
                if len(certificates) > MAX_CERTIFICATES:
                    useless[name] = f"there are over {MAX_CERTIFICATES} authorities"
        except EvidenceError as error:
            useless[name] = error.message
    known = list(certificates.values())[:MAX_CERTIFICATES]
    authorities = tuple(_authorities(known))
    documents = [(name, tuple(_chains(name, raw, known))) for name, raw in (*bodies, *veks)]
    return Sorted(
        candidates=(*((one,) for one in authorities), *(some for _, some in documents)),
        names=(*(one.name for one in authorities), *(name for name, _ in documents)),
        amd_lists=tuple(lists),
        roots=tuple(one.der for one in known if one.subject_cn.startswith(_ARK)),
        useless=useless,
    )


def to_pem(*certificates: Certificate) -> bytes:
    """PEM text, in this order."""
    return b"".join(map(_pem, certificates))


def _list(raw: bytes) -> bool | None:
    """Whether it is a list by AMD's scheme or else by Intel's; None: not a list."""
    try:
        der = crl_der(raw)
    except MalformedEvidenceError:
        return None
    try:
        RevocationList.from_bytes(der)
    except EvidenceError:
        try:
            RevocationList.from_bytes(der, scheme=INTEL)
        except EvidenceError:
            return None
        return False
    return True


def _certificates(raw: bytes) -> dict[bytes, Certificate]:
    read = {}
    for der in ders(raw):
        try:
            read[der] = Certificate.from_bytes(der)
        except EvidenceError:
            read[der] = read_certificate(der)
    return read


def _chains(name: str, body: bytes, known: Sequence[Certificate]) -> Iterator[Candidate]:
    roots = [one for one in known if one.subject_cn == ROOT_CN]
    if body.lstrip()[:1] == b"{":
        signers = [one for one in known if one.subject_cn == TCB_SIGNING_CN]
        found = pairs(signers, roots)
    elif (issuer := _issuer_of_list(body)) == ROOT_CN:
        yield from (Candidate(name=name, body=body, chain=to_pem(root)) for root in roots)
        return
    elif issuer:
        found = pairs([one for one in known if one.subject_cn == issuer], roots)
    else:
        issuer = Certificate.from_bytes(body).issuer_cn
        arks = [one for one in known if one.subject_cn.startswith(_ARK)]
        found = pairs([one for one in known if one.subject_cn == issuer], arks)
    for signer, root in found:
        if signer.issuer == root.subject:
            yield Candidate(name=name, body=body, chain=to_pem(signer, root))


def _issuer_of_list(body: bytes) -> str:
    try:
        return RevocationList.from_bytes(body, scheme=INTEL).issuer_cn
    except EvidenceError:
        return ""


def _authorities(known: Sequence[Certificate]) -> Iterator[Candidate]:
    for one, ark in pairs(known, known):
        product = ark.subject_cn.removeprefix(_ARK)
        if product != ark.subject_cn and one.subject_cn in [start + product for start in _SEV]:
            yield Candidate(name=one.subject_cn, body=to_pem(one, ark), chain=b"")


def _pem(certificate: Certificate) -> bytes:
    text = base64.b64encode(certificate.der)
    lines = [text[at : at + _PEM_LINE] for at in range(0, len(text), _PEM_LINE)]
    middle = b"\n".join(lines)
    return b"-----BEGIN CERTIFICATE-----\n" + middle + b"\n-----END CERTIFICATE-----\n"
