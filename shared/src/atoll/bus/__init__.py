"""The bus: a thin port on NATS. Nothing outside this package knows nats-py.

    connection   connect, reconnect, request and reply
    login        who we are to a server
    service      services that can be discovered (ADR-32)
    jetstream    publish with acknowledgement, newest message
    stream       read a stream in order, through reconnects
    workqueue    take work, hold it, settle it
    dead_letter  keep what nobody can process
    kv           buckets with compare-and-set
    objects      sealed bytes in chunks
    provision    make streams, consumers and buckets
    speaking     a service's part in the protocol level
    faults       every failure as an error of Atoll
    subjects     what may stand in a subject, key or header
    message, object_info, pull, upload: parts of the above

It takes subjects and definitions as arguments and knows none of them: those are in
`atoll.wire`. Only `dead_letter` has a stream of its own, and `speaking` two buckets. May import
`atoll.credentials`, `atoll.errors`, `atoll.version`, `atoll.wire` and nats-py.
"""

from atoll.bus.config import BusConfig
from atoll.bus.connection import Bus, connect
from atoll.bus.dead_letter import Doomed, bury
from atoll.bus.jetstream import (
    PubAck,
    last_message,
    leaders_message,
    message_at,
    publish,
    require_jetstream,
)
from atoll.bus.kv import Entry, KeyValue
from atoll.bus.login import Admitted, Login, Password, Signed, login_from
from atoll.bus.message import Message, Reply, StreamMessage
from atoll.bus.nats_client import Subscription
from atoll.bus.object_info import ObjectInfo
from atoll.bus.objects import ObjectStore
from atoll.bus.provision import (
    ensure_bucket,
    ensure_consumer,
    ensure_object_bucket,
    ensure_stream,
    provision,
)
from atoll.bus.service import Endpoint, Service
from atoll.bus.speaking import Speaker, in_force
from atoll.bus.stream import read_stream
from atoll.bus.workqueue import Delivery, WorkQueue

__all__ = [
    "Admitted",
    "Bus",
    "BusConfig",
    "Delivery",
    "Doomed",
    "Endpoint",
    "Entry",
    "KeyValue",
    "Login",
    "Message",
    "ObjectInfo",
    "ObjectStore",
    "Password",
    "PubAck",
    "Reply",
    "Service",
    "Signed",
    "Speaker",
    "StreamMessage",
    "Subscription",
    "WorkQueue",
    "bury",
    "connect",
    "ensure_bucket",
    "ensure_consumer",
    "ensure_object_bucket",
    "ensure_stream",
    "in_force",
    "last_message",
    "leaders_message",
    "login_from",
    "message_at",
    "provision",
    "publish",
    "read_stream",
    "require_jetstream",
]
