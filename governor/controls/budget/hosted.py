"""What the provider's own tools may cost in one call, held before it and charged after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from governor.controls.budget.texts import endless_uses, unknown_fee
from governor.fees import due, most_uses
from governor.ledger import Unit
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import ModelRequest, ModelResponse
    from governor.controls.budget.lines import Line
    from governor.decisions import Decision
    from governor.plans import Quote
    from governor.usage import Usage

__all__ = ["DEFAULT_USES", "HostedFees", "with_fees", "with_worst_fees"]

DEFAULT_USES = 5
"""Uses that a tool without a limit gets in one answer, under a hard limit in money: as many as Anthropic's own examples allow a search."""


class _Held(NamedTuple):
    fees: int
    """Most that the tools can cost, nano-USD."""
    uses: int | None
    """The limit to set on the request for tools that have none; None where the request stays as it is."""


NOTHING = _Held(0, None)


class HostedFees:
    """Prices the provider's tools of a call. Only a hard limit in money changes or refuses a request."""

    def __init__(self, lines: Sequence[Line]) -> None:
        """`lines`: those on which model calls count, outermost scope first."""
        money = (line for line in lines if line.limit is not None and line.unit in (Unit.NANO_USD, Unit.FEES))
        self._hard = next(money, None)

    def held(self, request: ModelRequest) -> _Held | Decision:
        """What is held for the tools. A Decision when a hard limit cannot be kept, since nobody knows what a tool can cost."""
        tools = request.call.hosted
        if not tools:
            return NOTHING
        sets: int | None = None
        for tool in tools:
            if self._hard is None or tool.fee == 0:
                continue
            if tool.fee is None:
                return unknown_fee(self._hard, tool.name, request.model)
            if tool.uses is None and not tool.settable:
                return endless_uses(self._hard, tool.name, request.model)
            if tool.uses is None:
                sets = DEFAULT_USES
        return _Held(due(tools, most_uses(tools, DEFAULT_USES)), sets)


def with_fees(usage: Usage, quote: Quote, response: ModelResponse) -> Usage:
    """The usage of an answer with the fees of the provider's tools: as it reports their uses, all that was held where it broke off."""
    tools = quote.request.call.hosted
    if not tools or response.cached:
        return usage
    fees = due(tools, response.hosted_uses)
    return replace(usage, fees=usage.fees + (max(fees, quote.fees) if usage.estimated else fees))


def with_worst_fees(usage: Usage | None, quote: Quote) -> Usage | None:
    """The usage of a call that broke off with all the fees that were held: what its tools did before that is not known."""
    return usage if usage is None or not quote.fees else replace(usage, fees=usage.fees + quote.fees)
