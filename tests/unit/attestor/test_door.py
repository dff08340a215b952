"""Who may come in: every way of not being allowed is refused by its own code."""

import base64
import json
import secrets
from dataclasses import replace
from typing import Any

import pytest

from atoll.credentials import callout, jwt
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import AtollError, InputError
from atoll.wire import admission
from atoll.wire.admission import Admission, Ticket
from atoll.wire.admission_messages import RevocationRecord, RevokedKind
from atoll_attestor.door import Entry, decide
from atoll_attestor.turned_away import Revoked
from atoll_cli.deployment.identities import Identities
from support.logins import IDENTITIES

NOW = 1_800_000_000
KEYS = IDENTITIES.door_keys()
BUS_KEY = KeyPair.generate(Kind.USER, secrets.token_bytes)
SERVER = KeyPair.generate(Kind.SERVER, secrets.token_bytes)
POLICY = "ab" * 32
ADMITTED = Admission(
    enclave_id="e1",
    job_id="j1",
    attempt=2,
    host_id="h1",
    chip_id="c0ffee",
    measurement="5eed",
    policy_digest=POLICY,
    nonce_ms=NOW * 1000,
)


def ticket(by: KeyPair = KEYS.enclave, *, expires: int = NOW + 300, **changes: Any) -> str:
    made = Ticket(admission=replace(ADMITTED, **changes), bus_key=BUS_KEY.public, expires=expires)
    return admission.issue_ticket(made, by=by, now=NOW)


def asked(token: str, *, by: KeyPair = BUS_KEY, nonce: str = "server nonce") -> callout.Request:
    return callout.Request(
        server_id=SERVER.public,
        connection=7,
        user_key=KeyPair.generate(Kind.USER, secrets.token_bytes).public,
        nonce="server nonce",
        signature=by.sign(nonce.encode()),
        token=token,
    )


def decided(
    request: callout.Request,
    *,
    policy: str = POLICY,
    revoked: Revoked | None = None,
    now: int = NOW,
) -> Entry:
    return decide(request, KEYS, policy_digest=policy, revoked=revoked or {}, now=now)


def code(request: callout.Request, **changes: Any) -> str:
    with pytest.raises(AtollError) as caught:
        decided(request, **changes)
    return caught.value.code


def test_an_admitted_enclave_comes_in_as_its_job_and_for_the_ticket_s_time() -> None:
    request = asked(ticket())
    entry = decided(request)
    user = jwt.read(entry.jwt, Kind.ACCOUNT)
    assert (user.issuer, user.subject) == (KEYS.enclave.public, request.user_key)
    assert user.expires == NOW + 300
    assert set(user.nats["tags"]) == {"job:j1", "attempt:2"}
    # The permissions are the key's, whatever the login says.
    assert (user.nats["pub"], user.nats["sub"]) == ({}, {})
    assert user.nats["issuer_account"] == KEYS.account
    assert entry.session is not None
    name, session = entry.session
    assert (name, session.server_id, session.connection) == ("e1", SERVER.public, 7)


def test_an_applicant_comes_in_for_a_minute_and_by_another_key() -> None:
    entry = decided(asked(admission.application(BUS_KEY.public)))
    user = jwt.read(entry.jwt, Kind.ACCOUNT)
    assert user.issuer == KEYS.applicant.public
    assert user.expires == NOW + admission.APPLICANT_S
    assert entry.session is None


def test_whoever_does_not_have_the_key_stays_out() -> None:
    thief = KeyPair.generate(Kind.USER, secrets.token_bytes)
    assert code(asked(ticket(), by=thief)) == "admission.unproven"
    assert code(asked(ticket(), nonce="an older nonce")) == "admission.unproven"
    assert code(asked(admission.application(BUS_KEY.public), by=thief)) == "admission.unproven"
    assert code(asked("applicant.nonsense")) == "admission.unproven"


def test_a_ticket_that_does_not_hold_is_refused() -> None:
    foreign = Identities.generate(secrets.token_bytes).door_keys()
    assert code(asked(ticket(foreign.enclave))) == "ticket.foreign"
    assert code(asked(ticket(KEYS.applicant))) == "ticket.foreign"
    assert code(asked(ticket()), now=NOW + 306) == "jwt.expired"
    assert code(asked(ticket()), now=NOW - 6) == "jwt.not_yet"
    assert code(asked(ticket(expires=0))) == "ticket.invalid"
    assert code(asked(ticket()[:-9])) == "jwt.invalid"
    assert code(asked("")) == "jwt.invalid"
    user = jwt.sign(
        {"type": "user"}, by=KEYS.enclave, subject=BUS_KEY.public, now=NOW, expires=NOW + 9
    )
    assert code(asked(user)) == "ticket.invalid"


def test_clocks_may_differ_a_little() -> None:
    decided(asked(ticket()), now=NOW - 4)
    decided(asked(ticket()), now=NOW + 304)


def test_another_policy_in_force_ends_an_admission() -> None:
    assert code(asked(ticket()), policy="cd" * 32) == "admission.policy"
    assert code(asked(ticket()), policy="") == "admission.policy"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (RevokedKind.ENCLAVE, "e1"),
        (RevokedKind.HOST, "h1"),
        (RevokedKind.CHIP, "c0ffee"),
        (RevokedKind.MEASUREMENT, "5eed"),
        (RevokedKind.POLICY, POLICY),
    ],
)
def test_who_is_turned_away_stays_out(kind: RevokedKind, name: str) -> None:
    record = RevocationRecord(kind=kind, id=name, reason="stolen", revoked_ms=1)
    assert code(asked(ticket()), revoked={(kind, name): record}) == "admission.revoked"
    other = replace(record, id="another")
    decided(asked(ticket()), revoked={(kind, "another"): other})


def server_request(**changes: Any) -> dict[str, Any]:
    return {
        "server_id": {"id": SERVER.public, "name": "s"},
        "user_nkey": "U1",
        "client_info": {"id": 5, "nonce": "n"},
        "connect_opts": {"sig": base64.b64encode(b"s" * 64).decode(), "auth_token": "t"},
        "type": "authorization_request",
        **changes,
    }


def told(nats: dict[str, Any], *, by: KeyPair = SERVER, audience: str = callout.AUDIENCE) -> str:
    return jwt.sign(nats, by=by, subject="U1", audience=audience, now=NOW)


def test_a_server_s_request_is_read() -> None:
    request = callout.read(told(server_request()))
    assert (request.server_id, request.connection) == (SERVER.public, 5)
    assert (request.user_key, request.nonce, request.token) == ("U1", "n", "t")
    assert request.signature == b"s" * 64


def test_what_no_server_signed_is_no_request() -> None:
    other = KeyPair.generate(Kind.SERVER, secrets.token_bytes)
    bad = [
        told(server_request(), by=other),
        told(server_request(), audience="another"),
        told(server_request(type="user")),
        jwt.sign(server_request(), by=BUS_KEY, subject="U1", audience=callout.AUDIENCE, now=NOW),
        told(server_request())[:-4],
        told(server_request(client_info=[])),
        told(server_request(client_info={"id": -1})),
        told(server_request(client_info={"id": True})),
        told(server_request(connect_opts={"sig": 5})),
        told(server_request(user_nkey=5)),
        json.dumps(server_request()),
        "",
    ]
    for token in bad:
        with pytest.raises(InputError) as caught:
            callout.read(token)
        assert caught.value.code == "jwt.invalid"


def test_a_signature_that_is_no_text_of_one_proves_nothing() -> None:
    request = callout.read(told(server_request(connect_opts={"sig": "!!"})))
    assert not request.proven(BUS_KEY.public)
