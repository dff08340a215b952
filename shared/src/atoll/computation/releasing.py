"""What a headless releaser says yes to: a data owner's rules for its own assets. Pure.

A release policy is canonical JSON:

    {"format": "atoll-release-policy", "version": 1, "rules": [RULE, ...]}

A rule is about some assets and has every field; `"unchecked"` is written out, absence refuses.

| field            | value                                                                  |
| assets           | asset ids, or "any" of the owner's                                     |
| manifests        | digests of manifests that were agreed on by people, or "unchecked"     |
| algorithms       | SHA-256 of programs that may see the data, or "unchecked"; then every  |
|                  | step of the computation must be of a program with such a public digest |
| kinds            | kinds of workload, or "unchecked"                                      |
| consumers        | signing keys of those who may get results, in hex, or "unchecked"      |
| parties          | signing keys of those who may be party to it at all, or "unchecked"    |
| max_output_bytes | of all outputs together, or "unchecked"                                |
| media_types      | every output must be limited to some of these, or "unchecked"          |
| max_wall_s       | of all steps together, or "unchecked"                                  |
| allow_network    | true or false                                                          |
| tees             | kinds of enclave, or "unchecked"                                       |
| not_after        | seconds since 1970, or "unchecked"                                     |
| max_uses         | how many jobs may get the key under this rule, or "unchecked"          |

Keys are released if one rule allows it for every asset of the owner's in the manifest. The
enclave's evidence is judged apart, by the owner's appraisal policy: no rule can stand in for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.computation.assets import AssetId, AssetRef
from atoll.computation.manifest import Manifest
from atoll.computation.media import MediaType
from atoll.computation.network import NetworkMode
from atoll.computation.steps import WorkloadKind
from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.messages import Tee
from atoll.wire.schema import Digest, Pattern, Range, Size, message

FORMAT: Final = "atoll-release-policy"
VERSION: Final = 1
MAX_POLICY: Final = 1 << 20
MAX_RULES: Final = 256
UNCHECKED: Final = "unchecked"
ANY: Final = "any"

_MAX: Final = 1 << 53
KeyHex = Annotated[str, Pattern(r"(?:[0-9a-f]{2}){32,1024}")]


@message
class Rule:
    """A rule with a value in every field; `None` stands for "unchecked" or "any"."""

    assets: Annotated[tuple[AssetId, ...], Size(1, 4096)] | None
    manifests: Annotated[tuple[Digest, ...], Size(0, 4096)] | None
    algorithms: Annotated[tuple[Digest, ...], Size(0, 4096)] | None
    kinds: Annotated[tuple[WorkloadKind, ...], Size(0, 8)] | None
    consumers: Annotated[tuple[KeyHex, ...], Size(0, 256)] | None
    parties: Annotated[tuple[KeyHex, ...], Size(0, 256)] | None
    max_output_bytes: Annotated[int, Range(0, _MAX)] | None
    media_types: Annotated[tuple[MediaType, ...], Size(0, 8)] | None
    max_wall_s: Annotated[int, Range(0, _MAX)] | None
    allow_network: bool
    tees: Annotated[tuple[Tee, ...], Size(0, 8)] | None
    not_after: Annotated[int, Range(0, _MAX)] | None
    max_uses: Annotated[int, Range(0, _MAX)] | None


FIELDS: Final = tuple(Rule.__dataclass_fields__)
_WORDS: Final = {name: ANY if name == "assets" else UNCHECKED for name in FIELDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a rule does not allow a release: the field, what it wants, and what there is."""

    field: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy says about one asset. Without a refusal it may be released."""

    asset: str
    rule: int | None
    """The number of the rule that allows it, or that comes closest; None: none is about it."""
    refusals: tuple[Refusal, ...]

    @property
    def released(self) -> bool:
        """Whether the key may go out."""
        return self.rule is not None and not self.refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """Some rules. None of them: nothing is released."""

    rules: tuple[Rule, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read JSON, in whatever form a person wrote it.

        Raises:
            InputError: `release_policy.invalid`, `json.malformed`.
        """
        if len(raw) > MAX_POLICY:
            raise _invalid(f"is {len(raw)} bytes, at most {MAX_POLICY}")
        value = canonical.parse(raw)
        if not isinstance(value, dict) or value.keys() != {"format", "version", "rules"}:
            raise _invalid("has not exactly format, version and rules")
        if value["format"] != FORMAT or value["version"] is True or value["version"] != VERSION:
            raise _invalid(f"is not of the format {FORMAT!r}, version {VERSION}")
        rules = value["rules"]
        if not isinstance(rules, list) or len(rules) > MAX_RULES:
            raise _invalid(f"has no list of at most {MAX_RULES} rules")
        return cls(rules=tuple(_rule(number, one) for number, one in enumerate(rules)))

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        rules = [
            {
                name: _WORDS[name] if value is None else value
                for name, value in schema.to_plain(rule, json=True).items()
            }
            for rule in self.rules
        ]
        return canonical.dumps({"format": FORMAT, "version": VERSION, "rules": rules})

    def decide(
        self,
        manifest: Manifest,
        manifest_digest: bytes,
        party: str,
        *,
        now_s: int,
        uses: Mapping[tuple[int, str], int],
    ) -> tuple[Decision, ...]:
        """What becomes of each asset that this party would have to release, by name.

        Args:
            manifest: what the parties agreed on.
            manifest_digest: its own.
            party: whose policy this is.
            now_s: seconds since 1970.
            uses: how many jobs got a key under a rule already, by the rule's number and the
                asset's id.
        """
        found = []
        for name, asset in sorted(manifest.assets_of(party).items()):
            closest = Decision(asset=name, rule=None, refusals=())
            for number, rule in enumerate(self.rules):
                if rule.assets is not None and asset.asset_id not in rule.assets:
                    continue
                used = uses.get((number, asset.asset_id), 0)
                refusals = _refusals(rule, manifest, manifest_digest, party, now_s=now_s, used=used)
                if closest.rule is None or len(refusals) < len(closest.refusals):
                    closest = Decision(asset=name, rule=number, refusals=refusals)
            found.append(closest)
        return tuple(found)


def _rule(number: int, value: Any) -> Rule:
    if not isinstance(value, dict) or value.keys() != set(FIELDS):
        raise _invalid(f"rule {number} has not exactly {', '.join(FIELDS)}")
    plain = {
        name: None if isinstance(item, str) and item == _WORDS[name] else item
        for name, item in value.items()
    }
    null = next((name for name, item in value.items() if item is None), None)
    if null is not None:
        raise _invalid(f"rule {number}: {null} is null; write {_WORDS[null]!r} if that is meant")
    try:
        return schema.from_plain(Rule, plain, json=True)
    except InputError as error:
        raise _invalid(f"rule {number}: {error.message}") from error


def _refusals(
    rule: Rule,
    manifest: Manifest,
    manifest_digest: bytes,
    party: str,
    *,
    now_s: int,
    used: int,
) -> tuple[Refusal, ...]:
    """Every field of the rule that the manifest breaks."""
    others = {name: one for name, one in manifest.parties.items() if name != party}
    consumers = {name for output in manifest.outputs.values() for name in output.consumers}
    programs = {f"step {step.name}": _public_digest(step.algorithm) for step in manifest.steps}
    programs |= {
        f"bundle of step {step.name}": _public_digest(step.bundle)
        for step in manifest.steps
        if step.bundle is not None
    }
    checks = (
        _among("manifests", rule.manifests, {"manifest": manifest_digest.hex()}),
        _among("algorithms", rule.algorithms, programs),
        _among("kinds", _values(rule.kinds), {s.name: s.kind.value for s in manifest.steps}),
        _among("consumers", rule.consumers, {n: _key(manifest, n) for n in consumers - {party}}),
        _among("parties", rule.parties, {n: _key(manifest, n) for n in others}),
        _at_most(
            "max_output_bytes",
            rule.max_output_bytes,
            sum(output.max_bytes * len(output.consumers) for output in manifest.outputs.values()),
        ),
        _among("media_types", rule.media_types, _media_types(manifest)),
        _at_most("max_wall_s", rule.max_wall_s, sum(step.limits.wall_s for step in manifest.steps)),
        _network(rule, manifest),
        _among("tees", _values(rule.tees), {"tee": manifest.tee.kind.value}),
        _at_most("not_after", rule.not_after, now_s),
        _at_most("max_uses", rule.max_uses, used + 1),
    )
    return tuple(check for check in checks if check is not None)


def _media_types(manifest: Manifest) -> dict[str, str]:
    """Each type that an output may have; an output without a list may have any."""
    found = {}
    for name, output in manifest.outputs.items():
        for number, media_type in enumerate(output.media_types or ("any",)):
            found[f"output {name} {number}"] = media_type
    return found


def _public_digest(asset: AssetRef) -> str:
    return asset.sha256 or "no public digest"


def _key(manifest: Manifest, name: str) -> str:
    return manifest.parties[name].signing_key.hex()


def _values(members: tuple[Any, ...] | None) -> tuple[str, ...] | None:
    return None if members is None else tuple(member.value for member in members)


def _network(rule: Rule, manifest: Manifest) -> Refusal | None:
    if rule.allow_network or manifest.network.mode is NetworkMode.NONE:
        return None
    return Refusal(field="allow_network", expected="no network", actual="an allow-list")


def _among(name: str, allowed: tuple[str, ...] | None, found: Mapping[str, str]) -> Refusal | None:
    if allowed is None:
        return None
    for what, value in sorted(found.items()):
        if value not in allowed:
            return Refusal(field=name, expected=f"one of {len(allowed)}", actual=f"{what}: {value}")
    return None


def _at_most(name: str, high: int | None, found: int) -> Refusal | None:
    if high is None or found <= high:
        return None
    return Refusal(field=name, expected=f"at most {high}", actual=str(found))


def _invalid(why: str) -> InputError:
    return InputError(f"release policy {why}", code="release_policy.invalid")
