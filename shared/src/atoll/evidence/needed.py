"""What vendors sign that a piece of evidence is judged by: under which keys it is kept.

| key                            | what                                    |
| intel.tcb.{sgx,tdx}.FMSPC      | TCB info of a platform                  |
| intel.qe.{sgx,tdx}             | identity of the quoting enclave         |
| intel.crl.{platform,processor} | revocation list of a PCK CA             |
| intel.crl.root                 | revocation list of the root             |

These are the keys of the bucket `collateral`, which the attestor fills. Whoever judges a quote
needs one document of each kind; nothing here says that a document is authentic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from atoll.errors import EvidenceError, UnsupportedEvidenceError
from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.dcap.intel_chain import PCK_CN, PCK_ISSUER_CNS, read_certificate
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.signed_json import open_envelope, with_hex_signature
from atoll.evidence.x509 import ders

INTEL_ROOT_CRL: Final = "intel.crl.root"
TCB_INFO: Final = "tcbInfo"
QE_IDENTITY: Final = "enclaveIdentity"

Files = dict[str, tuple[bytes, ...]]
"""Files that go with evidence, by the roles of `atoll.evidence.judge`."""


class Signed(Protocol):
    """A document as its vendor serves it, with the chain of who signed it."""

    @property
    def body(self) -> bytes: ...

    @property
    def chain(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a quote says of where it comes from. Nothing about it is proven."""

    tee: str
    """`sgx` or `tdx`."""
    fmspc: bytes
    authority: str
    """`platform` or `processor`: which CA made its PCK certificate."""

    @classmethod
    def of(cls, quote: bytes, certs: Sequence[bytes] = ()) -> Self:
        """Read a quote.

        Args:
            quote: any bytes.
            certs: the PCK chain, for a quote that brings none; DER or PEM, in any order.

        Raises:
            EvidenceError: the quote or its PCK certificate does not parse, or there is none.
        """
        parsed = Quote.from_bytes(quote)
        chain = parsed.certification.chain or _leaf_first(certs)
        return cls.from_pck(chain[0], tee=parsed.header.tee.name.lower())

    @classmethod
    def from_pck(cls, der: bytes, *, tee: str) -> Self:
        """Read a PCK certificate. Raises: EvidenceError."""
        pck = read_certificate(der)
        if pck.issuer_cn not in PCK_ISSUER_CNS:
            raise UnsupportedEvidenceError(f"PCK certificate of {pck.issuer_cn[:80]!r}")
        authority = "platform" if "Platform" in pck.issuer_cn else "processor"
        return cls(tee=tee, fmspc=PckExtension.of(pck).fmspc, authority=authority)

    @property
    def keys(self) -> tuple[str, str, str, str]:
        """Of TCB info, QE identity, PCK CRL and root CRL."""
        return (
            tcb_key(self.tee, self.fmspc),
            qe_key(self.tee),
            crl_key(self.authority),
            INTEL_ROOT_CRL,
        )


def tcb_key(tee: str, fmspc: bytes) -> str:
    """Where the TCB info of these platforms is kept.

    Args:
        tee: `sgx` or `tdx`.
        fmspc: six bytes.
    """
    return f"intel.tcb.{tee}.{fmspc.hex()}"


def qe_key(tee: str) -> str:
    """Where the identity of the quoting enclave is kept."""
    return f"intel.qe.{tee}"


def crl_key(authority: str) -> str:
    """Where the list of a PCK CA is kept."""
    return f"intel.crl.{authority}"


def intel_files(platform: Platform, known: Mapping[str, Signed]) -> Files:
    """The documents about a platform as files by role, as many as are known.

    Raises:
        MalformedEvidenceError: a document is not of the form that is signed.
    """
    tcb, qe, crl, root = (known.get(key) for key in platform.keys)
    return {
        **_json_files("tcb_info", "tcb_chain", TCB_INFO, tcb),
        **_json_files("qe_identity", "qe_chain", QE_IDENTITY, qe),
        **({} if crl is None else {"pck_crl": (crl.body,)}),
        **({} if root is None else {"root_crl": (root.body,)}),
    }


def collateral_of(files: Mapping[str, Sequence[bytes]]) -> Collateral | None:
    """Collateral from files by role; None if there is none, or not all of it."""

    def one(role: str) -> bytes:
        return files[role][0]

    try:
        return Collateral(
            tcb_info=with_hex_signature(one("tcb_info"), one("tcb_info_sig")),
            tcb_info_chain=one("tcb_chain"),
            qe_identity=with_hex_signature(one("qe_identity"), one("qe_identity_sig")),
            qe_identity_chain=one("qe_chain"),
            root_crl=one("root_crl"),
            pck_crl=one("pck_crl"),
        )
    except (KeyError, IndexError, EvidenceError):
        return None


def _leaf_first(certs: Sequence[bytes]) -> Sequence[bytes]:
    chain = [der for one in certs for der in ders(one)]
    if not chain:
        raise UnsupportedEvidenceError(
            "quote brings no PCK certificate, and none came beside it",
            code="evidence.quote_certification",
        )
    return sorted(chain, key=lambda der: read_certificate(der).subject_cn != PCK_CN)


def _json_files(role: str, chain_role: str, name: str, found: Signed | None) -> Files:
    if found is None:
        return {}
    signed = open_envelope(found.body, name)
    return {
        role: (signed.raw,),
        f"{role}_sig": (signed.signature.hex().encode(),),
        chain_role: (found.chain,),
    }
