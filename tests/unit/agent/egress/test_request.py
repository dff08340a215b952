"""A request to a workload's proxy: CONNECT to what the manifest lists, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import AtollError, InputError, RefusedError, UnreachableError
from atoll_agent.egress.request import (
    MAX_FIELDS,
    MAX_HEAD,
    Target,
    parse_request,
    refusal,
    require_listed,
)

LISTED = frozenset({"example.org:443", "10.0.0.5:5432"})


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def code(raw: bytes) -> str:
    with pytest.raises(AtollError) as caught:
        parse_request(raw)
    return caught.value.code


@pytest.mark.parametrize(
    "raw",
    [
        head("CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"),
        head("CONNECT Example.ORG:443 HTTP/1.0"),
        head("CONNECT example.org:443 HTTP/1.1", "user-agent:x", "Proxy-Connection: \xe9 y\t"),
    ],
)
def test_reads_where_it_wants_to(raw: bytes) -> None:
    found = parse_request(raw)
    assert found == Target("example.org", 443)
    require_listed(found, LISTED)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "connect", "CONNECTX", "M-SEARCH"])
def test_another_method_is_refused(method: str) -> None:
    assert code(head(f"{method} http://example.org/ HTTP/1.1")) == "egress.method"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n",
        b"CONNECT example.org:443 HTTP/1.1\n\n",
        b"\x16\x03\x01\x00\xa5\x01\r\n\r\n",
        head("CONNECT example.org:443"),
        head("CONNECT example.org:443 HTTP/2"),
        head("CONNECT example.org:443 HTTP/1.2"),
        head("CONNECT  example.org:443 HTTP/1.1"),
        head(" CONNECT example.org:443 HTTP/1.1"),
        head("CONNECT example.org:443 HTTP/1.1 "),
        head("CONNECT example.org HTTP/1.1"),
        head("CONNECT example.org:0 HTTP/1.1"),
        head("CONNECT example.org:65536 HTTP/1.1"),
        head("CONNECT example.org:0443 HTTP/1.1"),
        head("CONNECT :443 HTTP/1.1"),
        head("CONNECT a:b:443 HTTP/1.1"),
        head("CONNECT [::1]:443 HTTP/1.1"),
        head("CONNECT http://example.org:443 HTTP/1.1"),
        head("CONNECT " + "a" * 254 + ":443 HTTP/1.1"),
        head("CONNECT example.org:443 HTTP/1.1", "no field"),
        head("CONNECT example.org:443 HTTP/1.1", "a b: c"),
        head("CONNECT example.org:443 HTTP/1.1", "a : c"),
        head("CONNECT example.org:443 HTTP/1.1", "a: b", " folded"),
        head("CONNECT example.org:443 HTTP/1.1", "a: b\x00"),
        head("CONNECT example.org:443 HTTP/1.1", "a: b\rc"),
        head("CONNECT example.org:443 HTTP/1.1", "a: b\nc: d"),
        head("CONNECT example.org:443 HTTP/1.1", "Content-Length: 0"),
        head("CONNECT example.org:443 HTTP/1.1", "transfer-encoding: chunked"),
        head("CONNECT example.org:443 HTTP/1.1", *["a: b"] * (MAX_FIELDS + 1)),
        head("CONNECT example.org:443 HTTP/1.1", "a: " + "b" * MAX_HEAD),
    ],
)
def test_refuses_what_is_no_request(raw: bytes) -> None:
    assert code(raw) == "egress.request"


@pytest.mark.parametrize(
    ("host", "port"),
    [
        *(
            ("example.org", 444),
            ("www.example.org", 443),
            ("example.org.", 443),
            ("xample.org", 443),
        ),
        *(("10.0.0.6", 5432), ("10.0.0.5", 443), ("167772165", 5432), ("0x0a000005", 5432)),
        *(("010.0.0.5", 5432), ("user@example.org", 443), ("example.org%00", 443), ("*", 443)),
    ],
)
def test_only_what_stands_literally_in_the_manifest_is_listed(host: str, port: int) -> None:
    try:
        found = parse_request(head(f"CONNECT {host}:{port} HTTP/1.1"))
    except InputError:
        return
    with pytest.raises(RefusedError) as caught:
        require_listed(found, LISTED)
    assert caught.value.code == "network.refused"


def test_the_answers() -> None:
    def status(error: AtollError) -> tuple[bytes, bytes]:
        said = refusal(error)
        top, _, body = said.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in top.split(b"\r\n")
        return top.split(b"\r\n")[0], body

    assert status(InputError("x", code="egress.request")) == (
        b"HTTP/1.1 400 Bad Request",
        b"egress.request: x\n",
    )
    refused = refusal(RefusedError("x", code="egress.method"))
    assert refused.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: CONNECT\r\n" in refused
    assert status(RefusedError("x", code="network.refused"))[0] == b"HTTP/1.1 403 Forbidden"
    gone = UnreachableError("\u00fc", code="network.unreachable")
    assert status(gone) == (b"HTTP/1.1 502 Bad Gateway", b"network.unreachable: ?\n")
    assert status(UnreachableError("x"))[0] == b"HTTP/1.1 502 Bad Gateway"


@given(st.binary(max_size=400), st.sampled_from([b"", b"\r\n\r\n"]))
def test_any_bytes_are_a_request_or_refused(raw: bytes, end: bytes) -> None:
    try:
        found = parse_request(raw + end)
    except AtollError as error:
        answer = refusal(error)
    else:
        assert 1 <= found.port <= 65_535
        assert found.host == found.host.lower()
        return
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


@given(st.text(st.characters(codec="latin-1"), max_size=60), st.integers(0, 70_000))
def test_whatever_is_connected_to_is_listed(host: str, port: int) -> None:
    try:
        found = parse_request(head(f"CONNECT {host}:{port} HTTP/1.1"))
        require_listed(found, LISTED)
    except AtollError:
        return
    assert f"{host.lower()}:{port}" in LISTED
