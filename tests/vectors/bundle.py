"""Cases and files on their way into a manifest of the published vectors' form."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Content = bytes | list[bytes] | None


@dataclass(kw_only=True)
class Bundle:
    """Collects cases; each distinct content becomes one file, named by role and digest."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        name: str,
        evidence: bytes,
        reason: str = "",
        *,
        verdict: str = "",
        files: Mapping[str, Content] | None = None,
        policy: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        notes: str = "",
        tcb_status: str = "",
        **more: Any,
    ) -> None:
        """A case; valid without a `reason`, which is the id of the first failing check."""
        expected = {"verdict": verdict or ("invalid" if reason else "valid")}
        expected |= {"reason": reason} if reason else {}
        expected |= {"tcb_status": tcb_status} if tcb_status else {}
        case: dict[str, Any] = {
            "id": name,
            "kind": kind,
            "product": more.pop("product", kind),
            "origin": "constructed",
            "path": self._file(kind.replace("_", "-"), evidence),
            "files": {role: self._files(role, value) for role, value in (files or {}).items()},
            "policy": dict(policy or {}),
            "expected": expected,
        }
        case |= {"verify_time": at.strftime("%Y-%m-%dT%H:%M:%SZ")} if at else {}
        case |= {"notes": notes} if notes else {}
        self.cases.append(case | more)

    def _files(self, role: str, value: Content) -> Any:
        if value is None or isinstance(value, bytes):
            return None if value is None else self._file(role, value)
        return [self._file(role, one) for one in value]

    def file(self, role: str, content: bytes) -> str:
        """For parameters that name files."""
        return self._file(role, content)

    def _file(self, role: str, content: bytes) -> str:
        path = f"files/{role.replace('_', '-')}-{hashlib.sha256(content).hexdigest()[:12]}.bin"
        self.files[path] = content
        return path
