"""What a refused budget says: the limit as written, what was seen, what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from governor.decisions import Decision, Reason, Verdict
from governor.ledger import WORDS, Unit, shown
from governor.values import replace

if TYPE_CHECKING:
    from governor.calls import ModelRef
    from governor.controls.budget.lines import Line
    from governor.ledger import Halted, Hold, Shortfall
    from governor.policy.rates import WhenFull

__all__ = [
    "alerted",
    "breached",
    "endless_uses",
    "exhausted",
    "missing_owner",
    "missing_scope",
    "rate_full",
    "share_used_up",
    "stopped_by_operator",
    "unknown_fee",
    "unknown_price",
]


def exhausted(shortfall: Shortfall) -> Decision:
    """The refusal of a reservation that did not fit: the run stops, what it has paid for is kept."""
    hold = shortfall.hold
    limit = _written(hold.written, hold.unit)
    seen = f"spent {shown(shortfall.spent, hold.unit)} + reserved {shown(shortfall.reserved, hold.unit)}"
    needs = "" if hold.unit is Unit.MILLISECONDS else f", and this call needs up to {shown(hold.amount, hold.unit)}"
    return _stop(
        Reason(
            code="budget.exhausted",
            rule=hold.budget,
            text=f"Budget {hold.budget} ({hold.scope}) allows {limit}: {seen}{needs}.",
            limit=hold.written,
            seen=seen,
            remedy=f"Raise the limit of budget {hold.budget}, wait for its next window, or make the run cheaper.",
            evidence={
                "budget": hold.budget,
                "ledger": hold.ledger,
                "unit": hold.unit.value,
                "limit": hold.limit or hold.alert or 0,
                "spent": shortfall.spent,
                "reserved": shortfall.reserved,
                "needed": hold.amount,
            },
        )
    )


def share_used_up(shortfall: Shortfall) -> Decision:
    """The refusal of a branch that has used its share of a budget: a denial, since the budget has more for the branches beside it."""
    hold, whole = shortfall.hold, exhausted(shortfall).reason
    parent, _, branch = hold.scope.rpartition(",branch=")
    text = (
        f"Branch {branch} may use {hold.written} {WORDS.get(hold.unit, 'of money')} of budget {hold.budget} ({parent})"
    )
    reason = Reason(
        code="budget.share",
        rule=hold.budget,
        text=f"{text}: {whole.seen if whole else ''}, and this call needs up to {shown(hold.amount, hold.unit)}.",
        limit=hold.written,
        seen=whole.seen if whole else None,
        remedy=f"Catch `governor.CallDenied` in the branch and return what it has, raise its share under `split` of budget {hold.budget}, "
        "or write `split: shared`.",
        evidence={**(whole.evidence if whole else {}), "branch": branch},
    )
    return Decision(control="budget", verdict=Verdict.DENY, reason=reason)


def alerted(shortfall: Shortfall) -> Decision:
    """The report that a soft or observed budget was passed: what would have stopped the run, had the budget been hard."""
    decision = exhausted(shortfall)
    reason = decision.reason
    if reason is None:  # a refusal always has one
        return decision
    told = replace(reason, code="budget.passed", text=f"{reason.text} It is not enforced: the call goes on.")
    return replace(decision, reason=told, observed=True)


def breached(hold: Hold, amount: int) -> Decision:
    """The report that a call was billed beyond what was held for it: charged in full, and a debt once it passes the limit."""
    charged, held = shown(amount, hold.unit), shown(hold.amount, hold.unit)
    reason = Reason(
        code="budget.breach",
        rule=hold.budget,
        text=f"Budget {hold.budget} ({hold.scope}) was charged {charged} for a call that was to cost at most {held}.",
        limit=hold.written,
        seen=charged,
        remedy="It is charged in full. See why the provider went beyond the length that was set, or the price that is known.",
        evidence={
            "budget": hold.budget,
            "ledger": hold.ledger,
            "unit": hold.unit.value,
            "held": hold.amount,
            "charged": amount,
        },
    )
    return Decision(control="budget", verdict=Verdict.ALLOW, reason=reason)


def stopped_by_operator(halted: Halted) -> Decision:
    """The refusal of a call under a scope that an operator halted."""
    since = datetime.fromtimestamp(halted.at_ms / 1_000, UTC)
    return _stop(
        Reason(
            code="halted",
            rule=halted.scope,
            text=f"{halted.who} halted {halted.scope} at {since:%Y-%m-%d %H:%M:%S} UTC: {halted.why}",
            seen=halted.scope,
            remedy=f"When the cause is mended: `governor resume {halted.scope} --why ...`, then resume the thread.",
            evidence={"scope": halted.scope, "who": halted.who, "at_ms": halted.at_ms},
        )
    )


def unknown_price(line: Line, model: ModelRef) -> Decision:
    """The refusal of a model whose cost nobody knows, under a limit in money."""
    budget, limit = line.budget.id, f"${line.written.removeprefix('$')}"
    return _stop(
        Reason(
            code="budget.unknown_price",
            rule=budget,
            text=f"Budget {budget} allows {limit}, and the price of {model} is not known, so that it cannot be held.",
            limit=line.written,
            seen=f"no price for {model}",
            remedy="Name the model as a tier with `price: {input: ..., output: ...}`, in dollars per million tokens, or, where the name "
            "is an alias, with `serves: [provider:model]`.",
        )
    )


def unknown_fee(line: Line, tool: str, model: ModelRef) -> Decision:
    """The refusal of a provider's own tool whose fee nobody knows beforehand, under a limit in money."""
    budget, limit = line.budget.id, f"${line.written.removeprefix('$')}"
    return _stop(
        Reason(
            code="budget.unknown_fee",
            rule=budget,
            text=f"Budget {budget} allows {limit}, and what {model} is billed for its tool {tool} is not known beforehand.",
            limit=line.written,
            seen=f"no fee for {tool}",
            remedy=f"Do not offer {tool}, or make the budget soft (`hard: false`).",
        )
    )


def endless_uses(line: Line, tool: str, model: ModelRef) -> Decision:
    """The refusal of a provider's own tool that may be used without end, under a limit in money."""
    budget, limit = line.budget.id, f"${line.written.removeprefix('$')}"
    return _stop(
        Reason(
            code="budget.endless_uses",
            rule=budget,
            text=f"Budget {budget} allows {limit}, and {model} may use its tool {tool}, which costs a fee, without a limit.",
            limit=line.written,
            seen=f"no limit of uses for {tool}",
            remedy=f"Set `max_uses` on {tool} where it is bound, do not offer it, or make the budget soft (`hard: false`).",
        )
    )


def missing_scope(line: Line, scope: str) -> Decision:
    """The refusal of a run that does not say whose budget it spends."""
    budget = line.budget.id
    return _stop(
        Reason(
            code="budget.missing_scope",
            rule=budget,
            text=f"Budget {budget} is counted per {scope}, and this run names no {scope}.",
            limit=line.written,
            seen=f"no {scope}",
            remedy=_SCOPE_REMEDIES.get(scope, f"Pass the key that `identity.{scope}` names in the run's config."),
        )
    )


def missing_owner(rate: str, scope: str) -> Decision:
    """The refusal of a run that does not say in whose name it takes of a rate."""
    return _stop(
        Reason(
            code="rate.missing_scope",
            rule=rate,
            text=f"Rate {rate} is kept per {scope}, and this run names no {scope}.",
            seen=f"no {scope}",
            remedy=f"Pass the key that `identity.{scope}` names in the run's config.",
        )
    )


def rate_full(shortfall: Shortfall, full: WhenFull) -> Decision:
    """The refusal of one call for which a rate has no room. Later there is, so that the run may go on; one that never fits is told so."""
    hold, retry = shortfall.hold, shortfall.retry_ms
    needs = shown(hold.amount, hold.unit)
    evidence: dict[str, str | int] = {"ledger": hold.ledger, "unit": hold.unit.value, "needed": hold.amount}
    if retry is None:
        reason = Reason(
            code="rate.too_large",
            rule=hold.budget,
            text=f"Rate {hold.budget} ({hold.scope}) admits {hold.written}, and this call alone needs {needs}.",
            limit=hold.written,
            seen=needs,
            remedy="Lower `max_output_tokens` of the tier or `context.max_input_tokens`, or raise the rate: waiting does not help.",
            evidence=evidence,
        )
        return Decision(control="budget", verdict=Verdict.DENY, reason=reason)
    waits = f" within {full.wait.written}" if full.wait else ""
    reason = Reason(
        code="rate.full",
        rule=hold.budget,
        text=f"Rate {hold.budget} ({hold.scope}) admits {hold.written}: it is used up, and there is no room for {needs}{waits}.",
        limit=hold.written,
        seen=shown(shortfall.reserved, hold.unit),
        remedy=f"Try again in {-(-retry // 1_000)}s or later, raise rate {hold.budget}, or let `when_full` wait or go to a lower tier.",
        evidence={**evidence, "retry_ms": retry},
    )
    return Decision(control="budget", verdict=Verdict.DENY, reason=reason)


_SCOPE_REMEDIES = {
    "thread": 'Compile the graph with a checkpointer and pass `{"configurable": {"thread_id": ...}}`.',
    "agent": "Name the agent under `identity.agent`, or give the graph a name.",
}


def _written(written: str, unit: Unit) -> str:
    if unit in (Unit.NANO_USD, Unit.FEES):
        return f"${written.removeprefix('$')}{' of fees' if unit is Unit.FEES else ''}"
    return written if unit is Unit.MILLISECONDS else f"{written} {WORDS[unit]}"


def _stop(reason: Reason) -> Decision:
    return Decision(control="budget", verdict=Verdict.STOP, reason=reason)
