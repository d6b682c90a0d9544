"""What a pause does to the state of a run: a question to a person about the run as a whole, its answer, and a policy that has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.decisions import Decision, Reason, Verdict
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.runs import Question, RunState

__all__ = ["adopted", "answered", "asked", "changed", "given_more", "moved", "tried_again", "unavailable"]


def asked(state: RunState, question: Question) -> tuple[RunState, None]:
    """Note a question. An older one is void: whoever resumed without an answer to it was asked anew."""
    return replace(state, question=question), None


def answered(state: RunState, identifier: str, grants: Mapping[str, int], now: int) -> tuple[RunState, bool]:
    """Use a question up, with what its answer grants. False when it was answered before: of two answers only one counts.

    The time that the run waited for a person is not the run's own.
    """
    question = state.question
    if question is None or question.id != identifier:
        return state, False
    total = dict(state.grants)
    for ledger, amount in grants.items():
        total[ledger] = total.get(ledger, 0) + amount
    started = min(now, state.started_ms + max(0, now - question.asked_ms)) if state.started_ms else 0
    return replace(state, question=None, grants=total, started_ms=started), True


def tried_again(state: RunState) -> RunState:
    """The run with the best tier's failures forgotten: somebody resumed it, so it is not given up."""
    return state if not state.route.failures else replace(state, route=replace(state.route, failures=0, best=False))


def moved(state: RunState, policy_hash: str) -> RunState:
    """The run under another policy from here on."""
    return state if state.policy == policy_hash else replace(state, policy=policy_hash)


def given_more(rule: str, grants: Mapping[str, int]) -> Decision:
    """For the trace: a person raised this run's limits."""
    amounts = ", ".join(f"{amount} {ledger.rpartition('/')[2]}" for ledger, amount in grants.items())
    reason = Reason(
        code="budget.granted",
        rule=rule,
        text=f"A person gave this run more of budget {rule}: {amounts}.",
        evidence={f"more.{ledger.rpartition('/')[2]}": amount for ledger, amount in grants.items()},
    )
    return Decision(control="budget", verdict=Verdict.MODIFY, reason=reason)


def changed(before: str, now: str) -> Reason:
    """Why a run is held: its policy has changed, and a person decides whether it goes on under the new one."""
    return Reason(
        code="policy.changed",
        rule="on_policy_change",
        text=f"The policy changed while this run waited: it began under {before[:19]} and would go on under {now[:19]}.",
        limit="ask",
        seen=now,
        remedy='Resume with `Command(resume="adopt")` to go on under the new policy; anything else ends the run.',
        evidence={"before": before, "now": now},
    )


def adopted(before: str, now: str) -> Decision:
    """For the trace: the run goes on under another policy than it began under, and its pending calls are judged by that."""
    text = f"This run began under policy {before[:19]} and goes on under {now[:19]}."
    reason = Reason(code="policy.adopted", rule="on_policy_change", text=text, evidence={"before": before, "now": now})
    return Decision(control="policy", verdict=Verdict.MODIFY, reason=reason)


def unavailable(before: str, now: str, why: str) -> Reason:
    """Why a run cannot go on: it is pinned to a policy that nobody can read any more."""
    return Reason(
        code="policy.unavailable",
        rule="on_policy_change",
        text=f"This run is pinned to the policy {before[:19]} that it began under, and {why}.",
        limit="pin",
        seen=now,
        remedy="Resume it under the policy that it began under, or write `on_policy_change: adopt` or `ask`.",
        evidence={"before": before, "now": now},
    )
