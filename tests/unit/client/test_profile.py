"""The profile of a stack: what is written is read, and what is damaged is refused."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.client.appraisal import Appraiser
from atoll.client.profile import MAX_FILE, Profile, ProfileFile
from atoll.errors import ConfigError, InputError, NotFoundError
from atoll.evidence.findings import Verdict
from atoll.evidence.policy import policy_to_json
from atoll.wire.messages import Tee
from support.evidence import MANIFEST, NOW, chain, document, policy

PROFILE = Profile(
    nats_url="nats://127.0.0.1:4222",
    nats_creds="marker one",
    http_token="marker two",
    tee=Tee.SIMULATED,
    policy=policy_to_json(policy()).decode(),
    development_root=chain().ark_pem.decode(),
)


def damaged(home: Path, content: bytes) -> ConfigError:
    file = ProfileFile(home)
    file.save(PROFILE).path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        file.load()
    return caught.value


def test_a_profile_is_kept_privately_and_read_again(tmp_path: Path) -> None:
    file = ProfileFile(tmp_path / "home").save(PROFILE)
    assert file.load() == PROFILE
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "marker" not in repr(PROFILE)


def test_without_a_profile_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        ProfileFile(tmp_path).load()
    assert caught.value.code == "profile.missing"
    assert caught.value.hint is not None


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[" * 100_000, bytes(MAX_FILE + 1)])
def test_a_damaged_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    assert damaged(tmp_path, content).code == "profile.invalid"


def plain(**changes: Any) -> bytes:
    known = {
        "format": "atoll-profile/v2",
        "nats_url": "nats://x",
        "nats_creds": "p",
        "tee": "simulated",
        "policy": "{}",
    }
    return json.dumps({**known, **changes}).encode()


def test_an_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    error = damaged(tmp_path, plain(surprise=1))
    assert error.code == "profile.invalid"
    assert "surprise" in error.message


def test_another_version_is_told_as_such_whatever_else_it_holds(tmp_path: Path) -> None:
    error = damaged(tmp_path, plain(format="atoll-profile/v1", surprise=1))
    assert error.code == "profile.version"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=100))
def test_arbitrary_bytes_are_refused(tmp_path: Path, raw: bytes) -> None:
    assert damaged(tmp_path, raw).code == "profile.invalid"


def test_evidence_is_appraised_under_the_profile_s_own_trust_and_policy() -> None:
    from atoll.evidence import document as documents

    raw = documents.encode(document())
    trusting = Appraiser.from_profile(PROFILE)
    assert trusting.appraise(raw, manifest_digest=MANIFEST, now=NOW).verdict is Verdict.PASS
    assert trusting.appraise(raw, manifest_digest=bytes(32), now=NOW).verdict is Verdict.FAIL
    wary = Appraiser.from_profile(replace(PROFILE, development_root=""))
    assert wary.appraise(raw, manifest_digest=MANIFEST, now=NOW).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"policy": "{}"}, "policy.invalid"), ({"development_root": "x"}, "trust.development_root")],
)
def test_a_profile_that_cannot_be_appraised_under_is_refused(
    changes: dict[str, str], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        Appraiser.from_profile(replace(PROFILE, **changes))  # type: ignore[arg-type]
    assert caught.value.code == code
