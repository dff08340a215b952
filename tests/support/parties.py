"""Parties of a computation, each with an ATOLL_HOME, keys and files of its own.

with_stack = Parties(stack, tmp_path)
coder, north = with_stack.party("coder"), with_stack.party("north")
card = await north.upload(client, "north.csv", b"...")
async with north.watching(policy) as releaser:
    line = await releaser.line()
"""

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from atoll.client.assets import upload_pieces
from atoll.client.connection import AtollClient
from atoll.client.keystore import KeyStore
from atoll.client.plan import write_card
from atoll.client.secret_files import DIRECTORY, SecretFiles
from atoll.computation.releasing import FIELDS
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey
from support.command import ATOLL, Said, atoll, environment
from support.stack import Stack

LINE_S = 60.0


def rule(**changes: Any) -> dict[str, Any]:
    """A rule that allows everything but a network, unless a change says otherwise."""
    allowing = dict.fromkeys(FIELDS, "unchecked") | {"assets": "any", "allow_network": False}
    return allowing | changes


def policy(*rules: Mapping[str, Any]) -> bytes:
    """A release policy."""
    return json.dumps({"format": "atoll-release-policy", "version": 1, "rules": rules}).encode()


@dataclass
class Watching:
    """A headless releaser that runs."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def line(self) -> dict[str, Any]:
        """The next decision."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(LINE_S):
                raw = await self.process.stdout.readline()
        except TimeoutError:
            pytest.fail(f"no decision in {LINE_S} s after {self.lines}")
        assert raw, f"it ended after {self.lines}"
        self.lines.append(json.loads(raw))
        return self.lines[-1]

    async def about(self, job: str) -> dict[str, Any]:
        """The next decision, which must be about this job."""
        line = await self.line()
        assert line["job_id"] == job, line
        return line

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()


@dataclass(frozen=True, kw_only=True)
class PartyHome:
    """One party."""

    name: str
    folder: Path
    """Its own files."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def atoll(self, *arguments: str | Path) -> Said:
        """Run a command with this party's home, in its folder."""
        return atoll(self.home, *arguments, cwd=self.folder)

    def done(self, *arguments: str | Path) -> Any:
        """The document of a command that must succeed."""
        said = self.atoll(*arguments, "--json")
        assert said.status == 0, said
        return said.document()

    def refused(self, *arguments: str | Path) -> str:
        """The code with which a command must end."""
        said = self.atoll(*arguments, "--json")
        assert said.status == 1, said
        code: str = said.document()["error"]["code"]
        return code

    def keys(self) -> PartyKeys:
        return KeyStore(self.home).load(self.name)

    def public(self) -> Path:
        """What this party shows to the others."""
        path = self.folder / f"{self.name}.party.json"
        path.write_text(self.atoll("keys", "show", self.name, "--json").out)
        return path

    async def upload(
        self, client: AtollClient, name: str, content: bytes, *, public: bool = False
    ) -> Path:
        """Seal and upload an asset; its card. The key stays in this party's home."""
        asset = await upload_pieces(client, [content], provider=self.name)
        key = ReleasedKey(content_key=asset.secrets.content_key, salt=asset.secrets.salt)
        SecretFiles(self.home / DIRECTORY).save(asset.ref.asset_id, key)
        ref = replace(asset.ref, sha256=asset.content_sha256) if public else asset.ref
        path = self.folder / f"{name}.card.json"
        path.write_bytes(write_card(ref))
        return path

    def sign(self, manifest: Path, *options: str) -> Path:
        """Consent to a manifest."""
        path = self.folder / f"{manifest.stem}.{self.name}.consent.json"
        self.done(
            *("computation", "sign", manifest, "--key", self.name, "--yes", "--out", path),
            *options,
        )
        return path

    @contextlib.asynccontextmanager
    async def watching(self, rules: bytes) -> AsyncIterator[Watching]:
        """A headless releaser of this party, ended at the end."""
        path = self.folder / "release-policy.json"
        path.write_bytes(rules)
        log = (self.folder / "watch.log").open("ab")
        with log:
            process = await asyncio.create_subprocess_exec(
                *ATOLL,
                *("release", "--watch", "--policy", str(path), "--key", self.name, "--json"),
                env=environment(self.home),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
            watching = Watching(process)
            try:
                yield watching
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        assert "Traceback" not in (self.folder / "watch.log").read_text()


@dataclass(frozen=True)
class Parties:
    """Makes parties that know one stack."""

    stack: Stack
    root: Path

    def party(self, name: str) -> PartyHome:
        """A fresh one, with keys."""
        made = PartyHome(name=name, folder=self.root / name)
        made.folder.mkdir(parents=True)
        made.done("keys", "new", name)
        shutil.copy(self.stack.home / "profile.json", made.home / "profile.json")
        return made
