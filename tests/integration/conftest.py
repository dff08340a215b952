"""Fixtures for everything under `integration`."""

from support.nats import bus, nats, nats_server

__all__ = ["bus", "nats", "nats_server"]
