"""One policy at work: its controls, its store, its clock. Integrations hold one `Runtime` per governed graph."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor import storing
from governor.asides import Aside, Asides
from governor.breaking import Breakers, PassOver, ProviderSaid
from governor.controls import Controls
from governor.drive import drive, drive_async
from governor.effects import (
    Adjust,
    Approve,
    AwaitLead,
    AwaitSlot,
    Calibration,
    Change,
    Counted,
    Decided,
    Effect,
    Extend,
    FreeSlot,
    InvokeModel,
    InvokeTool,
    Keep,
    LeadDone,
    Learn,
    Measured,
    MeasuredBeside,
    Now,
    Release,
    Remember,
    Reserve,
    Sample,
    Settle,
    Summarise,
    TakeLead,
    TakeSlot,
    Turn,
    Wait,
)
from governor.ids import Ids
from governor.losing import Losses
from governor.noting import Noted
from governor.pacing import Lineup
from governor.policy.schema import Rest
from governor.prices import PriceBook
from governor.remembering import Memory, Texts
from governor.routing.estimators import estimator_of
from governor.routing.judge import Ratings
from governor.routing.loading import knowledge_of
from governor.routing.outcomes import Outcomes, Step, outcomes_path
from governor.slots import Slots
from governor.stores.memory import MemoryStore
from governor.stores.opening import address_of, open_store
from governor.telemetry import Telemetry
from governor.tokens import Calibrations
from governor.warming import Leads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opentelemetry.trace import Span

    from governor.breaking import Resting
    from governor.policy.load import LoadedPolicy
    from governor.stores.contract import Store
    from governor.warming import Ticket

    Invoked = InvokeModel | InvokeTool | Approve | Summarise | Sample

__all__ = ["Runtime"]


_log = logging.getLogger("governor")


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _opened(store: Store | str | None) -> Store:
    if store is not None and not isinstance(store, str):
        return store
    address = address_of(store)
    return MemoryStore() if address is None else open_store(address)


_NOTE_S, _QUIET_MS = 0.25, 60_000
"""How long a record of routing waits for another process, and how long none is tried after one that could not be kept."""


class Runtime:
    """Performs effects. Holds no per-run state: that is in the store."""

    def __init__(
        self,
        policy: LoadedPolicy,
        *,
        store: Store | str | None = None,
        prices: PriceBook | None = None,
        telemetry: Telemetry | None = None,
        clock: Callable[[], int] = _wall_clock_ms,
        new_id: Callable[[], str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        sleep_async: Callable[[float], Awaitable[None]] = asyncio.sleep,
        folder: Path | None = None,
    ) -> None:
        """Set up from a loaded policy. `clock` gives milliseconds since the epoch, `new_id` an id that no process gives twice.

        `sleep` and `sleep_async` let seconds pass while a call waits for room in a rate.

        `folder`: where relative paths begin in a policy that is in no file; for one that is, its own folder.
        `store`: a store or the address of one; absent, the address in the environment (`GOVERNOR_STORE`), or else one in memory, for this
        process alone. Raises PolicyError when a money limit meets a tier without a known price or a snapshot cannot be used,
        ConfigurationError for an address that nobody serves.
        """
        self.policy = policy
        self.prices = prices or PriceBook(policy.policy)
        self.folder = Path(policy.file).parent if Path(policy.file).is_file() else folder
        ratings = Ratings()
        knowledge = knowledge_of(policy, folder=self.folder, estimator=estimator_of(policy, ratings))
        self.controls = Controls.of(policy.policy, self.prices, policy.error_at, knowledge=knowledge, ratings=ratings)
        self.store = _opened(store)
        self.telemetry = telemetry or Telemetry(policy)
        self.clock = clock
        self.new_id = new_id or Ids()
        self.sleep, self.sleep_async = sleep, sleep_async
        self.lineup, self.slots, self.memory = Lineup(), Slots(), Memory()
        self.leads, self.texts, self.asides = Leads(), Texts(), Asides()
        self.breakers = Breakers(policy.policy.routing.rest or Rest())
        self.losses = Losses(policy.policy, self.telemetry)
        self.calibrations = Calibrations()
        kept = outcomes_path(policy)
        self.outcomes = Outcomes(kept, timeout_s=_NOTE_S) if kept is not None else None
        self._quiet_until_ms = 0

    def note(self, effect: Noted) -> None:
        """Keep a record of routing. A file that cannot be written is logged, left alone for a minute, and harms no call."""
        if self.outcomes is None or self.clock() < self._quiet_until_ms:
            return
        try:
            record = effect.record()
            if isinstance(record, Step):
                self.outcomes.note(record)
            else:
                self.outcomes.pair(record)
        except Exception as error:  # noqa: BLE001 - the call has its answer, whatever is wrong with a record of it
            self._quiet_until_ms = self.clock() + _QUIET_MS
            _log.warning("outcomes are not recorded for a minute: %s: %s", type(error).__name__, error)

    def under(self, policy: LoadedPolicy) -> Runtime:
        """Another policy at work with the same store and clock: for a run that is pinned to the one that it began under."""
        other = Runtime(
            policy,
            store=self.store,
            telemetry=self.telemetry.under(policy),
            clock=self.clock,
            new_id=self.new_id,
            folder=self.folder,
        )
        other.slots, other.memory, other.leads, other.texts = self.slots, self.memory, self.leads, self.texts
        other.breakers, other.asides = self.breakers, self.asides
        other.losses = self.losses.under(policy.policy, other.telemetry)
        return other

    def perform(self, effect: Effect[Any], span: Span, invoke: Callable[[Invoked], Any]) -> Any:
        """Perform one effect, blocking. Calls into the graph (`InvokeModel`, `InvokeTool`, `Approve`) go to `invoke`."""
        return self.performer(span, invoke)(effect)

    def performer(self, span: Span, invoke: Callable[[Invoked], Any]) -> Callable[[Effect[Any]], Any]:
        """What performs the effects of one flow.

        It finds what to do by the effect's class, not by asking one class after the other: some thirty effects make one turn of an agent.
        """

        def perform(effect: Effect[Any]) -> Any:
            if isinstance(effect, Aside):
                flow = effect.flow
                if effect.after:
                    drive(flow(), perform)
                    return True
                return self.asides.run(lambda: drive(flow(), perform), effect.wait_ms)
            do = _HERE.get(type(effect))
            return invoke(_called(effect)) if do is None else do(self, effect, span)

        return perform

    async def perform_async(
        self,
        effect: Effect[Any],
        span: Span,
        invoke: Callable[[Invoked], Awaitable[Any]],
    ) -> Any:
        """The async twin of `perform`."""
        kind = type(effect)
        if isinstance(effect, Aside):
            flow, perform = effect.flow, partial(self.perform_async, span=span, invoke=invoke)
            return await self.asides.run_async(lambda: drive_async(flow(), perform), effect.wait_ms)
        if (stored := _STORED_ASYNC.get(kind)) is not None:
            return await stored(self, effect, span)
        if (do := _HERE.get(kind)) is not None:
            return do(self, effect, span)
        return await invoke(_called(effect))


def _called(effect: Effect[Any]) -> Invoked:
    if isinstance(effect, (InvokeModel, InvokeTool, Approve, Summarise, Sample)):
        return effect
    message = f"no driver performs {type(effect).__name__}"
    raise TypeError(message)


def _wait(runtime: Runtime, effect: Wait) -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # no loop runs in this thread: only the caller waits
        runtime.sleep(effect.ms / 1_000)
        return True
    return False


async def _await(runtime: Runtime, effect: Wait, span: Span) -> bool:
    del span
    await runtime.sleep_async(effect.ms / 1_000)
    return True


def _await_slot(runtime: Runtime, effect: AwaitSlot) -> bool:
    slot, slots = effect.slot, runtime.slots
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # no loop runs in this thread: only the caller waits
        entered = threading.Event()
        slot.wake = entered.set
        if not slots.look(slot, effect.now_ms):  # after the wake is there, so that an entrance in between is not missed
            entered.wait(effect.ms / 1_000)
        return slots.look(slot, runtime.clock())
    slots.enter(slot, effect.now_ms)
    return True


async def _aawait_slot(runtime: Runtime, effect: AwaitSlot, span: Span) -> bool:
    del span
    slot, slots, loop = effect.slot, runtime.slots, asyncio.get_running_loop()
    entered = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # a loop that was closed with calls in it has nobody left who waits
            loop.call_soon_threadsafe(entered.set)

    slot.wake = wake
    if not slots.look(slot, effect.now_ms):
        with suppress(TimeoutError):
            async with asyncio.timeout(effect.ms / 1_000):
                await entered.wait()
    return slots.look(slot, runtime.clock())


def _await_lead(runtime: Runtime, effect: AwaitLead) -> bool:
    ticket, leads = effect.ticket, runtime.leads
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # no loop runs in this thread: only the caller waits
        over = threading.Event()
        ticket.wake = over.set
        if not leads.over(ticket):  # after the wake is there, so that an end in between is not missed
            over.wait(effect.ms / 1_000)
    return _waited(leads, ticket)


async def _aawait_lead(runtime: Runtime, effect: AwaitLead, span: Span) -> bool:
    del span
    ticket, leads, loop = effect.ticket, runtime.leads, asyncio.get_running_loop()
    over = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # a loop that was closed with calls in it has nobody left who waits
            loop.call_soon_threadsafe(over.set)

    ticket.wake = wake
    try:
        if not leads.over(ticket):
            with suppress(TimeoutError):
                async with asyncio.timeout(effect.ms / 1_000):
                    await over.wait()
    finally:
        waited = _waited(leads, ticket)
    return waited


def _waited(leads: Leads, ticket: Ticket) -> bool:
    over = leads.over(ticket)
    leads.give_up(ticket)
    return over


async def _anote(runtime: Runtime, effect: Noted, span: Span) -> None:
    """In a thread: another process may be writing to the file."""
    del span
    if runtime.outcomes is not None:
        await asyncio.to_thread(runtime.note, effect)


def _said(runtime: Runtime, effect: ProviderSaid) -> Resting | None:
    if effect.answered:
        return runtime.breakers.answered(effect.tier)
    return runtime.breakers.failed(effect.tier, effect.now_ms, effect.asked_ms)


_HERE: Mapping[type[Effect[Any]], Callable[[Runtime, Any, Span], Any]] = {
    Now: lambda runtime, effect, span: runtime.clock(),
    Calibration: lambda runtime, effect, span: runtime.calibrations.permille(effect.model),
    Counted: lambda runtime, effect, span: runtime.calibrations.settling(effect.model),
    Learn: lambda runtime, effect, span: runtime.calibrations.learn(
        effect.model, estimated=effect.estimated, reported=effect.reported, output=effect.output
    ),
    Noted: lambda runtime, effect, span: runtime.note(effect),
    Decided: lambda runtime, effect, span: runtime.telemetry.decided(span, effect.step, effect.decision),
    Measured: lambda runtime, effect, span: runtime.telemetry.measured(span, effect.attributes),
    Remember: lambda runtime, effect, span: runtime.memory.swap(
        effect.run.thread or effect.run.id, effect.lane, effect.request
    ),
    MeasuredBeside: lambda runtime, effect, span: runtime.telemetry.beside(
        span, effect.call, effect.since_ms, effect.attributes, effect.purpose
    ),
    PassOver: lambda runtime, effect, span: runtime.breakers.first(effect.tiers, effect.now_ms),
    ProviderSaid: lambda runtime, effect, span: _said(runtime, effect),
    Change: storing.change,
    Reserve: storing.reserve,
    Extend: storing.extend,
    Settle: storing.settle,
    Release: storing.settle,
    Keep: storing.keep,
    Adjust: storing.adjust,
    Turn: lambda runtime, effect, span: runtime.lineup.turn(
        effect.hold, effect.now_ms, effect.retry_ms, effect.until_ms
    ),
    Wait: lambda runtime, effect, span: _wait(runtime, effect),
    TakeLead: lambda runtime, effect, span: runtime.leads.take(effect.key, effect.now_ms, effect.patience_ms),
    AwaitLead: lambda runtime, effect, span: _await_lead(runtime, effect),
    LeadDone: lambda runtime, effect, span: runtime.leads.done(effect.ticket, effect.now_ms, lives_ms=effect.lives_ms),
    TakeSlot: lambda runtime, effect, span: runtime.slots.take(effect.run.id, effect.width, effect.now_ms),
    AwaitSlot: lambda runtime, effect, span: _await_slot(runtime, effect),
    FreeSlot: lambda runtime, effect, span: runtime.slots.free(
        effect.slot, effect.now_ms, known=effect.known, width=effect.width
    ),
}
"""Effects that do not touch the graph."""
_STORED_ASYNC: Mapping[type[Effect[Any]], Callable[[Runtime, Any, Span], Awaitable[Any]]] = {
    Change: storing.achange,
    Reserve: storing.areserve,
    Extend: storing.aextend,
    Settle: storing.asettle,
    Release: storing.asettle,
    Keep: storing.akeep,
    Adjust: storing.aadjust,
    Noted: _anote,
    Wait: _await,
    AwaitSlot: _aawait_slot,
    AwaitLead: _aawait_lead,
}
"""Those of them that wait: for a store, for room in a rate, or for other calls of the run."""
