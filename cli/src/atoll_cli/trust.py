"""Under which trust and policy evidence is judged: files that were named, else the profile."""

from pathlib import Path
from typing import Final

from atoll import canonical
from atoll.client.appraisal import Appraiser, trust_store
from atoll.client.files import read_private
from atoll.client.profile import ProfileFile
from atoll.errors import InputError, NotFoundError
from atoll.evidence.policy_forms import MAX_POLICY
from atoll.policy.sections import read_policy

MAX_ROOT: Final = 16 << 10


def appraiser_for(home: Path, *, root: Path | None, policy: Path | None) -> Appraiser:
    """The appraiser for `--root` and `--policy`; each that is not given
    comes from the profile, if there is one.

    AMD's roots are always trusted. Without a policy nothing is accepted: a genuine
    signature says only that some enclave signed, not that it ran code anyone knows.

    Raises:
        InputError: `policy.missing`: no policy was given and there is no profile;
            `policy.invalid`.
        ConfigError: `profile.invalid`: a root that is no certificate, or a broken profile.
    """
    root_pem = read_private(root, limit=MAX_ROOT) if root else None
    policy_json = _policy_text(policy) if policy else None
    if root_pem is None or policy_json is None:
        try:
            profile = ProfileFile(home).load()
        except NotFoundError as error:
            if policy_json is None:
                raise InputError(
                    "there is no policy to judge the enclave by, and a signature alone does not "
                    "say which code ran",
                    code="policy.missing",
                    hint="give --policy FILE (and --root PEM for a simulated TEE), or set "
                    "ATOLL_HOME to where a profile is",
                ) from error
        else:
            policy_json = policy_json or profile.policy.encode()
            root_pem = root_pem or profile.development_root.encode()
    return Appraiser(trust=trust_store(root_pem or b""), policy=read_policy(policy_json))


def _policy_text(path: Path) -> bytes:
    """The canonical form of a policy that a person may have written with spaces and lines."""
    try:
        value = canonical.parse(read_private(path, limit=MAX_POLICY))
    except InputError as error:
        raise InputError(f"{path} is {error.message}", code="policy.invalid") from error
    return canonical.dumps(value)
