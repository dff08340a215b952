"""Evidence of a virtual TPM says everywhere whose the TPM is."""

from pathlib import Path

import pytest

from atoll.client.files import write_private
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.vtpm.policy import vtpm_policy_to_json
from atoll.wire.messages import Tee
from atoll_cli import show
from atoll_cli.advice import advice
from atoll_cli.commands.status import Status
from atoll_cli.explanations import sentence
from atoll_cli.trust import appraiser_for
from support import vtpm
from support.evidence import MANIFEST, NONCE, NOW


def test_the_verdict_says_so() -> None:
    found = appraise_document(
        documents.encode(vtpm.document()),
        trust=vtpm.trust(),
        policy=vtpm.policy(),
        manifest_digest=MANIFEST,
        nonce=NONCE,
        now=NOW,
    )
    (head, *rest) = show.appraisal_lines(found)

    assert head.startswith("PASS: vtpm, VTPM OF THE HOST; ")
    assert any("vtpm.host_tpm" in line for line in rest)


def test_a_policy_and_an_authority_may_be_given_as_files(tmp_path: Path) -> None:
    write_private(tmp_path / "root.pem", vtpm.authority().certificate_pem)
    write_private(tmp_path / "policy.json", vtpm_policy_to_json(vtpm.policy()))

    found = appraiser_for(
        tmp_path, root=tmp_path / "root.pem", policy=tmp_path / "policy.json"
    ).appraise(documents.encode(vtpm.document()), manifest_digest=MANIFEST, now=NOW)

    assert (found.passed, found.simulated) == (True, True)


@pytest.mark.parametrize(
    ("tee", "marked", "host_tpm"),
    [(Tee.SEV_SNP, False, False), (Tee.SIMULATED, True, False), (Tee.VTPM, True, True)],
)
def test_a_deployment_says_it_of_its_kind(*, tee: Tee, marked: bool, host_tpm: bool) -> None:
    found = Status(bus="x", server="x", tee=tee, services=None, hosts=None, jobs=None)

    assert (found.simulated, found.host_tpm) == (marked, host_tpm)


def test_every_check_has_a_question() -> None:
    names = ("report", "log", "chain", "signature", "registers", "replay", "host_tpm", "host")
    more = ("firmware", "kernel", "boot", "pcrs", "secure_boot", "pcr.7")

    assert not [name for name in names + more if sentence(f"vtpm.{name}").startswith("Does this")]
    found = vtpm.policy(allow_host_tpm=False)
    refused = appraise_document(
        documents.encode(vtpm.document()),
        trust=vtpm.trust(),
        policy=found,
        manifest_digest=MANIFEST,
        nonce=NONCE,
        now=NOW,
    )
    assert "allow_host_tpm" in advice(refused.finding("vtpm.host_tpm"))
