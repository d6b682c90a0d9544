"""The effect by which the path keeps what routing may learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.effects import Effect
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.routing.outcomes import Step
    from governor.routing.records import PairedOutcome

__all__ = ["Noted"]


@cheap
@dataclass(frozen=True, slots=True)
class Noted(Effect[None]):
    """Keep a routed step, or what two tiers made of one, among the outcomes. It never fails a call: what cannot be kept is logged."""

    record: Callable[[], Step | PairedOutcome]
