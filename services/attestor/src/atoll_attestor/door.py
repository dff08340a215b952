"""Who may come in at the bus, and as what: one decision for each connection. Pure.

1. An applicant shows no ticket. It may ask for a challenge and for admission, for a minute.
2. An admitted enclave shows a ticket that an attestor of this deployment signed and that
   has not expired, proves that it has the bus key the ticket is for, was admitted under the
   policy that is in force now, and is not turned away. It may do what its job takes until the
   ticket expires; then the server ends the connection.
3. Anybody else stays out.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from atoll.credentials import claims, jwt
from atoll.credentials.callout import Request
from atoll.credentials.door_keys import DoorKeys
from atoll.credentials.nkey import KeyPair
from atoll.errors import RefusedError
from atoll.wire import admission
from atoll.wire.admission_messages import SessionRecord
from atoll_attestor.turned_away import Revoked, require_wanted

MAX_SKEW_S: Final = 5
"""How far ahead another attestor's clock may be."""


@dataclass(slots=True)
class Keyring:
    """The keys as they were read last."""

    keys: DoorKeys

    def use_bytes(self, raw: bytes) -> None:
        """Make logins with these from now on. Raises: ConfigError `admission.keys`."""
        self.keys = DoorKeys.from_bytes(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Somebody may come in, as the user that `jwt` describes."""

    jwt: str = field(repr=False)
    session: tuple[str, SessionRecord] | None
    """An admitted enclave's id and connection; None for an applicant."""


def decide(
    request: Request, keys: DoorKeys, *, policy_digest: str, revoked: Revoked, now: int
) -> Entry:
    """The entry of whoever asks.

    Args:
        request: what the server passed on.
        keys: the deployment's.
        policy_digest: of the policy that is in force; empty: none is.
        revoked: who is turned away.
        now: seconds since 1970.

    Raises:
        InputError: `jwt.*`, `ticket.*`, `nkey.invalid`: what it shows is no ticket that holds.
        RefusedError: `admission.unproven`: it has not the key; `admission.policy`;
            `admission.revoked`.
    """
    kind, _, bus_key = request.token.partition(".")
    if kind == admission.APPLICANT:
        _require_proven(request, bus_key)
        expires = now + admission.APPLICANT_S
        user = claims.scoped_user(account=keys.account, tags={})
        token = _login(request, user, by=keys.applicant, name=bus_key, expires=expires)
        return Entry(jwt=token, session=None)
    ticket = admission.read_ticket(
        request.token, issuer=keys.enclave.public, now=now, skew_s=MAX_SKEW_S
    )
    _require_proven(request, ticket.bus_key)
    admitted = ticket.admission
    if admitted.policy_digest != policy_digest:
        raise RefusedError("the policy changed since it was admitted", code="admission.policy")
    require_wanted(revoked, admitted.enclave_id, admitted)
    tags = {"job": admitted.job_id, "attempt": str(admitted.attempt)}
    session = SessionRecord(
        server_id=request.server_id,
        connection=request.connection,
        host_id=admitted.host_id,
        chip_id=admitted.chip_id,
        measurement=admitted.measurement,
        policy_digest=admitted.policy_digest,
        expires_ms=ticket.expires * 1000,
    )
    user = claims.scoped_user(account=keys.account, tags=tags)
    name = admitted.enclave_id
    token = _login(request, user, by=keys.enclave, name=name, expires=ticket.expires)
    return Entry(jwt=token, session=(name, session))


def _require_proven(request: Request, bus_key: str) -> None:
    if not request.proven(bus_key):
        raise RefusedError(
            "the challenge is not signed by the key that is shown", code="admission.unproven"
        )


def _login(request: Request, user: dict[str, Any], *, by: KeyPair, name: str, expires: int) -> str:
    # Without a time of issue: the server's clock may be behind ours.
    return jwt.sign(user, by=by, subject=request.user_key, name=name, now=0, expires=expires)
