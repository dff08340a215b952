"""What libvirt refuses, as our errors."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from atoll.errors import AtollError, ConflictError, NotFoundError, RefusedError, UnreachableError

T = TypeVar("T")

MAX_WORDS: Final = 500
"""QEMU's last lines are part of libvirt's words; the first are the reason."""


def translated(binding: Any, connection: Any, work: Callable[[Any], T]) -> T:
    """`work(connection)`.

    Raises:
        UnreachableError: `libvirt.lost`.
        ConflictError: `libvirt.duplicate`: a domain has this name.
        NotFoundError: `libvirt.no_domain`.
        RefusedError: `libvirt.refused`, with libvirt's words.
    """
    try:
        return work(connection)
    except binding.libvirtError as error:
        raise _translate(binding, connection, error) from error


def words(error: Any) -> str:
    """What libvirt says, as one line."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_WORDS]


def _translate(binding: Any, connection: Any, error: Any) -> AtollError:
    code = error.get_error_code()
    said = words(error)
    if code == binding.VIR_ERR_NO_DOMAIN:
        return NotFoundError(f"libvirt: {said}", code="libvirt.no_domain")
    # libvirt has no code for it (virDomainObjListAddLocked).
    if code == binding.VIR_ERR_OPERATION_FAILED and "already exists with uuid" in said:
        return ConflictError(f"libvirt: {said}", code="libvirt.duplicate")
    if code in {binding.VIR_ERR_OPERATION_INVALID, binding.VIR_ERR_OPERATION_FAILED} and (
        "already active" in said
    ):
        return ConflictError(f"libvirt: {said}", code="libvirt.duplicate")
    if not _alive(binding, connection):
        return UnreachableError(f"libvirt went away: {said}", code="libvirt.lost")
    return RefusedError(f"libvirt: {said}", code="libvirt.refused")


def _alive(binding: Any, connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except binding.libvirtError:
        return False
