"""More of a budget, given by a person to one run that had used it up (`on_exhausted: ask`).

A grant belongs to one ledger and to one run: others that count on the same ledger keep the limit that the policy gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from governor.controls.budget.amounts import MONEY
from governor.controls.budget.lines import FIELDS
from governor.ledger import Unit, shown
from governor.policy.scalars import Count, Milliseconds, NanoUsd, ScalarError, Tokens
from governor.values import replace

if TYPE_CHECKING:
    from governor.ledger import Hold
    from governor.policy.schema import Budget

__all__ = ["granted", "raised"]

_READ = {Unit.NANO_USD: NanoUsd, Unit.FEES: NanoUsd, Unit.MILLISECONDS: Milliseconds}
_TOKENS = (Unit.TOKENS, Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS)


def raised(holds: tuple[Hold, ...], grants: Mapping[str, int]) -> tuple[Hold, ...]:
    """The holds with their limits raised by what was granted to this run."""
    return tuple(
        _raised(hold, sum([grants.get(ledger, 0) for ledger in (hold.ledger, *hold.earlier)])) for hold in holds
    )


def _raised(hold: Hold, more: int) -> Hold:
    if not more or hold.limit is None:
        return hold
    amount = shown(more, hold.unit) if hold.unit in MONEY else str(more)
    return replace(hold, limit=hold.limit + more, written=f"{hold.written} (+{amount} granted)")


def granted(answer: object, budget: Budget, ledger: str) -> dict[str, int]:
    """What a person's answer adds, by ledger. `ledger` is the one that was used up; the budget's others are beside it.

    Only `{"more": {<unit>: <amount>}}` grants anything, in the budget's own units and written as in a policy. Raises ScalarError
    for everything else: an answer that was not understood must not become money.
    """
    more = cast("Mapping[object, object]", answer).get("more") if isinstance(answer, Mapping) else None
    if not isinstance(more, Mapping) or not more:
        raise ScalarError('the answer is not of the form {"more": {...}}', "Name a unit and an amount.")
    found: dict[str, int] = {}
    for field, amount in cast("Mapping[object, object]", more).items():
        unit = FIELDS.get(str(field))
        if unit is None or getattr(budget.limit, str(field)) is None:
            limited = [name for name in FIELDS if getattr(budget.limit, name) is not None]
            raise ScalarError(f"budget {budget.id} does not limit {field}", f"It limits {', '.join(limited)}.")
        read = Tokens if unit in _TOKENS else _READ.get(unit, Count)
        found[f"{ledger.rpartition('/')[0]}/{field}"] = int(read.parse(amount))
    return found
