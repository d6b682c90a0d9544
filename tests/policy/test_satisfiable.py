"""A condition that no value passes is a mistake; no condition that some value passes is called one."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy import evaluate
from governor.policy.matchers import MatchError, Test, When
from governor.policy.satisfiable import can_hold

numbers = st.integers(-3, 3) | st.decimals(-3, 3, places=1)
texts = st.sampled_from(["", "a", "ab", "1"])
tests = st.fixed_dictionaries(
    {},
    optional={
        "equals": numbers | texts | st.booleans(),
        "one_of": st.lists(numbers | texts, min_size=1, max_size=3),
        "glob": st.sampled_from(["a*", "*"]),
        "contains": texts | numbers,
        "at_most": numbers,
        "at_least": numbers,
        "above": numbers,
        "below": numbers,
        "exists": st.just(True),
    },
).filter(bool)
bounds = st.fixed_dictionaries({}, optional=dict.fromkeys(("at_most", "at_least", "above", "below"), numbers)).filter(
    bool
)


def holds(test: Test, value: Any) -> bool:
    try:
        return evaluate(When(facts={"args.x": test}), {"args": {"x": value}})
    except MatchError:
        return False


@given(tests, numbers | texts | st.booleans() | st.lists(numbers | texts, max_size=2))
def test_what_some_value_passes_can_hold(written: dict[str, Any], value: Any) -> None:
    test = Test.model_validate(written)

    assert can_hold(test) or not holds(test, value)


@given(bounds)
def test_bounds_that_can_hold_are_passed_by_a_number(written: dict[str, Any]) -> None:
    test = Test.model_validate(written)
    ends = [Decimal(str(bound)) for bound in written.values()]
    tried = [end + step for end in ends for step in (Decimal("-0.05"), Decimal(0), Decimal("0.05"))]

    assert can_hold(test) is any(holds(test, number) for number in tried)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"above": 5, "below": 1}, False),
        ({"above": 5, "at_most": 5}, False),
        ({"at_least": 5, "at_most": 5}, True),
        ({"above": 5, "at_least": 5, "at_most": 5}, False),
        ({"at_least": Decimal("1." + "0" * 40 + "1"), "at_most": Decimal("1." + "0" * 40 + "1")}, True),
        ({"equals": 5, "above": 10}, False),
        ({"equals": "USD", "one_of": ["EUR", "CHF"]}, False),
        ({"one_of": [5, 50], "above": 10}, True),
        ({"one_of": ["a@x.com"], "glob": "*@y.com"}, False),
        ({"glob": "a*", "above": 1}, False),
        ({"glob": "a*", "matches": "^b"}, True),
        ({"exists": True}, True),
    ],
    ids=repr,
)
def test_a_contradiction_is_seen(written: dict[str, Any], expected: bool) -> None:
    assert expected is can_hold(Test.model_validate(written))
