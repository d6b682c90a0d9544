"""One policy at work: its controls, its store, its clock. Integrations hold one `Runtime` per governed graph."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar, cast

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
    from collections.abc import Awaitable, Callable

    from opentelemetry.trace import Span

    from governor.policy.load import LoadedPolicy
    from governor.stores.contract import Store

__all__ = ["Runtime"]

T = TypeVar("T")


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _random_id() -> str:
    return uuid.uuid4().hex


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
        self.controls = Controls.of(policy.policy, self.prices)
        self.store = store or MemoryStore()
        self.telemetry = telemetry or Telemetry(policy)
        self.clock = clock
        self.new_id = new_id
        self.calibrations = Calibrations()

    def perform(
        self, effect: Effect[Any], span: Span, invoke: Callable[[InvokeModel | InvokeTool | Approve], Any]
    ) -> Any:
        """Perform one effect, blocking. Calls into the graph (`InvokeModel`, `InvokeTool`, `Approve`) go to `invoke`."""
        match effect:
            case Change(run, apply):
                return self.store.change(run.id, apply)
            case Reserve(request):
                return self.store.reserve(request)
            case Settle(charge):
                return self.store.settle(charge)
            case Release(lease, now_ms):
                return self.store.release(lease, now_ms)
            case Keep(run, handle, text):
                return self.store.keep(run.id, handle, text)
            case InvokeModel() | InvokeTool() | Approve():
                return invoke(effect)
            case _:
                return self._local(effect, span)

    async def perform_async(
        self, effect: Effect[Any], span: Span, invoke: Callable[[InvokeModel | InvokeTool | Approve], Awaitable[Any]]
    ) -> Any:
        """The async twin of `perform`."""
        match effect:
            case Change(run, apply):
                return await self.store.achange(run.id, apply)
            case Reserve(request):
                return await self.store.areserve(request)
            case Settle(charge):
                return await self.store.asettle(charge)
            case Release(lease, now_ms):
                return await self.store.arelease(lease, now_ms)
            case Keep(run, handle, text):
                return await self.store.akeep(run.id, handle, text)
            case InvokeModel() | InvokeTool() | Approve():
                return await invoke(effect)
            case _:
                return self._local(effect, span)

    def _local(self, effect: Effect[T], span: Span) -> T | None:
        """Effects that touch neither a store nor the graph."""
        match effect:
            case Now():
                return cast("T", self.clock())
            case NewId():
                return cast("T", self.new_id())
            case Calibration(model):
                return cast("T", self.calibrations.permille(model))
            case Learn(model, estimated, reported):
                self.calibrations.learn(model, estimated=estimated, reported=reported)
            case Decided(step, decision):
                self.telemetry.decided(span, step, decision)
            case Measured(step, attributes):
                self.telemetry.measured(span, step, attributes)
            case _:
                message = f"no driver performs {type(effect).__name__}"
                raise TypeError(message)
        return None
