"""An agent that is started without what it would make evidence with."""

import subprocess
import sys

import pytest

from unit.agent.test_config import ENV


@pytest.mark.parametrize(("tee", "code"), [("simulated", "tee.missing"), ("sgx", "tee.unknown")])
def test_it_ends_with_the_status_of_settings_and_says_why(tee: str, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atoll_agent.main"],
        check=False,
        capture_output=True,
        text=True,
        env={**ENV, "ATOLL_AGENT_TEE": tee},
    )
    assert done.returncode == 2
    assert f"({code})" in done.stderr
    assert "Traceback" not in done.stderr
