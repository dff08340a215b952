"""How often a headless releaser gave a key away, so that a policy can set a limit to it.

One file of mode 0600 for each party, replaced whole and on the disk before a key leaves:

    {"format": "atoll-release-uses", "version": 1, "releases": [RELEASE, ...]}

A use is one job of one manifest, however many attempts it takes; each attempt is one enclave.
Job ids and attempts are the gateway's word, which must not stretch a limit: a second enclave for
the same attempt and attempts beyond `MAX_ATTEMPTS` get nothing, and the same job id under another
manifest is another use.

Uses are counted by rule. A rule stays the same when its `max_uses` or `not_after` changes or it
moves within the policy; any other change makes it a new one, which begins at zero.
"""

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Self

from atoll import canonical
from atoll.client.files import make_private_directory, read_private, write_private
from atoll.computation.releasing import ReleasePolicy, Rule
from atoll.errors import ConfigError, InputError, NotFoundError, RefusedError
from atoll.wire import schema
from atoll.wire.messages import Attempt
from atoll.wire.schema import Digest, Pattern, Range, Size, Timestamp, Token, message
from atoll.wire.topology import MAX_ATTEMPTS

FORMAT: Final = "atoll-release-uses"
VERSION: Final = 1
MAX_FILE: Final = 256 << 20
MAX_RELEASES: Final = 1 << 18
DIRECTORY: Final = "releases"
"""Below ATOLL_HOME."""


@message
class Use:
    """Keys that were about to go, or went, to one enclave."""

    job_id: Token
    attempt: Attempt
    manifest_digest: Digest
    evidence_digest: Digest
    assets: Annotated[dict[str, Digest], Size(0, 512)]
    """By asset id, the rule that allowed it (`rule_id`)."""
    counted_ms: Timestamp
    sent: bool = False


@message
class _File:
    # Without defaults: a file with less in it than this is no count of zero.
    format: Annotated[str, Pattern(FORMAT)]
    version: Annotated[int, Range(VERSION, VERSION)]
    releases: Annotated[tuple[Use, ...], Size(0, MAX_RELEASES)]


_HEAD: Final = b'{"format":"%s","releases":[' % FORMAT.encode()
_TAIL: Final = b'],"version":%d}\n' % VERSION
"""Round the uses, so that all of it is canonical JSON."""


def rule_id(rule: Rule) -> str:
    """What a rule is counted by: a digest of all that it says but for its limits of use."""
    same = replace(rule, max_uses=None, not_after=None)
    return hashlib.sha256(ReleasePolicy(rules=(same,)).to_bytes()).hexdigest()


@dataclass(slots=True)
class UseFile:
    """The uses of one party's keys. Use `opened`: nobody else may count at the same time."""

    path: Path
    releases: list[Use] = field(default_factory=list)
    _encoded: list[bytes] = field(default_factory=list, repr=False)
    """`releases` as they stand in the file, one by one."""

    @classmethod
    @contextmanager
    def opened(cls, home: Path, party: str) -> Iterator[Self]:
        """What was counted so far, kept from others until the block ends.

        Raises:
            ConfigError: `release.busy`: another releaser of this party runs; `release.uses`: the
                file is not readable, so that nothing may be released; `file.unwritable`.
        """
        path = home / DIRECTORY / f"{party}.json"
        with _locked(path.with_suffix(".lock"), party):
            try:
                plain = canonical.parse(read_private(path, limit=MAX_FILE))
                found = schema.from_plain(_File, plain, json=True).releases
            except NotFoundError:
                found = ()
            except InputError as error:
                raise ConfigError(
                    f"{path}: {error.message}",
                    code="release.uses",
                    hint="put a copy back, or move it away to count from zero",
                ) from error
            yield cls(path, list(found), [_encode(use) for use in found])

    def before(
        self, policy: ReleasePolicy, *, manifest_digest: str, job_id: str
    ) -> Mapping[tuple[int, str], int]:
        """For `ReleasePolicy.decide`: the other jobs that got a key under each rule."""
        own = (manifest_digest, job_id)
        jobs = {
            (rule, asset, (use.manifest_digest, use.job_id))
            for use in self.releases
            for asset, rule in use.assets.items()
        }
        counts = Counter((rule, asset) for rule, asset, job in jobs if job != own)
        ids = [rule_id(rule) for rule in policy.rules]
        return {
            (number, asset): count
            for (rule, asset), count in counts.items()
            for number, one in enumerate(ids)
            if one == rule
        }

    def count(self, use: Use) -> bool:
        """Put a use on the disk; False if its keys were sent already.

        Raises:
            RefusedError: `release.attempts`, `release.other_enclave`.
            ConfigError: `file.unwritable`; `release.uses`: there is no more room. Then nothing may
                be released.
        """
        if use.attempt > MAX_ATTEMPTS:
            raise RefusedError(
                f"attempt {use.attempt} of job {use.job_id}: a job has {MAX_ATTEMPTS}",
                code="release.attempts",
            )
        for earlier in self.releases:
            if not _same_attempt(earlier, use):
                continue
            if earlier.evidence_digest != use.evidence_digest:
                raise RefusedError(
                    f"another enclave got the keys for attempt {use.attempt} of job {use.job_id}",
                    code="release.other_enclave",
                )
            if earlier.sent:
                return False
            if earlier.assets == use.assets:
                return True
        if len(self.releases) >= MAX_RELEASES:
            raise ConfigError(
                f"{self.path} holds {MAX_RELEASES} uses, which is all it can",
                code="release.uses",
                hint="move it away to count from zero, with a policy that takes that into account",
            )
        self._write([*self.releases, use])
        return True

    def sent(self, use: Use) -> None:
        """Remember that the keys of a counted use are on their way."""
        self._write(
            [replace(one, sent=True) if _same_attempt(one, use) else one for one in self.releases]
        )

    def _write(self, releases: list[Use]) -> None:
        # Thousands of uses stay as they are: only what is new is encoded.
        known = {id(use): raw for use, raw in zip(self.releases, self._encoded, strict=False)}
        encoded = [known.get(id(use)) or _encode(use) for use in releases]
        write_private(self.path, _HEAD + b",".join(encoded) + _TAIL)
        _to_disk(self.path.parent)
        self.releases, self._encoded = releases, encoded


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to which event of the stream a releaser has answered."""

    path: Path

    @classmethod
    def of(cls, home: Path, party: str) -> Self:
        return cls(home / DIRECTORY / f"{party}.cursor")

    def load(self) -> int:
        """The sequence of the last event; 0 if there is none, or none that can be read: then
        all are looked at again, which harms nothing."""
        try:
            text = read_private(self.path, limit=32)
            return max(0, int(text))
        except (NotFoundError, InputError, ValueError):
            return 0

    def save(self, seq: int) -> None:
        """Raises: ConfigError `file.unwritable`."""
        write_private(self.path, b"%d\n" % seq)


def _encode(use: Use) -> bytes:
    return canonical.dumps(schema.to_plain(use, json=True))


def _same_attempt(one: Use, other: Use) -> bool:
    return (one.job_id, one.attempt, one.manifest_digest) == (
        other.job_id,
        other.attempt,
        other.manifest_digest,
    )


@contextmanager
def _locked(path: Path, party: str) -> Iterator[None]:
    try:
        make_private_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="file.unwritable") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another releaser of {party!r} runs with this ATOLL_HOME",
                code="release.busy",
                hint="two could not count uses together; stop the other one",
            ) from error
        yield
    finally:
        os.close(descriptor)


def _to_disk(directory: Path) -> None:
    """That a file has a new content survives a loss of power only with its directory."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}", code="file.unwritable") from error
