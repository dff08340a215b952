"""The same tree in a container engine: the id that was promised, and the agent as its program."""

from pathlib import Path

import pytest

from atoll.measure.guest import DESCRIPTION_FILE, DOCKER_FILE, parse_description
from support.dockerd import Dockerd, dockerd  # noqa: F401 - a fixture
from support.guest_image import guest_image  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(900)


def test_the_archive_is_the_image_that_it_says_and_starts_the_agent(
    guest_image: Path,  # noqa: F811 - the fixture
    dockerd: Dockerd,  # noqa: F811 - the fixture
) -> None:
    said = parse_description((guest_image / DESCRIPTION_FILE).read_bytes())
    client = dockerd.client()
    try:
        with (guest_image / DOCKER_FILE).open("rb") as archive:
            list(client.load_image(archive))
        assert client.inspect_image(f"atoll-agent:{said.release}")["Id"] == (
            f"sha256:{said.docker_id}"
        )
        container = client.create_container(
            said.docker_id,
            environment={"ATOLL_AGENT_NATS_URL": "nats://127.0.0.1:1"},
            host_config=client.create_host_config(
                network_mode="none", read_only=True, cap_drop=["ALL"]
            ),
        )
        client.start(container)
        status = client.wait(container, timeout=120)["StatusCode"]
        log = client.logs(container).decode()
    finally:
        client.close()

    assert "ATOLL_AGENT_NATS_SENTINEL is required (config.missing)" in log
    assert status == 2
