"""One request to the HTTP gateway, for the commands that try it out. Certificates are checked."""

import http.client
import json
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from atoll.errors import ConfigError, InputError, RefusedError, UnreachableError

TIMEOUT_S: Final = 10.0
MAX_ANSWER: Final = 1 << 20
_OK: Final = 200
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def get(url: str, path: str, *, token: str, ca: str) -> Any:
    """The JSON that `path` of the gateway at `url` answers to `token`. Blocks.

    Args:
        ca: PEM of those whose certificates are trusted; empty: the system's.

    Raises:
        InputError: `http.url`: no URL of a gateway.
        ConfigError: `http.ca`: not PEM certificates.
        RefusedError: `http.no_tls`: the token would go out in the clear; `http.certificate`: the
            gateway's is not trusted; or what the gateway answered, with its code.
        UnreachableError: `http.unreachable`.
    """
    connection = _connection(url, ca)
    try:
        headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        status, raw = response.status, response.read(MAX_ANSWER)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(
            f"the certificate of {url} is not trusted: {error.verify_message}",
            code="http.certificate",
            hint="--ca, or `http_ca` of the profile, holds the PEM of who is to be trusted",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{url} does not answer: {error}", code="http.unreachable"
        ) from error
    finally:
        connection.close()
    return _read(status, raw, url)


def _connection(url: str, ca: str) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in {"http", "https"} or parts.path not in {"", "/"}:
        raise InputError(f"{url[:80]!r} is not the URL of a gateway", code="http.url")
    if parts.scheme == "http":
        if host not in _LOOPBACK:
            raise RefusedError(
                f"the token would travel to {host} in the clear",
                code="http.no_tls",
                hint="use https://",
            )
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError("the CA is not PEM certificates", code="http.ca") from error
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def _read(status: int, raw: bytes, url: str) -> Any:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnreachableError(f"{url} is no gateway of ours", code="http.unreachable") from error
    if status == _OK:
        return value
    fields = value if isinstance(value, dict) else {}
    found = RefusedError(
        str(fields.get("message", f"status {status}")),
        code=str(fields.get("code", "http.refused")),
        hint=str(fields["hint"]) if fields.get("hint") else None,
    )
    error_id = fields.get("error_id")
    found.error_id = error_id if isinstance(error_id, str) else None
    raise found
