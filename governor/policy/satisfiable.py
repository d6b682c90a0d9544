"""Whether a condition can ever hold, as far as it can be known without a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.policy.matchers import MatchError, When, evaluate

if TYPE_CHECKING:
    from governor.policy.matchers import Test

__all__ = ["can_hold"]


def can_hold(test: Test) -> bool:
    """False when surely no value passes all parts of the test; True when one does, or when it cannot be known (two patterns)."""
    if test.equals is not None or test.one_of is not None:
        return any(_passes(test, value) for value in (test.equals, *(test.one_of or ())) if value is not None)
    low = max((bound for bound in (test.at_least, test.above) if bound is not None), default=None)
    high = min((bound for bound in (test.at_most, test.below) if bound is not None), default=None)
    if low is None and high is None:
        return True
    if test.glob is not None or test.matches is not None or test.contains is not None:
        return False  # a number is neither text nor a list
    return low is None or high is None or low < high or (low == high and _passes(test, low))


def _passes(test: Test, value: Any) -> bool:
    try:
        return evaluate(When(facts={"args.value": test}), {"args": {"value": value}})
    except MatchError:
        return False  # a value of the wrong kind is a denial, whatever the rule decides
