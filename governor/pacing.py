"""Waiting for room in a rate: in order, with an end, and without deafness to a halt."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from governor.effects import NOW, Flow, Reserve, Turn, Wait, ask
from governor.ledger import Halted, Shortfall
from governor.slots import LOOK_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.calls import StepRef
    from governor.controls import Controls
    from governor.ledger import Hold, Lease, Refusal
    from governor.runs import RunState

__all__ = ["Lineup", "paced"]

_MOST_LEDGERS = 1_024


class Lineup:
    """The order in which calls of this process wait for a rate: first come, first served, each a whole turn after the one before.

    Turns come from arithmetic, not from chance: who finds no room is given the moment at which there is room for it behind all who
    came before it, so that nobody polls and nobody is overtaken. Other processes' calls are not in it; they meet in the store.
    """

    def __init__(self) -> None:
        """Nobody waits."""
        self._lock = Lock()
        self._latest: dict[str, int] = {}

    def turn(self, hold: Hold, now: int, retry_ms: int, until: int) -> int:
        """The moment of the hold's turn, `now` when nobody waits and `retry_ms` is 0. Beyond `until` no place is taken."""
        spacing = -(-hold.amount * (hold.per_ms or 1) // max(1, hold.limit or 1))
        with self._lock:
            latest = self._latest.get(hold.ledger, 0)
            turn = max(now + retry_ms, latest + spacing if latest > now else 0)
            if now < turn <= until:
                if len(self._latest) >= _MOST_LEDGERS:
                    self._latest = {key: at for key, at in self._latest.items() if at > now}
                self._latest[hold.ledger] = turn
            return turn


def paced(
    step: StepRef,
    take: Callable[[int], Flow[Lease | Refusal]],
    short: Shortfall,
    controls: Controls,
    state: RunState,
    now: int,
) -> Flow[tuple[Lease | Refusal, int]]:
    """What a reservation that found no room in a rate gets in the end, and when that is.

    Waits as the policy says, never beyond what the run's own time allows, and never where that would block an event loop.
    """
    full = controls.budget.when_full(short)
    if full.wait is None or short.retry_ms is None:
        return short, now
    until = now + int(full.wait)
    ends = controls.limits.ends(state)
    until = until if ends is None else min(until, ends)
    answer: Lease | Refusal = short
    turn = yield from ask(Turn(short.hold, now, short.retry_ms, until))
    while isinstance(answer, Shortfall) and answer.retry_ms is not None and turn <= until:
        while now < turn:
            pause = min(turn - now, LOOK_MS)
            if not (yield from ask(Wait(pause))):
                return answer, now
            now = max(now + pause, (yield from ask(NOW)))  # a clock that was set back must not prolong the wait
            halted = yield from ask(Reserve(step.run, "", (), 0, now))
            if isinstance(halted, Halted):
                return halted, now
        answer = yield from take(now)
        if isinstance(answer, Shortfall):
            turn = now + max(1, answer.retry_ms or 0)
    return answer, now
