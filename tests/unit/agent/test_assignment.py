"""An enclave takes only the work that its evidence was made for."""

from dataclasses import replace
from typing import Any

import pytest

from atoll.client.compose import agree
from atoll.computation.manifest import digest
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.steps import WorkloadKind
from atoll.errors import ManifestError, RefusedError
from atoll.wire.messages import AgreedManifest, Assignment
from atoll_agent.assignment import Task, accept
from unit.agent import given

ASSETS = given.assets(iris=b"data")
AGREED = given.agreed(ASSETS)
DIGEST = digest(AGREED.manifest)
ASSIGNMENT = Assignment(job_id=given.JOB, attempt=1, enclave_id="e1", agreed=AGREED)


def accepted(assignment: Assignment = ASSIGNMENT, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "enclave_id": "e1",
        "job_id": given.JOB,
        "attempt": 1,
        "manifest_digest": DIGEST,
        "evidence_digest": bytes(32),
        "now_ms": given.NOW_MS,
    }
    return accept(assignment, **{**fields, **changes})


def test_the_assignment_that_was_attested_to_is_taken() -> None:
    task = accepted()
    assert task.manifest_digest == DIGEST
    assert set(task.manifest.assets()) == {given.ALGORITHM, given.INVOCATION, "iris"}


@pytest.mark.parametrize("field", [{"enclave_id": "e2"}, {"job_id": "job-2"}, {"attempt": 2}])
def test_an_assignment_for_somebody_else_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        accepted(replace(ASSIGNMENT, **field))
    assert caught.value.code == "assignment.other"


def code(agreed: AgreedManifest, **changes: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        accepted(replace(ASSIGNMENT, agreed=agreed), **changes)
    return caught.value.code


def test_another_manifest_than_the_attested_one_is_refused() -> None:
    assert code(AGREED, manifest_digest=bytes(32)) == "manifest.other"


def test_a_manifest_that_its_party_did_not_consent_to_is_refused() -> None:
    forged = replace(AGREED.consents[0], signature=bytes(64))
    assert code(replace(AGREED, consents=(forged,))) == "consent.signature"
    assert code(replace(AGREED, consents=())) == "consent.missing"
    assert code(AGREED, now_ms=given.LATER_MS) == "consent.expired"


def test_a_network_that_nobody_can_hold_a_workload_to_is_refused() -> None:
    allowed = Network(
        mode=NetworkMode.ALLOW, destinations=(Destination(host="example.org", port=443),)
    )
    raw = replace(given.manifest(ASSETS), network=allowed).to_bytes()
    agreed = agree(raw, given.OWNER, expires_ms=given.LATER_MS)
    with pytest.raises(RefusedError) as caught:
        accepted(replace(ASSIGNMENT, agreed=agreed), manifest_digest=digest(raw))
    assert caught.value.code == "network.unsupported"
    native = replace(given.manifest(ASSETS), network=allowed)
    native = replace(native, steps=(replace(native.steps[0], kind=WorkloadKind.BINARY),))
    agreed = agree(native.to_bytes(), given.OWNER, expires_ms=given.LATER_MS)
    task = accepted(replace(ASSIGNMENT, agreed=agreed), manifest_digest=digest(native.to_bytes()))
    assert task.manifest.network == allowed


def test_a_manifest_that_is_none_is_refused_even_if_attested_to() -> None:
    raw = b"{}"
    assert code(replace(AGREED, manifest=raw), manifest_digest=digest(raw)).startswith("manifest.")


def test_a_release_must_be_bound_to_all_of_the_task() -> None:
    task = accepted()
    context = task.release_context("iris")
    ref = task.manifest.datasets["iris"].asset
    assert (context.job_id, context.attempt, context.asset_name) == (given.JOB, 1, "iris")
    assert context.asset_id.hex() == ref.asset_id
    assert context.manifest_digest == DIGEST
    assert context.provider_key == given.OWNER.signing_key
