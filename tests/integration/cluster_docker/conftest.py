"""Fixtures for everything under `cluster_docker`."""

from support.dockerd import dockerd

__all__ = ["dockerd"]
