"""The policy of a stack accepts its own enclaves."""

from pathlib import Path

import pytest

from atoll.errors import ConfigError
from atoll.evidence.policy import policy_from_json
from atoll.measure.container import measure_container
from atoll.wire.tee import Tee
from atoll_cli.stack.enclaves import Enclaves

IMAGE = "sha256:" + "ab" * 32


def test_containers_are_measured_by_their_image() -> None:
    policy = policy_from_json(Enclaves(driver="docker", image=IMAGE).policy())
    assert policy.measurements == frozenset({measure_container(IMAGE)})
    other = policy_from_json(Enclaves().policy())
    assert other.measurements != policy.measurements
    assert other.products == policy.products


@pytest.mark.parametrize("tee", [Tee.SIMULATED, Tee.VTPM])
def test_a_folder_without_an_image_is_named(tmp_path: Path, tee: Tee) -> None:
    with pytest.raises(ConfigError) as caught:
        Enclaves(driver="libvirt", image=str(tmp_path), tee=tee).policy()
    assert caught.value.code == "image.missing"
    assert str(tmp_path) in caught.value.message
