"""How much one caller may ask for: token buckets and counts of what is going on at a time. Pure.

A bucket holds up to `burst` requests and fills by `per_s`. Keys that are not asked about for
long are forgotten; a forgotten bucket is a full one.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from atoll.errors import ConfigError
from atoll_gateway.http import faults

MAX_KEYS: Final = 10_000
_V6_PREFIX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`burst` at once, `per_s` in the long run."""

    burst: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits of the gateway but those on bodies.

    Raises:
        ConfigError: `http.limits`: one is not above zero.
    """

    token: Rate = Rate(burst=200, per_s=50.0)
    address: Rate = Rate(burst=400, per_s=100.0)
    failures: Rate = Rate(burst=20, per_s=0.5)
    """Requests without a valid token, by address."""
    requests: int = 1000
    """At a time, of all."""
    requests_per_token: int = 64
    streams_per_token: int = 16
    connections: int = 1000
    connections_per_address: int = 200
    head_s: float = 10.0
    """How long a client may take for the head of a request, and for the TLS handshake."""
    write_s: float = 60.0
    """How long a client may leave what it asked for unread."""

    def __post_init__(self) -> None:
        rates = (self.token, self.address, self.failures)
        values = (
            *(value for rate in rates for value in (rate.burst, rate.per_s)),
            *(self.requests, self.requests_per_token, self.streams_per_token),
            *(self.connections, self.connections_per_address, self.head_s, self.write_s),
        )
        if not all(value > 0 and math.isfinite(value) for value in values):
            raise ConfigError("every limit of the HTTP API must be above 0", code="http.limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a bucket says to one request."""

    policy: str
    rate: Rate
    left: int
    wait_s: float
    """Until there is room for one; 0: this request has it."""

    @property
    def ok(self) -> bool:
        return self.wait_s == 0.0

    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10)."""
        window = max(1, math.ceil(self.rate.burst / self.rate.per_s))
        reset = max(1, math.ceil((self.rate.burst - self.left) / self.rate.per_s))
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.rate.burst};w={window}',
            "RateLimit": f'"{self.policy}";r={self.left};t={reset}',
        }


class Buckets:
    """One bucket for each key."""

    def __init__(self, policy: str, rate: Rate, *, max_keys: int = MAX_KEYS) -> None:
        self._policy = policy
        self._rate = rate
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now_s: float) -> Allowance:
        """Take one, if there is one. `now_s` is of a clock that never goes back."""
        rate = self._rate
        level, since = self._levels.pop(key, (float(rate.burst), now_s))
        level = min(float(rate.burst), level + max(0.0, now_s - since) * rate.per_s)
        wait_s = 0.0 if level >= 1.0 else (1.0 - level) / rate.per_s
        if not wait_s:
            level -= 1.0
        self._levels[key] = (level, now_s)
        while len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return Allowance(policy=self._policy, rate=rate, left=int(level), wait_s=wait_s)

    def __len__(self) -> int:
        return len(self._levels)


class Slots:
    """How many of something each key has at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[str, int] = {}

    def take(self, key: str) -> bool:
        """Take one, if there is one."""
        taken = self._taken.get(key, 0)
        if taken >= self._limit:
            return False
        self._taken[key] = taken + 1
        return True

    def give_back(self, key: str) -> None:
        """Undo one `take` that succeeded."""
        left = self._taken[key] - 1
        if left:
            self._taken[key] = left
        else:
            del self._taken[key]

    @contextmanager
    def held(self, key: str, refusal: faults.TooManyError) -> Iterator[None]:
        """One, for the time of a block; raises `refusal` if there is none."""
        if not self.take(key):
            raise refusal
        try:
            yield
        finally:
            self.give_back(key)

    def __len__(self) -> int:
        return sum(self._taken.values())


def address_key(host: str) -> str:
    """What an address is counted as: of IPv6, all of a network that one subscriber gets."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _V6_PREFIX), strict=False))
    return str(address)
