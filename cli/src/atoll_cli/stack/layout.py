"""Which services an embedded stack has and with which settings; pure."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from atoll.wire.tee import Tee
from atoll_cli.deployment.folder import KEY_RING
from atoll_cli.deployment.identities import DOOR
from atoll_cli.stack import address
from atoll_cli.stack.material import (
    COLLATERAL,
    OWNERS,
    ROOTS,
    VTPM_AUTHORITY,
    WEBHOOK_KEY,
    Material,
)
from atoll_cli.stack.policies import POLICY_NAME
from atoll_cli.stack.service import ServiceSpec

GUEST_BOOT_S: Final = 300
"""A virtual machine without hardware support takes its time to start."""
PASSED_ON: Final = ("OTEL_", "SSL_CERT_", "LANG", "LC_", "TZ")
"""Beginnings of the only variables that services get from our environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the services are made from."""

    material: Material
    nats_url: str
    http: tuple[str, int]
    slots: int
    host_id: str
    env: Mapping[str, str]
    warm: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    egress: tuple[str, ...] = ()
    docker: str | None = None
    http_cert: Path | None = None
    http_key: Path | None = None
    http_insecure: bool = False

    @property
    def log_dir(self) -> Path:
        return self.material.data_dir / "logs"

    @property
    def _nats_host(self) -> str:
        return urlsplit(self.nats_url).hostname or ""

    def attestor(self) -> ServiceSpec:
        data = self.material.data_dir
        return self._spec(
            "attestor",
            key_ring_file=data / KEY_RING,
            policy_owners_dir=data / OWNERS,
            policy_name=POLICY_NAME,
            collateral_dir=data / COLLATERAL,
            door_creds_file=self.material.bus.creds(DOOR),
            door_keys_file=self.material.bus.door_keys,
            development_root_file=data / ROOTS,
        )

    def manager(self) -> ServiceSpec:
        data = self.material.data_dir
        return self._spec(
            "manager",
            sentinel_file=self.material.bus.sentinel,
            host_id=self.host_id,
            data_dir=data,
            slots=self.slots,
            warm_min=self.warm,
            labels=",".join(f"{name}={value}" for name, value in self.labels.items()),
            egress=",".join(self.egress),
            python=sys.executable,
            **({"docker_host": self.docker} if self.docker else {}),
            **self._driver(),
        )

    def _driver(self) -> Mapping[str, object]:
        data, enclaves = self.material.data_dir, self.material.enclaves
        settings: dict[str, object] = {}
        if enclaves.tee is Tee.SIMULATED:
            settings["simulated_dir"] = data / "simulated"
        if enclaves.driver == "process":
            return settings
        settings |= {"driver": enclaves.driver, "image": enclaves.image}
        if enclaves.driver == "libvirt":
            settings["libvirt_uri"] = f"qemu:///embed?root={data / 'libvirt'}"
            settings["boot_timeout_s"] = GUEST_BOOT_S
        if enclaves.tee is Tee.VTPM:
            settings["tee"] = Tee.VTPM.value
            settings["vtpm_authority_file"] = data / VTPM_AUTHORITY
        return settings

    def gateway(self) -> ServiceSpec:
        host, port = self.http
        return self._spec(
            "gateway",
            tees=self.material.enclaves.tee.value,
            http_host=host,
            http_port=port,
            http_token_file=self.material.data_dir / "http-token",
            webhook_key_file=self.material.data_dir / WEBHOOK_KEY,
            # Whoever can register one is on this machine already.
            webhook_loopback=str(all(map(address.is_loopback, (host, self._nats_host)))).lower(),
            **({"http_tls_cert_file": self.http_cert.absolute()} if self.http_cert else {}),
            **({"http_tls_key_file": self.http_key.absolute()} if self.http_key else {}),
            **({"http_insecure": "true"} if self.http_insecure else {}),
        )

    def _spec(self, name: str, **settings: object) -> ServiceSpec:
        common = {
            "nats_url": self.nats_url,
            "nats_creds_file": self.material.bus.creds(name),
            "supervised": "true",
        }
        metrics = f"ATOLL_{name.upper()}_METRICS_ADDRESS"
        passed = {
            key: value
            for key, value in self.env.items()
            if key.startswith(PASSED_ON) or key == metrics
        }
        own = {
            f"ATOLL_{name.upper()}_{key.upper()}": str(value)
            for key, value in {**common, **settings}.items()
        }
        return ServiceSpec(
            name=name,
            module=f"atoll_{name}.main",
            env={**passed, **own},
            log=self.log_dir / f"{name}.log",
        )
