"""Fixtures for everything under `e2e`.

command_stack   `atoll up` and the `atoll` command beside it
stack           the same seen from inside: processes, logins, clients on its bus
"""

from support.command import command_stack
from support.stack import stack

__all__ = ["command_stack", "stack"]
