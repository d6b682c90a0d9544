"""A clock that moves when told, and predictable ids."""

from __future__ import annotations

from itertools import count

__all__ = ["START_MS", "FakeClock", "FakeIds"]

START_MS = 1_785_000_000_000
"""A moment in 2026, milliseconds since the epoch."""


class FakeClock:
    """A clock that moves when told: pass it as `clock=` to a `Runtime`."""

    def __init__(self, now_ms: int = START_MS) -> None:
        """Start at `now_ms`, milliseconds since the epoch."""
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time, milliseconds since the epoch."""
        return self.now_ms

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass."""
        self.now_ms += ms


class FakeIds:
    """Ids in order: `id-1`, `id-2`, ... Pass it as `new_id=` to a `Runtime`."""

    def __init__(self, prefix: str = "id") -> None:
        """Begin every id with `prefix`."""
        self._prefix = prefix
        self._numbers = count(1)

    def __call__(self) -> str:
        """The next id."""
        return f"{self._prefix}-{next(self._numbers)}"
