"""Erases what enclaves that were killed left in memory-only storage."""

import logging
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from atoll.enclave_storage import MEMORY_ROOT, PREFIX, erase, workspace_path

_log = logging.getLogger(__name__)

REAP_TRIES: Final = 20
REAP_PAUSE_S = 0.05


def reap_workspace(enclave_id: str) -> None:
    """Erase what an enclave that was killed left in memory-only storage.

    Its guest dies with it, but may for a moment still add to the tree while we take it
    away; hence several tries. What cannot be erased at all is logged: it is not ours.
    Blocks; for a thread.
    """
    path = workspace_path(enclave_id)
    for _ in range(REAP_TRIES):
        try:
            erase(path)
        except OSError as error:
            failure = error
            time.sleep(REAP_PAUSE_S)
        else:
            return
    _log.error("%s could not be erased: %s", path, failure.strerror)


def left_behind(
    beginning: str, keep: AbstractSet[str], *, root: Path = MEMORY_ROOT
) -> tuple[str, ...]:
    """The enclaves whose ids begin so, which have a workspace and are not to keep one."""
    wanted = f"{PREFIX}{beginning}"
    ids = (path.name.removeprefix(PREFIX) for path in root.glob(f"{wanted}*"))
    return tuple(sorted(name for name in ids if name not in keep))
