"""One remark about a policy, as `governor policy check` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Severity"]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A remark with its place. `code` is stable: tools and CI may filter by it."""

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    column: int
    path: str
    """Dotted path in the merged policy, e.g. `tools.rules.3.when`."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message} [{self.code}]"
