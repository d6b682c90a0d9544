"""For tests of policies, stores and integrations: a clock that stands still, predictable ids, and what every store must pass."""

from __future__ import annotations

from governor.testing.base import hold, rate, spent_and_reserved
from governor.testing.fakes import START_MS, FakeClock, FakeIds
from governor.testing.stores import StoreConformance

__all__ = ["START_MS", "FakeClock", "FakeIds", "StoreConformance", "hold", "rate", "spent_and_reserved"]
