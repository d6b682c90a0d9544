"""The worst case of one run: steps, model calls, tool calls and money, each a number or UNBOUNDED and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.structure.amounts import UNBOUNDED, ZERO, Amount, Bound, least, total
from governor.structure.counting import Counting
from governor.structure.cuts import holds_a_run
from governor.structure.paying import steps_by_calls
from governor.structure.spending import money

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.policy.schema import Budget, Policy
    from governor.prices import PriceBook
    from governor.structure.shape import Node, Structure

__all__ = ["UNBOUNDED", "Bound", "bounds_of"]

_MODEL_UNITS = ("model_calls", "calls", "tokens", "input_tokens")
"""Units in which a model call is at least 1: every prompt has a token."""
_TOOL_UNITS = ("tool_calls", "calls")


def bounds_of(structure: Structure, policy: Policy, prices: PriceBook | None) -> tuple[Bound, ...]:
    """The four bounds. Under `mode: observe` nothing is refused, and only the graph itself bounds anything."""
    enforced = policy.mode == "enforce"
    limits = policy.limits
    fan_out = int(limits.fan_out) if enforced and limits.fan_out is not None else None
    depth = int(limits.depth) if enforced and limits.depth is not None else None
    counting = Counting(structure, depth=depth, fan_out=fan_out)
    again = 2 if policy.tiers and policy.routing.escalate is not None else 1

    def model_calls(node: Node) -> Amount:
        own = _calls(node, node.calls if node.kind == "tool" else 1) if node.asks else ZERO
        return total([own, Amount(node.asked_after * node.attempts)]).times(again)

    def tool_calls(node: Node) -> Amount:
        return _calls(node, node.calls)

    budgets = [budget for budget in policy.budgets if enforced and holds_a_run(budget)]
    models = least(
        [counting.most(model_calls, lambda shape: shape.asked_first * again), *_budgeted(budgets, _MODEL_UNITS)]
    )
    tools = least([counting.most(tool_calls), *_budgeted(budgets, _TOOL_UNITS)])
    found = [counting.most(lambda node: Amount(1 + node.tasks))]
    if enforced and limits.steps is not None:
        found.append(Amount(int(limits.steps), f"limits.steps {limits.steps.written}"))
    paid = steps_by_calls(structure, models, fan_out=fan_out)
    steps = least([*([paid] if paid else []), *found])
    if not any(shape.asked_first for shape in structure.shapes.values()):
        models = least([_each(structure, steps, model_calls), models])
    tools = least([_each(structure, steps, tool_calls), tools])
    spent = money(policy, prices, models, tools, budgets)
    return (
        Bound(unit="steps", most=steps.most, why=steps.why),
        Bound(unit="model_calls", most=models.most, why=models.why),
        Bound(unit="tool_calls", most=tools.most, why=tools.why),
        Bound(unit="nano_usd", most=spent.most, why=spent.why),
    )


def _calls(node: Node, calls: int | None) -> Amount:
    """Calls of one step of a node, all its attempts together."""
    if calls is None:
        return Amount(None, f"one answer of a model may ask `{node.name}` for any number of tools")
    return Amount(calls * node.attempts)


def _budgeted(budgets: list[Budget], units: tuple[str, ...]) -> Iterator[Amount]:
    for budget in budgets:
        if budget.weights is not None:
            units = tuple(unit for unit in units if unit != "tokens")  # a kind of token may weigh nothing
        for unit in units:
            limit = getattr(budget.limit, unit)
            if limit is not None:
                yield Amount(int(limit), f"budget {budget.id}: {unit} {limit.written}")


def _each(structure: Structure, steps: Amount, worth: Callable[[Node], Amount]) -> Amount:
    """So many steps, each of them the node that calls most."""
    every = [worth(node) for shape in structure.shapes.values() for node in shape.nodes]
    endless = next((amount for amount in every if amount.most is None), None)
    heaviest = endless or max(every, key=lambda amount: amount.most or 0, default=ZERO)
    return Amount(heaviest.most, heaviest.why or steps.why).by(steps)
