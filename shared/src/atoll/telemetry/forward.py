"""OTLP over HTTP to the operator's own collector.

Sources: OpenTelemetry specification, "OTLP Exporter" (names and meaning of the
settings), and "OTLP 1.x", section OTLP/HTTP (request, retryable statuses, response).
Only `http/protobuf` is spoken. A redirect is an error: trace data goes where the
operator said and nowhere else.
"""

import asyncio
import gzip
import http.client
import random
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll.errors import ConfigError, MessageError, RefusedError, UnreachableError
from atoll.telemetry.protobuf import BYTES, VARINT, fields

PROTOCOL: Final = "http/protobuf"
DEFAULT_TIMEOUT_S: Final = 10.0
MAX_ATTEMPTS: Final = 5
MAX_RESPONSE: Final = 64 << 10
MAX_BACKOFF_S: Final = 30.0
FIRST_BACKOFF_S: Final = 0.5

RETRYABLE: Final = frozenset({429, 502, 503, 504})
_OK: Final = range(200, 300)
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_UNSUPPORTED: Final = ("CLIENT_KEY", "CLIENT_CERTIFICATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """Where traces go, and how."""

    url: str
    """Complete, with path; http or https."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Added to each request; usually a credential."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """For one attempt."""
    certificate: str | None = None
    """PEM file with the roots to trust instead of the system's."""
    gzip: bool = False
    """Whether request bodies are compressed."""

    def __post_init__(self) -> None:
        _split(self.url)


def from_env(env: Mapping[str, str]) -> OtlpSettings | None:
    """The standard `OTEL_EXPORTER_OTLP_*` settings; None when no endpoint is named.

    A `..._TRACES_...` setting wins over the general one. `OTEL_EXPORTER_OTLP_ENDPOINT` is
    a base to which `/v1/traces` is added; `..._TRACES_ENDPOINT` is taken as it is.

    Raises:
        ConfigError: `config.invalid`: another protocol, an endpoint that is no URL,
            or a setting that this build would otherwise silently ignore.
    """
    url = env.get(_PREFIX + "TRACES_ENDPOINT")
    if not url:
        base = env.get(_PREFIX + "ENDPOINT")
        if not base:
            return None
        url = base.rstrip("/") + "/v1/traces"
    for name in _UNSUPPORTED:
        if _get(env, name):
            raise ConfigError(
                f"{_PREFIX}{name} is not supported",
                code="config.invalid",
                hint="put a collector that does mutual TLS between",
            )
    protocol = _get(env, "PROTOCOL") or PROTOCOL
    if protocol != PROTOCOL:
        raise ConfigError(
            f"{_PREFIX}PROTOCOL={protocol!r}: only {PROTOCOL} is spoken", code="config.invalid"
        )
    compression = _get(env, "COMPRESSION") or "none"
    if compression not in {"none", "gzip"}:
        raise ConfigError(
            f"{_PREFIX}COMPRESSION={compression!r}: want none or gzip", code="config.invalid"
        )
    return OtlpSettings(
        url=url,
        headers=parse_headers(_get(env, "HEADERS") or ""),
        timeout_s=_timeout(_get(env, "TIMEOUT")),
        certificate=_get(env, "CERTIFICATE") or None,
        gzip=compression == "gzip",
    )


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """`key=value,key2=value2`, values percent-encoded, as in the specification.

    Raises:
        ConfigError: `config.invalid`; does not quote the value, which may be a secret.
    """
    found: list[tuple[str, str]] = []
    for index, item in enumerate(text.split(","), start=1):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        key, value = key.strip(), urllib.parse.unquote(value.strip())
        legal = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        if not equals or not legal or not (value.isascii() and (value.isprintable())):
            raise ConfigError(
                f"{_PREFIX}HEADERS: entry {index} is not key=value", code="config.invalid"
            )
        found.append((key, value))
    return tuple(found)


class OtlpForwarder:
    """Posts export requests to one endpoint.

    Args:
        settings: where and how.
        sleep: waits between attempts.
        jitter: from 0 to 1, so that many senders do not come back in step.
    """

    def __init__(
        self,
        settings: OtlpSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._jitter = jitter

    async def forward(self, raw: bytes) -> int:
        """Post one export request; the number of spans that the collector refused of it.

        Tries up to five times where a later attempt may succeed: no connection, no answer,
        or status 429, 502, 503, 504 (waiting as long as `Retry-After` says, at most 30 s).

        Raises:
            UnreachableError: `telemetry.unreachable`: every attempt failed.
            RefusedError: `telemetry.refused`: any other status.
            ConfigError: `config.invalid`: the certificate file cannot be used.
        """
        body = gzip.compress(raw) if self._settings.gzip else raw
        why = ""
        for attempt in range(MAX_ATTEMPTS):
            wait_s = FIRST_BACKOFF_S * 2**attempt * (1 + self._jitter())
            try:
                answer = await asyncio.to_thread(_post, self._settings, body)
            except (OSError, http.client.HTTPException) as error:
                why = type(error).__name__
            else:
                if answer.status in _OK:
                    return _rejected(answer.body)
                why = f"status {answer.status}"
                if answer.status not in RETRYABLE:
                    raise RefusedError(
                        f"trace collector {_origin(self._settings.url)} answered {why}",
                        code="telemetry.refused",
                    )
                wait_s = answer.retry_after_s if answer.retry_after_s is not None else wait_s
            if attempt + 1 < MAX_ATTEMPTS:
                await self._sleep(min(wait_s, MAX_BACKOFF_S))
        raise UnreachableError(
            f"trace collector {_origin(self._settings.url)}: {MAX_ATTEMPTS} attempts, last: {why}",
            code="telemetry.unreachable",
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after_s: float | None
    body: bytes


def _post(settings: OtlpSettings, body: bytes) -> _Answer:
    """One request on its own connection. Blocks for at most the timeout per operation."""
    parts = _split(settings.url)
    host = str(parts.hostname)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=settings.timeout_s, context=_tls(settings.certificate)
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=settings.timeout_s)
    headers = {"Content-Type": "application/x-protobuf", **dict(settings.headers)}
    if settings.gzip:
        headers["Content-Encoding"] = "gzip"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body=body, headers=headers)
        response = connection.getresponse()
        retry_after = response.getheader("Retry-After", "")
        # An HTTP date is allowed there too; our own backoff serves as well.
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return _Answer(response.status, seconds, response.read(MAX_RESPONSE))
    finally:
        connection.close()


def _tls(certificate: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate)
    except OSError as error:
        raise ConfigError(
            f"{_PREFIX}CERTIFICATE={certificate!r} cannot be used: {error}", code="config.invalid"
        ) from error


def _rejected(body: bytes) -> int:
    """`ExportTraceServiceResponse.partial_success.rejected_spans`; 0 if it cannot be read."""
    try:
        for number, wire_type, partial in fields(body):
            if number == 1 and wire_type == BYTES:
                for inner, inner_type, value in fields(bytes(partial)):
                    if inner == 1 and inner_type == VARINT:
                        return int(value)
    except MessageError:
        pass  # the spans were taken: a strange answer to that is not worth a failure
    return 0


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError("trace endpoint is not a URL", code="config.invalid") from error
    plain = url.isascii() and url.isprintable() and " " not in url
    # Not quoted: whoever put a credential into it does not want it in a log.
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ConfigError("trace endpoint is not an http or https URL", code="config.invalid")
    if parts.username is not None:
        raise ConfigError(
            "trace endpoint holds a user name",
            code="config.invalid",
            hint=f"send credentials in {_PREFIX}HEADERS",
        )
    return parts


def _origin(url: str) -> str:
    """Scheme, host and port: a path or a query may hold a credential."""
    parts = _split(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _get(env: Mapping[str, str], name: str) -> str:
    return env.get(f"{_PREFIX}TRACES_{name}") or env.get(_PREFIX + name) or ""


def _timeout(text: str) -> float:
    """Milliseconds, as the specification has it."""
    if not text:
        return DEFAULT_TIMEOUT_S
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= 600_000:  # noqa: PLR2004
        raise ConfigError(
            f"{_PREFIX}TIMEOUT={text[:20]!r}: want milliseconds", code="config.invalid"
        )
    return int(text) / 1000
