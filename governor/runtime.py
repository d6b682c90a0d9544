"""One policy at work: its controls, its store, its clock. Integrations hold one `Runtime` per governed graph."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from governor.controls import Controls
from governor.effects import (
    Approve,
    Calibration,
    Change,
    Decided,
    Effect,
    InvokeModel,
    InvokeTool,
    Keep,
    Learn,
    Measured,
    NewId,
    Now,
    Release,
    Reserve,
    Settle,
)
from governor.prices import PriceBook
from governor.stores.memory import MemoryStore
from governor.telemetry import Telemetry
from governor.tokens import Calibrations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.trace import Span

    from governor.policy.load import LoadedPolicy
    from governor.stores.contract import Store

__all__ = ["Runtime"]


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _random_id() -> str:
    return os.urandom(16).hex()  # not from `random`, which a fork or a user's seed would repeat


class Runtime:
    """Performs effects. Holds no per-run state: that is in the store."""

    def __init__(
        self,
        policy: LoadedPolicy,
        *,
        store: Store | None = None,
        prices: PriceBook | None = None,
        telemetry: Telemetry | None = None,
        clock: Callable[[], int] = _wall_clock_ms,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        """Set up from a loaded policy. `clock` gives milliseconds since the epoch.

        Raises PolicyError when a money limit meets a tier without a known price.
        """
        self.policy = policy
        self.prices = prices or PriceBook(policy.policy)
        self.controls = Controls.of(policy.policy, self.prices, policy.error_at)
        self.store = store or MemoryStore()
        self.telemetry = telemetry or Telemetry(policy)
        self.clock = clock
        self.new_id = new_id
        self.calibrations = Calibrations()

        self._local: dict[type[Effect[Any]], Callable[[Any, Span], Any]] = {
            Now: lambda effect, span: self.clock(),
            NewId: lambda effect, span: self.new_id(),
            Calibration: lambda effect, span: self.calibrations.permille(effect.model),
            Learn: lambda effect, span: self.calibrations.learn(
                effect.model, estimated=effect.estimated, reported=effect.reported
            ),
            Decided: lambda effect, span: self.telemetry.decided(span, effect.step, effect.decision),
            Measured: lambda effect, span: self.telemetry.measured(span, effect.step, effect.attributes),
        }
        """Effects that touch neither a store nor the graph."""

    def under(self, policy: LoadedPolicy) -> Runtime:
        """Another policy at work with the same store and clock: for a run that is pinned to the one that it began under."""
        return Runtime(
            policy, store=self.store, telemetry=self.telemetry.under(policy), clock=self.clock, new_id=self.new_id
        )

    def perform(
        self, effect: Effect[Any], span: Span, invoke: Callable[[InvokeModel | InvokeTool | Approve], Any]
    ) -> Any:
        """Perform one effect, blocking. Calls into the graph (`InvokeModel`, `InvokeTool`, `Approve`) go to `invoke`."""
        return self.performer(span, invoke)(effect)

    def performer(
        self, span: Span, invoke: Callable[[InvokeModel | InvokeTool | Approve], Any]
    ) -> Callable[[Effect[Any]], Any]:
        """What performs the effects of one flow.

        It finds what to do by the effect's class, not by asking one class after the other: some thirty effects make one turn of an agent.
        """
        store, local = self.store, self._local

        def perform(effect: Effect[Any]) -> Any:
            kind = type(effect)
            if kind in _STORED:
                return _STORED[kind](store, effect)
            if kind in local:
                return local[kind](effect, span)
            return invoke(_called(effect))

        return perform

    async def perform_async(
        self, effect: Effect[Any], span: Span, invoke: Callable[[InvokeModel | InvokeTool | Approve], Awaitable[Any]]
    ) -> Any:
        """The async twin of `perform`."""
        kind = type(effect)
        if (stored := _STORED_ASYNC.get(kind)) is not None:
            return await stored(self.store, effect)
        if (local := self._local.get(kind)) is not None:
            return local(effect, span)
        return await invoke(_called(effect))


def _called(effect: Effect[Any]) -> InvokeModel | InvokeTool | Approve:
    if isinstance(effect, (InvokeModel, InvokeTool, Approve)):
        return effect
    message = f"no driver performs {type(effect).__name__}"
    raise TypeError(message)


_STORED: Mapping[type[Effect[Any]], Callable[[Store, Any], Any]] = {
    Change: lambda store, effect: store.change(effect.run.id, effect.apply),
    Reserve: lambda store, effect: store.reserve(effect.request),
    Settle: lambda store, effect: store.settle(effect.charge),
    Release: lambda store, effect: store.release(effect.lease, effect.now_ms),
    Keep: lambda store, effect: store.keep(effect.run.id, effect.handle, effect.text),
}
_STORED_ASYNC: Mapping[type[Effect[Any]], Callable[[Store, Any], Awaitable[Any]]] = {
    Change: lambda store, effect: store.achange(effect.run.id, effect.apply),
    Reserve: lambda store, effect: store.areserve(effect.request),
    Settle: lambda store, effect: store.asettle(effect.charge),
    Release: lambda store, effect: store.arelease(effect.lease, effect.now_ms),
    Keep: lambda store, effect: store.akeep(effect.run.id, effect.handle, effect.text),
}
