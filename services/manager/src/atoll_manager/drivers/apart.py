"""Bodies that share nothing with their host but a channel: no files, no network, no engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from atoll.wire.messages import Tee
from atoll.wire.placement import Needs, plain, size_of
from atoll_manager.drivers.bodies import NoPart
from atoll_manager.drivers.driver import EnclaveSpec

BUS_PORT: Final = 4222
EGRESS_SETTING: Final = "ATOLL_AGENT_EGRESS"


class Apart(NoPart):
    """The driver's part in such a body."""

    def settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Without files and engines of the host: the body has none of them."""
        told = {name: text for name, text in settings.items() if name.startswith("ATOLL_AGENT_")}
        told.pop("ATOLL_AGENT_DOCKER_HOST", None)
        told.pop(EGRESS_SETTING, None)  # its keeper holds it to that
        if (path := told.pop("ATOLL_AGENT_NATS_CA_FILE", None)) is not None:
            told["ATOLL_AGENT_NATS_CA"] = Path(path).read_text("ascii")
        return told


def servers(url: str) -> list[list[Any]]:
    """Host and port of each server of the bus."""
    parts = [urlsplit(each.strip()) for each in url.split(",")]
    return [[part.hostname or "", part.port or BUS_PORT] for part in parts]


def egress_of(settings: Mapping[str, str]) -> list[str]:
    """Where the keeper lets such a body connect to."""
    return [rule for rule in settings.get(EGRESS_SETTING, "").split(",") if rule]


def needs_of(spec: EnclaveSpec, tee: Tee) -> Needs:
    """What an enclave's job needs. Those that are started in advance are for plain jobs."""
    return plain(tee).needs if spec.claim is None else size_of(spec.claim.subject)
