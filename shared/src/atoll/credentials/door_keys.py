"""The keys by which attestors let enclaves in; one private file for all replicas."""

import json
from dataclasses import dataclass, field
from typing import Self

from atoll.credentials.nkey import KeyPair, Kind, decode_public
from atoll.errors import ConfigError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorKeys:
    """The keys by which logins are made; all replicas share them."""

    account: str
    """The account that enclaves are of."""
    enclave: KeyPair = field(repr=False)
    """Makes logins of admitted enclaves, and signs tickets."""
    applicant: KeyPair = field(repr=False)
    """Makes logins of applicants."""
    callout_account: str
    """The account in which servers ask."""
    callout: KeyPair = field(repr=False)
    """Signs the answers to servers."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ConfigError: `admission.keys`.
        """
        try:
            value = json.loads(raw)
            if value.keys() != {"account", "enclave", "applicant", "callout_account", "callout"}:
                raise ValueError("other fields")
            return cls(
                account=_account(value["account"]),
                enclave=KeyPair.from_seed(value["enclave"], Kind.ACCOUNT),
                applicant=KeyPair.from_seed(value["applicant"], Kind.ACCOUNT),
                callout_account=_account(value["callout_account"]),
                callout=KeyPair.from_seed(value["callout"], Kind.ACCOUNT),
            )
        except (ValueError, TypeError, AttributeError, RecursionError, InputError) as error:
            raise ConfigError(
                "not the keys that enclaves are admitted with",
                code="admission.keys",
                hint="`atoll init` makes the file",
            ) from error

    def to_bytes(self) -> bytes:
        """For a private file."""
        value = {
            "account": self.account,
            "enclave": self.enclave.seed,
            "applicant": self.applicant.seed,
            "callout_account": self.callout_account,
            "callout": self.callout.seed,
        }
        return json.dumps(value, indent=1).encode()


def _account(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError("not an account")
    decode_public(text, Kind.ACCOUNT)
    return text
