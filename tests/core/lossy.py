"""A store that is lost when a test says so, and the path of calls over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse, ToolCall, ToolResult
from governor.drive import drive, drive_async
from governor.errors import StoreError
from governor.pipeline import model_call, tool_call
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from tests.core.test_pipeline import GOOD, MICRO, SONNET, STEP, asked

__all__ = ["GONE", "Lossy", "Path", "Trace"]

GONE = "the store is gone"
TIERS = {
    "frontier": {"model": SONNET, "max_output_tokens": 500},
    "small": {"model": MICRO, "max_output_tokens": 500},
}
BUDGET = {"id": "run", "scope": "run", "limit": {"tokens": "10k", "tool_calls": 100}}


class Lossy(MemoryStore):
    """Fails every operation whose number, from 0, `lost` names; a store across a network, but for the network."""

    def __init__(self, lost: Callable[[int], bool] = lambda _: False) -> None:
        super().__init__()
        self.lost, self.asked = lost, 0

    def _there(self) -> None:
        number, self.asked = self.asked, self.asked + 1
        if self.lost(number):
            raise StoreError(GONE)

    def change(self, run: str, apply: Any, *, later: bool = False) -> Any:
        self._there()
        return super().change(run, apply, later=later)

    def reserve(self, request: Any) -> Any:
        self._there()
        return super().reserve(request)

    def settle(self, charge: Any) -> None:
        self._there()
        super().settle(charge)

    def release(self, lease: str, now_ms: int) -> None:
        self._there()
        super().release(lease, now_ms)

    def extend(self, lease: str, ttl_ms: int, now_ms: int) -> bool:
        self._there()
        return super().extend(lease, ttl_ms, now_ms)

    def keep(self, run: str, handle: str, text: str) -> None:
        self._there()
        super().keep(run, handle, text)

    def halted(self, scopes: Any) -> Any:
        self._there()
        return super().halted(scopes)


class Trace:
    """What telemetry gets to know of a store that is lost."""

    def __init__(self, runtime: Runtime) -> None:
        self.decided: list[tuple[str, str, bool]] = []
        self.lost: list[str] = []
        self.waiting = 0
        told: Any = runtime.telemetry
        told.decided = self._decided
        told.store_lost = self.lost.append
        told.unsettled = self._unsettled

    def _decided(self, span: Any, step: Any, decision: Any) -> None:
        del span
        code = decision.reason.code if decision.reason else ""
        if code.startswith("store."):
            self.decided.append((code, step.path, decision.observed))

    def _unsettled(self, change: int) -> None:
        self.waiting += change


class Path:
    """Calls over a lossy store: what was sent, and what became of it."""

    def __init__(self, store: Store, *, alone: bool = False, **policy: Any) -> None:
        whole = {
            "governor": 1,
            "name": "p",
            "tiers": TIERS,
            "routing": {"default": "small"},
            "tools": {"default": "allow"},
        }
        self.store: Any = store
        self.runtime = Runtime(
            load({**whole, "budgets": [BUDGET], **policy}), store=store, clock=FakeClock(), new_id=FakeIds()
        )
        self.trace = Trace(self.runtime)
        self.sent: list[str] = []
        self.alone = alone

    def model(self, answer: ModelResponse | BaseException = GOOD, **call: Any) -> ModelResponse:
        return self._driven(model_call(asked(**call), self.runtime.controls), answer)

    def tool(self, answer: ToolResult | BaseException, args: dict[str, Any] | None = None) -> ToolResult:
        call = ToolCall(step=STEP, name="search", args=args or {}, id=f"c{len(self.sent)}")
        return self._driven(tool_call(call, self.runtime.controls), answer)

    def spent(self, unit: str = "tokens") -> tuple[int, int]:
        found = [each for each in self.store.balances() if each.unit == unit]
        return (found[0].spent, found[0].reserved) if found else (0, 0)

    def _driven(self, flow: Any, answer: Any) -> Any:
        def invoke(effect: Any) -> Any:
            effect.meter.dispatched = True
            self.sent.append(type(effect).__name__)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        async def invoke_async(effect: Any) -> Any:
            return invoke(effect)

        if self.alone:
            return asyncio.run(
                drive_async(flow, lambda effect: self.runtime.perform_async(effect, INVALID_SPAN, invoke_async))
            )
        return drive(flow, self.runtime.performer(INVALID_SPAN, invoke))
