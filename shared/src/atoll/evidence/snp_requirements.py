"""Requirements on a SEV-SNP report, as a relying party lists them in JSON.

| key                                   | what passes                                          |
| measurement host_data report_data     | the field is exactly this, over its whole length     |
| family_id image_id chip_id report_id  | likewise                                             |
| report_id_ma id_key_digest            | likewise                                             |
| author_key_digest                     | likewise, and AUTHOR_KEY_EN is set unless it is zero |
| require_author_key                    | AUTHOR_KEY_EN is set                                 |
| require_id_block                      | ID_KEY_DIGEST is not zero                            |
| csp_id                                | the VLEK's certificate has this CSP_ID               |
| vmpl                                  | VMPL is this number                                  |
| min_guest_svn                         | GUEST_SVN is at least this                           |
| min_tcb min_launch_tcb                | each component named is at least this                |
| min_committed_tcb min_current_tcb     | likewise                                             |
| forbid_smt                            | PLATFORM_INFO has no SMT_EN                          |
| forbid_provisional                    | COMMITTED_TCB is CURRENT_TCB                         |
| allow_debug allow_migrate_ma          | the bit of POLICY is not refused                     |
| require_crl                           | a revocation list was checked                        |
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.comparisons import equal
from atoll.evidence.findings import Finding
from atoll.evidence.judged import known, octets
from atoll.evidence.policy import UNCHECKED, SnpPolicy, Unchecked, policy_from_json
from atoll.evidence.policy_forms import narrowed
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import PlatformInfo, ReportBody

KEYS: Final = (
    "allow_debug",
    "allow_migrate_ma",
    "author_key_digest",
    "chip_id",
    "csp_id",
    "family_id",
    "forbid_provisional",
    "forbid_smt",
    "host_data",
    "id_key_digest",
    "image_id",
    "measurement",
    "min_committed_tcb",
    "min_current_tcb",
    "min_guest_svn",
    "min_launch_tcb",
    "min_tcb",
    "report_data",
    "report_id",
    "report_id_ma",
    "require_author_key",
    "require_crl",
    "require_id_block",
    "vmpl",
)
_WITH_WHOLE_POLICY: Final = ("measurement", "report_data")


def snp_policy(requirements: Mapping[str, Any], *, product: str | None) -> SnpPolicy:
    """The policy that says the same, every field of it.

    Requirements with a key "tee" are a whole policy already, and only measurement and
    report data may stand beside its fields.

    Raises:
        InputError: `policy.invalid`.
    """
    products: frozenset[Product] | Unchecked = UNCHECKED
    if any(product == item.value for item in Product):
        products = frozenset({Product(product)})
    if "tee" in requirements:
        return _narrowed(requirements, products)
    known(requirements, *KEYS)
    vmpl = requirements.get("vmpl", UNCHECKED)
    return SnpPolicy(
        measurements=_one(requirements, "measurement"),
        minimum_tcb=_tcb(requirements, "min_tcb"),
        minimum_launch_tcb=_tcb(requirements, "min_launch_tcb"),
        minimum_committed_tcb=_tcb(requirements, "min_committed_tcb"),
        minimum_current_tcb=_tcb(requirements, "min_current_tcb"),
        minimum_current_version=UNCHECKED,
        minimum_committed_version=UNCHECKED,
        minimum_current_build=UNCHECKED,
        minimum_committed_build=UNCHECKED,
        allow_provisional_firmware=not _flag(requirements, "forbid_provisional"),
        products=products,
        steppings=UNCHECKED,
        signers=UNCHECKED,
        csp_ids=_text(requirements, "csp_id"),
        minimum_report_version=UNCHECKED,
        vmpls=UNCHECKED if vmpl is UNCHECKED else frozenset({vmpl}),
        allow_debug=_flag(requirements, "allow_debug"),
        allow_migrate_ma=_flag(requirements, "allow_migrate_ma"),
        allow_smt=True,
        guest_policy_required=UNCHECKED,
        guest_policy_forbidden=UNCHECKED,
        minimum_guest_abi=UNCHECKED,
        host_data=_exact(requirements, "host_data"),
        require_id_block=_flag(requirements, "require_id_block"),
        id_key_digests=_one(requirements, "id_key_digest"),
        require_author_key=_flag(requirements, "require_author_key"),
        author_key_digests=UNCHECKED
        if _no_author(requirements)
        else _one(requirements, "author_key_digest"),
        family_id=_exact(requirements, "family_id"),
        image_id=_exact(requirements, "image_id"),
        chip_ids=_one(requirements, "chip_id"),
        report_ids=_one(requirements, "report_id"),
        report_id_mas=_one(requirements, "report_id_ma"),
        minimum_guest_svn=requirements.get("min_guest_svn", UNCHECKED),
        platform_info_required=UNCHECKED,
        platform_info_forbidden=PlatformInfo.SMT_EN
        if _flag(requirements, "forbid_smt")
        else UNCHECKED,
        launch_mitigations_required=UNCHECKED,
        current_mitigations_required=UNCHECKED,
        require_crl=_flag(requirements, "require_crl"),
    )


def more_findings(requirements: Mapping[str, Any], body: ReportBody) -> Iterator[Finding]:
    """What the requirements say that `SnpPolicy` has no field for."""
    yield equal(
        "snp.report_data", "REPORT_DATA", _exact(requirements, "report_data"), body.report_data
    )
    if _no_author(requirements):
        digest = _exact(requirements, "author_key_digest")
        yield equal("snp.no_author_key", "AUTHOR_KEY_DIGEST", digest, body.author_key_digest)


def _narrowed(policy: Mapping[str, Any], products: frozenset[Product] | Unchecked) -> SnpPolicy:
    own = {key: value for key, value in policy.items() if key not in _WITH_WHOLE_POLICY}
    whole = policy_from_json(canonical.dumps(own))
    measurements = _one(policy, "measurement")
    return replace(
        whole,
        measurements=narrowed(whole.measurements, measurements),
        products=narrowed(whole.products, products),
    )


def _one(requirements: Mapping[str, Any], key: str) -> frozenset[bytes] | Unchecked:
    value = octets(requirements, key)
    return UNCHECKED if value is None else frozenset({value})


def _exact(requirements: Mapping[str, Any], key: str) -> bytes | Unchecked:
    value = octets(requirements, key)
    return UNCHECKED if value is None else value


def _text(requirements: Mapping[str, Any], key: str) -> frozenset[str] | Unchecked:
    if key not in requirements:
        return UNCHECKED
    value = requirements[key]
    if not isinstance(value, str):
        raise InputError(f"policy.{key} is not text", code="policy.invalid")
    return frozenset({value})


def _no_author(requirements: Mapping[str, Any]) -> bool:
    value = octets(requirements, "author_key_digest")
    return value is not None and not any(value)


def _flag(requirements: Mapping[str, Any], key: str) -> bool:
    value = requirements.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"policy.{key} is not true or false", code="policy.invalid")
    return value


def _tcb(requirements: Mapping[str, Any], key: str) -> TcbVersion | Unchecked:
    if key not in requirements:
        return UNCHECKED
    parts = requirements[key]
    names = ("fmc", "bootloader", "tee", "snp", "microcode")
    legal = isinstance(parts, dict) and parts and parts.keys() <= set(names)
    if not legal or not all(type(value) is int for value in parts.values()):
        raise InputError(f"policy.{key} is not numbers of {names}", code="policy.invalid")
    try:
        return TcbVersion(**{name: parts.get(name, 0) for name in names})
    except ValueError as error:
        raise InputError(f"policy.{key}: {error}", code="policy.invalid") from error
