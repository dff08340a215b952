"""A plain HTTP client for tests; blocking, so it runs in threads."""

import asyncio
import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.bus import Bus
from atoll.wire.messages import Report, ReportKind
from atoll_cli.nats_server import EmbeddedNats
from atoll_gateway.http.server import HttpServer
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.tokens import TokenDesk, TokenDirectory
from support.access import OPERATOR

TOKEN = OPERATOR.text


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Gateway:
    """A running gateway and its insides."""

    bus: Bus
    ledger: Ledger
    index: JobIndex
    http: HttpServer
    nats: EmbeddedNats
    directory: TokenDirectory
    desk: TokenDesk

    async def call(self, method: str, target: str, **options: Any) -> Answer:
        return await asyncio.to_thread(request, self.http.port, method, target, **options)

    async def post(self, target: str, value: object) -> Answer:
        headers = {"Content-Type": "application/json"}
        return await self.call("POST", target, body=json.dumps(value).encode(), headers=headers)

    async def report(self, job_id: str, kind: ReportKind, **changes: Any) -> None:
        fields: dict[str, Any] = {"job_id": job_id, "attempt": 1, "kind": kind, "enclave_id": "e1"}
        if kind is ReportKind.FINISHED:
            fields["outcome_digest"] = "0c" * 32
        await self.ledger.apply(job_id, Report(**{**fields, **changes}))


def request(
    port: int,
    method: str,
    target: str,
    *,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = TOKEN,
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    auth = {"Authorization": f"Bearer {token}"} if token is not None else {}
    try:
        connection.request(method, target, body=body, headers={**auth, **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()
