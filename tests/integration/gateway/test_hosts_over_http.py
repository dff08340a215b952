"""Hosts over HTTP: listed and ordered about by operators' tokens alone, and on record."""

from dataclasses import replace

from atoll.audit import AuditRecord
from atoll.bus import KeyValue, read_stream
from atoll.wire import schema, topology
from atoll.wire.hosts import HostOrder, HostWish
from integration.gateway.client import Gateway
from integration.manager.test_registry import RECORD
from support.access import OPERATOR, SUBMITTER


async def test_a_host_is_listed_and_drained_and_the_order_is_on_record(gateway: Gateway) -> None:
    hosts = KeyValue(gateway.bus, topology.HOSTS)
    for name in ("h2", "h1"):
        await hosts.put(name, schema.encode(replace(RECORD, host_id=name)))
    listed = await gateway.call("GET", "/v1/hosts")
    assert listed.status == 200
    assert [host["host_id"] for host in listed.json["hosts"]] == ["h1", "h2"]
    drained = await gateway.post("/v1/hosts/h1/order", {"wish": "drain", "reason": "disk"})
    assert (drained.status, drained.json["wish"]) == (200, "drain")
    entry = await KeyValue(gateway.bus, topology.HOST_ORDERS).get("h1")
    assert entry is not None
    order = schema.decode(HostOrder, entry.value or b"")
    assert (order.wish, order.reason) == (HostWish.DRAIN, "disk")
    told = []
    async for each in read_stream(gateway.bus, "AUDIT", "atoll.v1.audit.>", follow=False):
        record = schema.decode(AuditRecord, each.payload)
        told.append((record.actor, record.action.value, record.object, record.outcome.value))
    assert told == [
        (OPERATOR.id, "host_order", "h1 drain", "begun"),
        (OPERATOR.id, "host_order", "h1 drain", "done"),
    ]


async def test_what_cannot_be_meant_or_may_not_be_is_refused(gateway: Gateway) -> None:
    await KeyValue(gateway.bus, topology.HOSTS).put("h1", schema.encode(RECORD))
    for path, body, status, code in (
        ("/v1/hosts/nobody/order", {"wish": "drain"}, 404, "host.not_found"),
        ("/v1/hosts/h1/order", {"wish": "explode"}, 400, "message.invalid"),
        ("/v1/hosts/h1/order", {"wish": "drain", "host_id": "h2"}, 400, "message.invalid"),
        ("/v1/hosts/a.b/order", {"wish": "drain"}, 400, "message.invalid"),
    ):
        answer = await gateway.post(path, body)
        assert (answer.status, answer.json["code"]) == (status, code), path
    answer = await gateway.call("GET", "/v1/hosts", token=SUBMITTER.text)
    assert (answer.status, answer.json["code"]) == (403, "http.forbidden")
