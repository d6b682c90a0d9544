"""For tests of policies, stores and integrations: a clock that stands still, predictable ids, and what every store must pass."""

from __future__ import annotations

from governor.testing.fakes import START_MS, FakeClock, FakeIds
from governor.testing.stores import StoreConformance, hold, spent_and_reserved

__all__ = ["START_MS", "FakeClock", "FakeIds", "StoreConformance", "hold", "spent_and_reserved"]
