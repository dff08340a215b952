"""Finds secrets in bytes, however they were written down.

A secret is looked for as it is and backwards, as hexadecimal in both cases, as base64 and
base64url at each of the three alignments, as UTF-16, as JSON numbers, as Python's `repr`,
and all of that again inside everything that looks like zlib, gzip or raw-deflate-in-zip data.
Not found: a secret that was encrypted, split into shorter pieces, or compressed by a method
not named here.
"""

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_GZIP = re.compile(rb"\x1f\x8b\x08")
_MAX_INFLATED = 1 << 20
_WRAPPED = 31
"""wbits that takes zlib and gzip headers and checks them: 15, plus 16 for either."""


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Ways to write `secret` down, with their names. At least 12 bytes, or it occurs by chance."""
    if len(secret) < 12:
        raise ValueError("too short to be found for certain")
    yield "raw", secret
    yield "reversed", secret[::-1]
    yield "hex", secret.hex().encode()
    yield "HEX", secret.hex().upper().encode()
    for shift in range(3):
        # What does not depend on the neighbours: whole groups of three bytes.
        whole = secret[(3 - shift) % 3 :]
        whole = whole[: len(whole) // 3 * 3]
        yield f"base64+{shift}", base64.b64encode(whole)
        yield f"base64url+{shift}", base64.urlsafe_b64encode(whole)
    yield "numbers", ",".join(map(str, secret)).encode()
    yield "numbers and spaces", ", ".join(map(str, secret)).encode()
    yield "repr", repr(secret)[2:-1].encode()
    if secret.isascii():
        yield "UTF-16LE", secret.decode().encode("utf-16-le")
        yield "UTF-16BE", secret.decode().encode("utf-16-be")


def inflated(raw: bytes) -> Iterator[bytes]:
    """What lies compressed anywhere in `raw`."""
    for pattern, wbits in ((_ZLIB, zlib.MAX_WBITS), (_GZIP, _WRAPPED)):
        for match in pattern.finditer(raw):
            machine = zlib.decompressobj(wbits)
            try:
                content = machine.decompress(
                    raw[match.start() : match.start() + _MAX_INFLATED], _MAX_INFLATED
                )
            except zlib.error:
                continue
            if content:
                yield content


def find(secrets: Mapping[str, bytes], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """What was found, as `secret as form in place`."""
    patterns = [(name, form, text) for name, one in secrets.items() for form, text in forms(one)]
    found = []
    for place, raw in places:
        for content, how in ((raw, ""), *((inner, " inflated") for inner in inflated(raw))):
            found += [
                f"{name} as {form} in {place}{how}"
                for name, form, text in patterns
                if text in content
            ]
    return found
