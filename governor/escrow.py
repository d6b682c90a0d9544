"""Sub-flows of the path: `split: escrow`. A branch's slice of a budget is reserved when it begins, and what is left of it goes back.

A slice is a lease whose call never begins: the branch's calls take from it within their own reservation. It is known by the branch's
namespace, so that a retry or a resume finds it again; a worker that is killed leaves it to expire, which gives back what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.budget.shares import around
from governor.decisions import Decision, Reason, Verdict
from governor.effects import NOW, Change, Decided, Extend, Flow, Release, Reserve, ask
from governor.ledger import Lease, Shortfall, shown
from governor.runs import Escrow, EscrowPart
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import RunRef, StepRef
    from governor.controls import Controls
    from governor.ledger import Hold
    from governor.runs import RunState

__all__ = ["close_branch", "close_run", "open_branch"]

_EVERYTHING = 9_000_000_000_000_000
"""More than any ledger has (`governor.stores.ledgers.MOST`): asking for it is refused, and the refusal says what is left."""
_TRIES = 4
"""How often a slice is asked for again, smaller, when others were quicker."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch that begins."""

    step: StepRef
    width: int
    opened: int
    """How many slices it has had before: it was interrupted, or the last one expired."""
    outer: str
    """The slice of the branch around it, that its own is a part of; empty when there is none."""
    now: int

    @property
    def key(self) -> str:
        return f"{self.step.run.id}/escrow/{self.step.ns}/{self.opened + 1}"


def open_branch(step: StepRef, state: RunState, controls: Controls) -> Flow[None]:
    """Reserve the slice of a branch that begins, or find the one that it has. Nothing, for a step that is no branch."""
    branches = around(step, state)
    if not branches or branches[-1].ns != step.ns:
        return
    now = yield from ask(NOW)
    known = state.escrows.get(step.ns)
    ttl = controls.budget.lease_ttl_ms
    if known is not None and known.lease and (yield from ask(Extend(known.lease, ttl, now))):
        return
    whole = controls.budget.escrowed(step, now, state.grants, keeps=controls.ladder.keeps)
    outer = controls.shares.escrow(step, state)
    branch = _Branch(step, branches[-1].width, known.opened if known else 0, outer, now)
    amounts = known.amounts if known else (yield from _part(branch, whole, state, controls))
    yield from _reserve(branch, whole, dict(amounts), state, controls)


def close_branch(step: StepRef) -> Flow[None]:
    """Give back what is left of the slice of a branch that has ended for good."""
    lease = yield from ask(Change(step.run, lambda state: _closed(state, step.ns), past=True))
    if lease:
        yield from ask(Release(lease, (yield from ask(NOW))))


def close_run(run: RunRef) -> Flow[None]:
    """Give back what is left of every slice of a run that ends or waits for a person. A branch that is resumed asks for its rest again."""
    leases = yield from ask(Change(run, _all_closed, past=True))
    for lease in leases or ():
        yield from ask(Release(lease, (yield from ask(NOW))))


def _part(branch: _Branch, whole: tuple[Hold, ...], state: RunState, controls: Controls) -> Flow[Mapping[str, int]]:
    """What each branch of this superstep that has not begun may have, by ledger: one part for all, until one ends and gives back."""
    step = branch.step
    decided = _decided(state, step.ns)
    if decided is not None:
        return decided.amounts
    left: dict[str, int] = {}
    for hold in whole:
        holds = _with_branches(branch, hold, _EVERYTHING, None, state, controls)
        asked = Reserve(step.run, f"{branch.key}?", holds, 1, branch.now, step.path, escrow=branch.outer, waits=True)
        answer = yield from ask(asked)
        if isinstance(answer, Shortfall):
            left[hold.ledger] = answer.remaining
    part = yield from ask(Change(step.run, lambda now: _deciding(now, step.ns, branch.width, left)))
    return part.amounts


def _reserve(
    branch: _Branch, whole: tuple[Hold, ...], amounts: dict[str, int], state: RunState, controls: Controls
) -> Flow[None]:
    step, limits = branch.step, dict(amounts)
    for _ in range(_TRIES):
        holds: list[Hold] = []
        owners: dict[str, str] = {}
        for hold in whole:
            if amounts.get(hold.ledger):
                each = _with_branches(branch, hold, amounts[hold.ledger], limits[hold.ledger], state, controls)
                owners |= {part.ledger: hold.ledger for part in each}
                holds += each
        if not holds:
            return
        ttl = controls.budget.lease_ttl_ms
        asked = Reserve(step.run, branch.key, tuple(holds), ttl, branch.now, step.path, escrow=branch.outer, waits=True)
        answer = yield from ask(asked)
        if isinstance(answer, Lease):
            if branch.opened == 0:
                limits = amounts
            yield from _note(branch, answer, limits)
            yield from ask(Decided(step, _opened(step, whole, amounts)))
            return
        if not isinstance(answer, Shortfall):
            return  # halted: the first call says so
        amounts[owners[answer.hold.ledger]] = answer.remaining


def _note(branch: _Branch, lease: Lease, amounts: Mapping[str, int]) -> Flow[None]:
    noted = Escrow(lease=lease.id, amounts=amounts, opened=branch.opened + 1)
    ns = branch.step.ns
    yield from ask(Change(branch.step.run, lambda state: (replace(state, escrows={**state.escrows, ns: noted}), None)))


def _with_branches(
    branch: _Branch, hold: Hold, amount: int, limit: int | None, state: RunState, controls: Controls
) -> tuple[Hold, ...]:
    """The hold on the budget and on the slices that it is a part of; with a limit, on this branch's own ledger too."""
    hold = replace(hold, amount=amount)
    return controls.shares.sliced(hold, branch.step, state, branch.now, limit)


def _opened(step: StepRef, whole: tuple[Hold, ...], amounts: Mapping[str, int]) -> Decision:
    kept = [(hold, amounts[hold.ledger]) for hold in whole if amounts.get(hold.ledger)]
    said = ", ".join(f"{shown(amount, hold.unit)} of {hold.written} ({hold.budget})" for hold, amount in kept)
    reason = Reason(
        code="budget.escrow",
        rule=kept[0][0].budget,
        text=f"Reserved for branch {step.path}: {said}.",
        limit=kept[0][0].written,
        seen=shown(kept[0][1], kept[0][0].unit),
    )
    return Decision(control="budget", verdict=Verdict.MODIFY, reason=reason)


# --- what the run's state knows of its slices


def _parent(ns: str) -> str:
    return ns.rpartition("|")[0]


def _current(state: RunState, ns: str) -> EscrowPart:
    """What is known of the superstep that a branch is in."""
    parent = _parent(ns)
    fan, part = state.fans.get(parent), state.parts.get(parent)
    checkpoint = fan[0] if fan else ""
    return part if part is not None and part.checkpoint == checkpoint else EscrowPart(checkpoint=checkpoint)


def _decided(state: RunState, ns: str) -> EscrowPart | None:
    part = _current(state, ns)
    return part if part.decided_at == part.closed else None


def _deciding(state: RunState, ns: str, width: int, left: Mapping[str, int]) -> tuple[RunState, EscrowPart]:
    """Whoever comes first says what each gets, as nobody has taken anything of it yet."""
    decided = _decided(state, ns)
    if decided is not None:
        return state, decided
    part, parent = _current(state, ns), _parent(ns)
    begun = sum(1 for each in state.escrows if _parent(each) == parent and each != ns)
    waiting = max(1, width - part.closed - begun)
    part = replace(part, decided_at=part.closed, amounts={ledger: rest // waiting for ledger, rest in left.items()})
    return replace(state, parts={**state.parts, parent: part}), part


def _closed(state: RunState, ns: str) -> tuple[RunState, str]:
    known = state.escrows.get(ns)
    if known is None:
        return state, ""
    parent, inside = _parent(ns), f"{ns}|"
    escrows = {each: escrow for each, escrow in state.escrows.items() if each != ns}
    parts = {each: part for each, part in state.parts.items() if not f"{each}|".startswith(inside)}
    part = _current(state, ns)
    parts[parent] = replace(part, closed=part.closed + 1)
    return replace(state, escrows=escrows, parts=parts), known.lease


def _all_closed(state: RunState) -> tuple[RunState, tuple[str, ...]]:
    leases = tuple([escrow.lease for escrow in state.escrows.values() if escrow.lease])
    if not leases:
        return state, ()
    return replace(state, escrows={ns: replace(escrow, lease="") for ns, escrow in state.escrows.items()}), leases
