"""What a relying party demands of a virtual TPM: the answer to a nonce, and register values.

As in `atoll.evidence.policy`: in a whole policy every field is said, and `UNCHECKED` is the
one way not to check. In a list of requirements an absent key is not checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence import policy_forms
from atoll.evidence.comparisons import finding, member
from atoll.evidence.findings import Finding
from atoll.evidence.judged import octets
from atoll.evidence.policy_forms import UNCHECKED, Form, Unchecked, forms_of
from atoll.evidence.tpm.pcrs import BANKS, COUNT, Registers
from atoll.evidence.tpm.quote import MAX_2B

TEE: Final = "tpm"
KEYS: Final = ("nonce", "pcr_values")


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmPolicy:
    """What a TPM quote must say. The comment under a field is what passes.

    Raises:
        InputError: `policy.invalid`.
    """

    nonce: bytes | Unchecked
    """extraData is exactly this; the only thing that shows freshness."""
    pcr_values: Registers | Unchecked
    """Each register named here, by bank and number, is proven to have this value."""

    def __post_init__(self) -> None:
        policy_forms.check(self, _FORMS)


def tpm_policy_to_json(policy: TpmPolicy) -> bytes:
    """The canonical JSON form."""
    return policy_forms.write(policy, _FORMS, tee=TEE)


def tpm_policy_from_json(raw: bytes) -> TpmPolicy:
    """Read the canonical JSON form.

    Raises:
        InputError: `policy.invalid`, or `json.*` if it is not canonical JSON.
    """
    return TpmPolicy(**policy_forms.read(raw, _FORMS, tee=TEE))


def tpm_requirements(requirements: Mapping[str, Any]) -> TpmPolicy:
    """The policy that the keys `KEYS` of a list of requirements, or a whole policy, say.

    Raises:
        InputError: `policy.invalid`.
    """
    if requirements.get("tee") == TEE:
        return tpm_policy_from_json(canonical.dumps(dict(requirements)))
    nonce = octets(requirements, "nonce")
    values: Registers | Unchecked = UNCHECKED
    if "pcr_values" in requirements:
        try:
            values = _parse(requirements["pcr_values"])
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                'policy.pcr_values is not of the form {"sha256": {"0": HEX}}',
                code="policy.invalid",
            ) from error
    return TpmPolicy(nonce=UNCHECKED if nonce is None else nonce, pcr_values=values)


def pcr_findings(policy: TpmPolicy, proven: Registers) -> Iterator[Finding]:
    """A finding for each register that the policy names."""
    if isinstance(policy.pcr_values, Unchecked):
        return
    for bank, values in policy.pcr_values.items():
        for number, value in values.items():
            actual = proven.get(bank, {}).get(number)
            name = f"tpm.pcr.{bank}.{number}"
            wanted = frozenset({value})
            if actual is None:
                yield finding(name, f"PCR{number}", value.hex(), "is not in the quote")
            else:
                yield member(name, f"PCR{number}", wanted, actual)


def _parse(value: Any) -> Registers:
    return {
        bank: {int(number): bytes.fromhex(text) for number, text in values.items()}
        for bank, values in value.items()
    }


def _write(value: Registers) -> dict[str, Any]:
    return {
        bank: {str(number): octets_.hex() for number, octets_ in values.items()}
        for bank, values in value.items()
    }


def _registers(value: Registers) -> str | None:
    if not value or not value.keys() <= BANKS.keys() or not all(value.values()):
        return f"names no register, or a bank that is none of {', '.join(BANKS)}"
    for bank, values in value.items():
        if not values.keys() <= set(range(COUNT)):
            return f"names a register that is none of 0 to {COUNT - 1}"
        if any(len(one) != BANKS[bank] for one in values.values()):
            return f"has a value that is not {BANKS[bank]} bytes"
    return None


def _nonce(value: bytes) -> str | None:
    return None if len(value) <= MAX_2B else f"is over {MAX_2B} bytes"


_FORMS: Final = forms_of(
    TpmPolicy,
    {
        "nonce": Form(kind=bytes, write=lambda v: v.hex(), parse=bytes.fromhex, item=_nonce),
        "pcr_values": Form(kind=dict, write=_write, parse=_parse, item=_registers),
    },
)
