"""Every subject on the bus, written once as a template.

What a caller publishes to, what a service subscribes to and how a received subject
is read back all come from the template.
"""

import re
from dataclasses import dataclass
from typing import Final

from atoll.errors import InputError
from atoll.wire import names

_PLACEHOLDER: Final = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject with placeholders, each standing for exactly one token."""

    template: str

    def of(self, *tokens: str) -> str:
        """Fill the placeholders in order; a token can never smuggle in `.`, `*` or `>`.

        Raises:
            InputError: `name.invalid`, or the wrong number of tokens.
        """
        if len(tokens) != len(_PLACEHOLDER.findall(self.template)):
            raise InputError(f"{self.template}: got {len(tokens)} tokens", code="name.invalid")
        values = iter([names.require_token(token, "subject token") for token in tokens])
        return _PLACEHOLDER.sub(lambda _: next(values), self.template)

    def under(self, *tokens: str | None) -> str:
        """A filter: the first placeholders filled, the others, and None, any token.

        Raises:
            InputError: `name.invalid`, or more tokens than placeholders.
        """
        if len(tokens) > len(_PLACEHOLDER.findall(self.template)):
            raise InputError(f"{self.template}: got {len(tokens)} tokens", code="name.invalid")
        values = iter(
            ["*" if each is None else names.require_token(each, "subject token") for each in tokens]
        )
        return _PLACEHOLDER.sub(lambda _: next(values, "*"), self.template)

    @property
    def wildcard(self) -> str:
        """The filter that matches every subject of this template."""
        return _PLACEHOLDER.sub("*", self.template)

    def read(self, subject: str) -> tuple[str, ...]:
        """The inverse of `of`.

        Raises:
            InputError: `name.invalid`.
        """
        literal = map(re.escape, _PLACEHOLDER.split(self.template))
        pattern = f"({names.TOKEN})".join(literal)
        match = re.fullmatch(pattern, subject)
        if match is None:
            raise InputError(f"{subject[:80]!r} is not {self.template}", code="name.invalid")
        return match.groups()


_OURS: Final = "atoll.v1."


def of_tenants(subject: Subject) -> Subject:
    """How a tenant's `subject` arrives at the services: with the tenant in it, by the bus's word.

    A client has the plain form, in the account of its tenant; that account's import puts the
    tenant in (`atoll.wire.tenancy`), and nobody else can publish there.
    """
    return Subject(f"{_OURS}tenant.{{tenant}}.{subject.template.removeprefix(_OURS)}")


JOBS_SUBMIT: Final = Subject("atoll.v1.jobs.submit")
JOBS_GET: Final = Subject("atoll.v1.jobs.get")
JOBS_LIST: Final = Subject("atoll.v1.jobs.list")
JOBS_CANCEL: Final = Subject("atoll.v1.jobs.cancel")
JOBS_WITHDRAW: Final = Subject("atoll.v1.jobs.withdraw")
JOBS_MANIFEST: Final = Subject("atoll.v1.jobs.manifest")
JOBS_EVIDENCE: Final = Subject("atoll.v1.jobs.evidence")
JOBS_RELEASE: Final = Subject("atoll.v1.jobs.release")
JOBS_OUTCOME: Final = Subject("atoll.v1.jobs.outcome")
RESULTS_GET: Final = Subject("atoll.v1.results.get")
RESULTS_CHUNK: Final = Subject("atoll.v1.results.chunk")
ASSETS_GET: Final = Subject("atoll.v1.assets.get")
ASSETS_STORED: Final = Subject("atoll.v1.assets.stored")
ASSETS_PUT: Final = Subject("atoll.v1.assets.put")
ASSETS_ERASE: Final = Subject("atoll.v1.assets.erase")
HOSTS_ORDER: Final = Subject("atoll.v1.hosts.order")

TOKENS_CREATE: Final = Subject("atoll.v1.tokens.create")
TOKENS_LIST: Final = Subject("atoll.v1.tokens.list")
TOKENS_GET: Final = Subject("atoll.v1.tokens.get")
TOKENS_REVOKE: Final = Subject("atoll.v1.tokens.revoke")
INTAKE: Final = Subject("atoll.v1.intake.{idempotency_key}")
"""Submissions of publishers that wait for no answer; the gateways work them off."""

WEBHOOKS_ADD: Final = Subject("atoll.v1.webhooks.add")
WEBHOOKS_LIST: Final = Subject("atoll.v1.webhooks.list")
WEBHOOKS_GET: Final = Subject("atoll.v1.webhooks.get")
WEBHOOKS_REMOVE: Final = Subject("atoll.v1.webhooks.remove")
WEBHOOKS_TEST: Final = Subject("atoll.v1.webhooks.test")
DELIVERY: Final = Subject("atoll.v1.delivery.{webhook_id}")
"""Events to be posted to webhooks; the gateways work them off."""

ATTEST_NONCE: Final = Subject("atoll.v1.attest.nonce")
ATTEST_APPRAISE: Final = Subject("atoll.v1.attest.appraise")
ATTEST_ADMIT: Final = Subject("atoll.v1.attest.admit")
ATTEST_REVOKE: Final = Subject("atoll.v1.attest.revoke")
ATTEST_REINSTATE: Final = Subject("atoll.v1.attest.reinstate")
ATTEST_REVOCATIONS: Final = Subject("atoll.v1.attest.revocations")
ATTEST_KEYS: Final = Subject("atoll.v1.attest.keys")
ATTEST_ACTIVATE: Final = Subject("atoll.v1.attest.activate")
ATTEST_VERIFY: Final = Subject("atoll.v1.attest.verify")
APPRAISAL: Final = Subject("atoll.v1.appraisal.{role}")
"""Kept appraisals: `enforce` decided; `shadow` and `warn` are what a policy on trial said;
`verify` is what a policy of the request's own said."""

SPAWN: Final = Subject("atoll.v1.spawn.{tee}")
"""Enclaves wanted; managers pull when they have capacity."""
SPAWN_CLASS: Final = Subject("atoll.v1.spawn.{tee}.{size}.{rest}")
"""Likewise, for jobs that need more of a host (`atoll.wire.placement`)."""

ASSIGN: Final = Subject("atoll.v1.enclave.{enclave_id}.assign")
RELEASE: Final = Subject("atoll.v1.enclave.{enclave_id}.release")

REPORT: Final = Subject("atoll.v1.report.{job_id}")
"""What managers and agents tell the ledger; the gateways work it off."""

EVENT: Final = Subject("atoll.v1.event.{entity}.{entity_id}.{type}")
"""An event in its tenant's own history."""
HISTORY: Final = Subject("atoll.v1.event.{tenant}.{entity}.{entity_id}.{type}")
"""The same among those of all tenants."""
GUEST: Final = Subject("atoll.v1.guest.{tenant}.{entity}.{entity_id}.{type}")
"""A copy for a tenant that takes part in another's job."""
TELEMETRY_TRACES: Final = Subject("atoll.v1.telemetry.traces.{trace_id}")
AUDIT: Final = Subject("atoll.v1.audit.{tenant}.{action}")
"""Who did what (`atoll.audit`)."""
DEAD: Final = Subject("atoll.v1.dead.{stream}.{sequence}")
"""What nobody could process: the queue it was in and its number there."""

LETTERS_LIST: Final = Subject("atoll.v1.letters.list")
LETTERS_SHOW: Final = Subject("atoll.v1.letters.show")
LETTERS_REDRIVE: Final = Subject("atoll.v1.letters.redrive")
LETTERS_DROP: Final = Subject("atoll.v1.letters.drop")

EXHAUSTED: Final = Subject("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.{consumer}")
TERMINATED: Final = Subject("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.{consumer}")
"""The server's own word that it will not deliver a message again."""
