"""Effects that need the store, performed: twins, blocking and not. What a store that does not answer means is in `losing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.effects import Settle
from governor.errors import LeaseConflict, StoreError
from governor.ledger import ReserveRequest
from governor.losing import UNMETERED
from governor.values import maker

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from governor.effects import Adjust, Change, Extend, Keep, Release, Reserve
    from governor.ledger import Halted, Lease, Refusal
    from governor.runs import RunState
    from governor.runtime import Runtime

__all__ = [
    "aadjust",
    "achange",
    "adjust",
    "aextend",
    "akeep",
    "areserve",
    "asettle",
    "catch_up_on",
    "change",
    "extend",
    "keep",
    "reserve",
    "settle",
]

_reservation = maker(ReserveRequest)


def _wanted(runtime: Runtime, effect: Reserve, key: str | None = None) -> ReserveRequest:
    """The request. Its payload is new each time: what repeats an id with another one is not the same attempt sent twice."""
    run = effect.run
    return _reservation(
        id=key or effect.key,
        holds=effect.holds,
        ttl_ms=effect.ttl_ms,
        now_ms=effect.now_ms,
        payload=effect.key if effect.waits else runtime.new_id(),
        scopes=run.names,
        run=run.id,
        escrow=effect.escrow,
        dispatched=not effect.waits,
    )


def reserve(runtime: Runtime, effect: Reserve, span: Span) -> Lease | Refusal:
    """Hold what a call may cost; without holds, only look for a halt. Raises RunStopped for a store that is lost."""
    store = runtime.store
    try:
        if not effect.holds:
            return store.halted(effect.run.names) or UNMETERED
        try:
            return store.reserve(_wanted(runtime, effect))
        except LeaseConflict:  # the store forgot how far the run had counted, or two workers run one step
            return store.reserve(_wanted(runtime, effect, f"{effect.key}+{runtime.new_id()}"))
    except StoreError as error:
        return runtime.losses.refused(error, effect.run, span, effect.path)


async def areserve(runtime: Runtime, effect: Reserve, span: Span) -> Lease | Refusal:
    """The async twin of `reserve`."""
    store = runtime.store
    try:
        if not effect.holds:
            return await store.ahalted(effect.run.names) or UNMETERED
        try:
            return await store.areserve(_wanted(runtime, effect))
        except LeaseConflict:
            return await store.areserve(_wanted(runtime, effect, f"{effect.key}+{runtime.new_id()}"))
    except StoreError as error:
        return runtime.losses.refused(error, effect.run, span, effect.path)


def change(runtime: Runtime, effect: Change[Any], span: Span) -> Any:
    """Change a run's state, then tell the store what it could not be told before. Raises RunStopped for a store that is lost."""
    losses, run = runtime.losses, effect.run.id
    try:
        if losses.opens:
            noted = losses.runs.noted(run, effect.apply)
            answer = runtime.store.change(run, noted, later=effect.later)
            losses.runs.made(run, noted)
        else:
            answer = runtime.store.change(run, effect.apply, later=effect.later)
    except StoreError as error:
        return losses.missed(effect, error, span)
    if losses.unsettled:
        _catch_up(runtime)
    return answer


async def achange(runtime: Runtime, effect: Change[Any], span: Span) -> Any:
    """The async twin of `change`."""
    losses, run = runtime.losses, effect.run.id
    try:
        if losses.opens:
            noted = losses.runs.noted(run, effect.apply)
            answer = await runtime.store.achange(run, noted, later=effect.later)
            losses.runs.made(run, noted)
        else:
            answer = await runtime.store.achange(run, effect.apply, later=effect.later)
    except StoreError as error:
        return losses.missed(effect, error, span)
    if losses.unsettled:
        await _acatch_up(runtime)
    return answer


def settle(runtime: Runtime, effect: Settle | Release, span: Span) -> None:
    """Charge a call that was made, or give its lease back. A store that is lost is told later."""
    del span
    try:
        _tell(runtime, effect)
    except StoreError:
        runtime.losses.owe(effect)


async def asettle(runtime: Runtime, effect: Settle | Release, span: Span) -> None:
    """The async twin of `settle`."""
    del span
    try:
        await _atell(runtime, effect)
    except StoreError:
        runtime.losses.owe(effect)


def keep(runtime: Runtime, effect: Keep, span: Span) -> None:
    """Store the text behind a handle. Raises RunStopped for a store that is lost."""
    try:
        runtime.store.keep(effect.run.id, effect.handle, effect.text)
    except StoreError as error:
        runtime.losses.unkept(error, effect.run, span)


async def akeep(runtime: Runtime, effect: Keep, span: Span) -> None:
    """The async twin of `keep`."""
    try:
        await runtime.store.akeep(effect.run.id, effect.handle, effect.text)
    except StoreError as error:
        runtime.losses.unkept(error, effect.run, span)


def adjust(runtime: Runtime, effect: Adjust, span: Span) -> None:
    """An operator's change made by the policy. The run is over in this process either way, so a lost store ends nothing."""
    del span
    try:
        runtime.store.adjust(effect.change)
    except StoreError:
        runtime.losses.unadjusted()


async def aadjust(runtime: Runtime, effect: Adjust, span: Span) -> None:
    """The async twin of `adjust`."""
    del span
    try:
        await runtime.store.aadjust(effect.change)
    except StoreError:
        runtime.losses.unadjusted()


def extend(runtime: Runtime, effect: Extend, span: Span) -> bool | Halted:
    """Heartbeat of a stream, which also tells of a halt. One that is not heard does not end it: its answer is being paid for."""
    del span
    store = runtime.store
    try:
        alive = store.extend(effect.lease, effect.ttl_ms, effect.now_ms)
        return (store.halted(effect.run.names) if effect.run else None) or alive
    except StoreError:
        return runtime.losses.unextended()


async def aextend(runtime: Runtime, effect: Extend, span: Span) -> bool | Halted:
    """The async twin of `extend`."""
    del span
    store = runtime.store
    try:
        alive = await store.aextend(effect.lease, effect.ttl_ms, effect.now_ms)
        return (await store.ahalted(effect.run.names) if effect.run else None) or alive
    except StoreError:
        return runtime.losses.unextended()


def _tell(runtime: Runtime, effect: Settle | Release) -> None:
    if isinstance(effect, Settle):
        runtime.store.settle(effect.charge)
    else:
        runtime.store.release(effect.lease, effect.now_ms)


async def _atell(runtime: Runtime, effect: Settle | Release) -> None:
    if isinstance(effect, Settle):
        await runtime.store.asettle(effect.charge)
    else:
        await runtime.store.arelease(effect.lease, effect.now_ms)


def _catch_up(runtime: Runtime) -> None:
    """Settle what is owed, until the store fails again. Settling is idempotent, so that it does no harm to tell it twice."""
    losses = runtime.losses
    while (owed := losses.due()) is not None:
        try:
            _tell(runtime, owed)
        except BaseException as error:
            losses.still_due(owed)
            if not isinstance(error, StoreError):
                raise
            return
        losses.told()


async def _acatch_up(runtime: Runtime) -> None:
    """The async twin of `_catch_up`."""
    losses = runtime.losses
    while (owed := losses.due()) is not None:
        try:
            await _atell(runtime, owed)
        except BaseException as error:
            losses.still_due(owed)
            if not isinstance(error, StoreError):
                raise
            return
        losses.told()


def catch_up_on(runtime: Runtime, run: str) -> None:
    """Tell the store what it has missed of a run that is about to be taken up. Raises StoreError when it is still lost."""
    if runtime.losses.runs.misses(run):
        noted = runtime.losses.runs.noted(run, _unchanged)
        runtime.store.change(run, noted)
        runtime.losses.runs.made(run, noted)


def _unchanged(state: RunState) -> tuple[RunState, None]:
    return state, None
