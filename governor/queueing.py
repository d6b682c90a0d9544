"""Sub-flows of the path: a model call waits for its turn, where a rung of the ladder lets a run make only so many at once.

A call waits before it reserves: what it would hold meanwhile at its worst case is what the calls before it may still need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.effects import NOW, AwaitSlot, Change, Decided, Flow, FreeSlot, Reserve, TakeSlot, ask
from governor.ledger import Halted
from governor.reserving import admit, refuse, refuse_again
from governor.slots import LOOK_MS
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.controls import Controls
    from governor.plans import Rung
    from governor.runs import RunState
    from governor.slots import Slot

__all__ = ["Door", "in_turn", "leave", "looked"]


class Door:
    """What one model call has to do with the others of its run: its place, if it took one."""

    __slots__ = ("slot", "state", "width")

    def __init__(self) -> None:
        """Outside."""
        self.slot: Slot | None = None
        self.width: int | None = None
        """What the call last asked for."""
        self.state: RunState | None = None
        """The run's state after the call, once it has one: what those who wait are held to from then on."""


def leave(door: Door, controls: Controls) -> Flow[None]:
    """Give the place back that a call took, however it ended."""
    if door.slot is None:
        return
    width = controls.ladder.fan_out(controls.ladder.rung(door.state)) if door.state else None
    now = yield from ask(NOW)
    yield from ask(FreeSlot(door.slot, now, known=door.state is not None, width=width))


def in_turn(
    call: ModelCall, door: Door, rung: Rung, state: RunState, now: int, controls: Controls
) -> Flow[tuple[Rung, RunState, int]]:
    """Let a call that goes by `rung` wait until it is one of so many. Answers what holds for it then: rung, state, time.

    Every call takes a place, also one that nothing bounds: those who wait are held to how many there are. A call that goes further down
    the ladder waits again, behind the others. Raises as the path does when the run was stopped or halted meanwhile, or its time is over.
    """
    ladder, run = controls.ladder, call.step.run
    if not ladder.narrows:
        return rung, state, now
    width = ladder.fan_out(rung)
    if door.slot is not None:
        answered = (
            door.state is not None
        )  # a better answer is asked for: an error of a wait must not undo the one that was paid
        if answered or width is None or (door.width is not None and width >= door.width):
            return rung, state, now
        slot, door.slot = door.slot, None
        yield from ask(FreeSlot(slot, now))
    door.slot, door.width = (yield from ask(TakeSlot(run, width, now))), width
    if door.slot.inside:
        return rung, state, now

    began = now
    while not (yield from ask(AwaitSlot(door.slot, LOOK_MS, now))):
        _, now = yield from looked(call, controls)
    fresh, now = yield from looked(call, controls)
    yield from ask(Decided(call.step, ladder.waited(rung, state, now - began)))
    state = replace(fresh, model_calls=state.model_calls)  # the call keeps the number that it began with
    if door.slot.raised:  # the run has left that rung: where it stands now, the reservation will tell
        rung = ladder.rung(state)
        door.width = ladder.fan_out(rung)
    return rung, state, now


def looked(call: ModelCall, controls: Controls) -> Flow[tuple[RunState, int]]:
    """The run's state and the time, unless the run must not go on."""
    step, now = call.step, (yield from ask(NOW))
    state = yield from ask(Change(step.run, lambda before: (before, before)))
    yield from refuse_again(step, state)
    yield from admit(step, controls.limits.overdue(state, now))
    ended = controls.ladder.finished(state, call)
    if ended is not None:
        yield from refuse(step, ended)
    halted = yield from ask(Reserve(step.run, "", (), 0, now))
    if isinstance(halted, Halted):
        yield from refuse(step, controls.budget.halt(halted))
    return state, now
