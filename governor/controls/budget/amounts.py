"""What a call holds at its worst case, unit by unit, and what a hold is settled at when nothing better is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.ledger import Hold, Unit
from governor.tokens import MESSAGE_FRAMING, REQUEST_FRAMING, TOOLS_PREAMBLE, estimate
from governor.values import copier

if TYPE_CHECKING:
    from governor.calls import ModelRequest
    from governor.weighing import Weighing

__all__ = ["MONEY", "as_held", "by_unit", "prompt_estimate", "with_amounts"]

_changed = copier(Hold)

MONEY = (Unit.NANO_USD, Unit.FEES)


def prompt_estimate(request: ModelRequest) -> int:
    """The estimator's count of everything that will be sent, before calibration."""
    tools, said = request.call.tools, request.view.notes
    offered = TOOLS_PREAMBLE + sum([tool.tokens for tool in tools]) if tools else 0
    notes = sum([MESSAGE_FRAMING + estimate(note) for note in said]) if said else 0
    return REQUEST_FRAMING + request.view.tokens + offered + notes


def with_amounts(
    holds: tuple[Hold, ...], weighings: tuple[Weighing | None, ...], prompt: int, output: int, cost: int, fees: int
) -> tuple[Hold, ...]:
    """The holds with the upper bound of a model call as their amounts."""
    needed = by_unit(prompt, output, cost, fees)
    if not weighings:
        return tuple([_changed(hold, amount=needed.get(hold.unit, 1)) for hold in holds])
    return tuple(
        [
            _changed(hold, amount=weighing.held(prompt, output) if weighing else needed.get(hold.unit, 1))
            for hold, weighing in zip(holds, weighings, strict=True)
        ]
    )


def by_unit(prompt: int, output: int, cost: int, fees: int) -> dict[Unit, int]:
    """The upper bound of a model call by unit. Any other unit counts 1: calls, and time, which is known only afterwards."""
    return {
        Unit.FEES: fees,
        Unit.NANO_USD: cost,
        Unit.TOKENS: prompt + output,
        Unit.INPUT_TOKENS: prompt,
        Unit.OUTPUT_TOKENS: output,
    }


def as_held(hold: Hold, elapsed_ms: int) -> int:
    """What is charged for a hold as held: all of it, but time, of which only now is known how much it was."""
    return max(1, elapsed_ms) if hold.unit is Unit.MILLISECONDS else hold.amount
