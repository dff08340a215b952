"""Policy documents, their owners, and reference values for tests."""

from typing import Any

from atoll.identity import PartyKeys
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.templates import strict_keystone, strict_snp, strict_tdx, strict_vtpm

IMAGE = b"\x11" * 48
OTHER_IMAGE = b"\x22" * 48
NOW_S = 1_780_000_000


def owner(seed: int = 1) -> PartyKeys:
    """The same party for the same seed."""
    return PartyKeys.generate(f"owner-{seed}", lambda size: bytes([seed]) * size)


def document(**changes: Any) -> PolicyDocument:
    """A strict document with all four sections; `changes` are to its members."""
    members: dict[str, Any] = {
        "name": "fleet",
        "version": 3,
        "not_before": 0,
        "mode": Mode.ENFORCE,
        "sections": {
            "sev-snp": strict_snp(frozenset({IMAGE})),
            "tdx": strict_tdx(frozenset({IMAGE})),
            "keystone": strict_keystone(frozenset({b"\x33" * 64})),
            "vtpm": strict_vtpm(frozenset({b"\x44" * 32})),
        },
    }
    return PolicyDocument(**(members | changes))
