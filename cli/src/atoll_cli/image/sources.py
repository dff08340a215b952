"""Where this machine gets Debian's packages from, out of its own configuration of apt. Pure.

Sources: sources.list(5), both styles. A line or stanza counts when a suite of it is one of
Debian's releases; what follows the release's name says what the archive has (`-security`).
The image's release may be another one than the machine's, and is in the same archives.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from atoll_cli.image.refusal import refuse

RELEASE: Final = "trixie"
"""Debian 13, of which the image is made."""
_RELEASES: Final = (
    "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldoldstable", "oldstable", "stable",
    "testing", "unstable",
)  # fmt: skip
_SUITE: Final = re.compile(rf"(?:{'|'.join(_RELEASES)})(-security|-updates)?(?:/updates)?")
_LINE: Final = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)")
_URI: Final = re.compile(r"(?:https?|file|mirror\+file|cdrom|tor\+https?):[\x21-\x7e]{1,500}")
MAX_TEXT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Archives:
    """URIs for apt."""

    main: str
    security: str | None = None

    def sources(self, keyring: str) -> str:
        """sources.list for the image's release, signed by Debian's keys.

        Args:
            keyring: path of the file that has them.
        """
        suites = [(self.main, RELEASE), (self.main, f"{RELEASE}-updates")]
        if self.security is not None:
            suites.append((self.security, f"{RELEASE}-security"))
        return "".join(f"deb [signed-by={keyring}] {uri} {suite} main\n" for uri, suite in suites)


def archives(lists: Iterable[str], stanzas: Iterable[str]) -> Archives:
    """The first archive of each kind.

    Args:
        lists: texts of *.list files (one line each).
        stanzas: texts of *.sources files (deb822).

    Raises:
        InputError: `image.no_archive`: there is none of Debian's.
    """
    main: str | None = None
    security: str | None = None
    for uri, suite in (*_of_lists(lists), *_of_stanzas(stanzas)):
        found = _SUITE.fullmatch(suite)
        if found is None or _URI.fullmatch(uri) is None:
            continue
        if found[1] == "-security":
            security = security or uri
        else:
            main = main or uri
    if main is None:
        raise refuse(
            "no_archive",
            "this machine's apt knows no archive of Debian",
            hint="--mirror URI says where one is",
        )
    return Archives(main=main, security=security)


def _of_lists(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        for line in text[:MAX_TEXT].splitlines():
            if found := _LINE.match(line.strip()):
                yield found[1], found[2]


def _of_stanzas(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        bare = "\n".join(line for line in text[:MAX_TEXT].splitlines() if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", bare):
            fields = _fields(stanza)
            if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
                continue
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield uri, suite


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if line[:1] in {" ", "\t"}:
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
            continue
        name, _, value = line.partition(":")
        name = name.strip().lower()
        fields[name] = value.strip()
    return fields
