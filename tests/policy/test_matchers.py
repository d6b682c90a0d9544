"""Conditions: exact about kinds, closed on doubt."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor.policy.matchers import MatchError, PastCall, When, evaluate, lookup, matches_glob


def holds(test: Any, value: Any) -> bool:
    return evaluate(When.model_validate({"args.x": test}), {"args": {"x": value}})


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ("USD", "USD", True),
        ("USD", "usd", False),
        ({"equals": 100}, 100, True),
        ({"equals": 100}, 100.0, True),
        ({"equals": 100}, "100", False),
        ({"equals": "100"}, 100, False),
        ({"equals": 1}, True, False),
        ({"equals": True}, 1, False),
        ({"equals": True}, True, True),
        ({"equals": False}, False, True),
        ({"equals": 0}, False, False),
        ({"equals": 100}, [100], False),
        ({"one_of": ["USD", "EUR"]}, "EUR", True),
        ({"one_of": ["USD", "EUR"]}, "GBP", False),
        ({"one_of": [1, 2]}, True, False),
        ({"one_of": "USD"}, "USD", True),
        ({"glob": "*@example.com"}, "a@example.com", True),
        ({"glob": ["*.com", "*.org"]}, "a.org", True),
        ({"glob": "bash"}, "bash_admin", False),
        ({"matches": "(?i)drop"}, "x DROP y", True),
        ({"matches": "^drop$"}, "x drop", False),
        ({"at_most": 100}, 100, True),
        ({"at_most": 100}, 100.01, False),
        ({"at_most": 0.1}, 0.1, True),
        ({"at_least": 100}, 99, False),
        ({"above": 100}, 100, False),
        ({"above": 100}, Decimal("100.001"), True),
        ({"below": 0}, -1, True),
        ({"above": 0, "at_most": 100}, 50, True),
        ({"above": 0, "at_most": 100}, 0, False),
        ({"contains": "secret"}, "a secret b", True),
        ({"contains": "secret"}, ["a", "secret"], True),
        ({"contains": "secret"}, ["a secret"], False),
        ({"contains": 1}, [True], False),
        ({"contains": 1}, [1.0], True),
        ({"exists": True}, None, True),
        ({"exists": False}, None, False),
    ],
    ids=repr,
)
def test_a_test_holds_exactly_when_it_says_so(test: Any, value: Any, *, expected: bool) -> None:
    assert expected is holds(test, value)


@pytest.mark.parametrize(
    ("test", "value"),
    [
        ({"at_most": 100}, "100"),
        ({"at_most": 100}, "5000"),
        ({"at_most": 100}, True),
        ({"at_most": 100}, None),
        ({"at_most": 100}, [1]),
        ({"above": 100}, float("nan")),
        ({"above": 100}, float("inf")),
        ({"below": 100}, float("-inf")),
        ({"glob": "*"}, 5),
        ({"matches": "a"}, ["a"]),
        ({"matches": "a"}, "a" * 10_001),
        ({"contains": "a"}, 5),
        ({"contains": 5}, "5"),
        ({"contains": "a"}, {"a": 1}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_of_the_wrong_kind_is_an_error_so_that_the_call_is_denied(test: Any, value: Any) -> None:
    with pytest.raises(MatchError, match=r"args\.x"):
        holds(test, value)


def test_a_missing_fact_fails_its_test_unless_it_must_be_missing() -> None:
    for test in ({"equals": 1}, {"at_most": 1}, {"matches": "a"}, {"exists": True}):
        assert not evaluate(When.model_validate({"args.x": test}), {"args": {}})
        assert not evaluate(When.model_validate({"args.x.y": test}), {"args": {"x": 1}})
    assert evaluate(When.model_validate({"args.x": {"exists": False}}), {"args": {}})


def test_all_conditions_must_hold_and_a_wrong_kind_is_found_behind_a_failed_one() -> None:
    when = When.model_validate({"args.a": 1, "args.b": {"at_most": 5}})

    assert evaluate(when, {"args": {"a": 1, "b": 5}})
    assert not evaluate(when, {"args": {"a": 2, "b": 5}})
    with pytest.raises(MatchError):
        evaluate(when, {"args": {"a": 2, "b": "5"}})


def test_a_rule_without_conditions_always_matches() -> None:
    assert evaluate(None, {})


def test_a_path_walks_mappings_and_lists() -> None:
    facts = {"args": {"items": [{"sku": "a"}, {"sku": "b"}], "n": None}, "node": "planner"}

    assert "b" == lookup(facts, "args.items.1.sku")
    assert "planner" == lookup(facts, "node")
    assert lookup(facts, "args.n") is None
    assert lookup(facts, "args.items.2") is lookup(facts, "args.zzz") is lookup(facts, "args.items.-1")


def test_an_earlier_call_is_looked_for_in_the_history() -> None:
    when = When.model_validate({"after": {"tool": "read_customer_*", "within": "10m"}})
    call = PastCall(tool="read_customer_mail", ago=600_000)

    assert evaluate(when, {}, history=[PastCall(tool="x", ago=1), call])
    assert not evaluate(when, {}, history=[PastCall(tool="read_customer_mail", ago=600_001)])
    assert not evaluate(when, {}, history=[])
    assert evaluate(
        When.model_validate({"after": {"tool": "read_customer_*"}}),
        {},
        history=[PastCall(tool="read_customer_", ago=10**12)],
    )


def test_what_cannot_be_evaluated_is_an_error_and_never_a_match() -> None:
    with pytest.raises(MatchError, match="history"):
        evaluate(When.model_validate({"after": {"tool": "x"}}), {})
    with pytest.raises(MatchError, match="CEL"):
        evaluate(When.model_validate("args.x < 5"), {"args": {"x": 1}})


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.decimals(), st.binary(max_size=3),
)  # fmt: skip
tests = st.sampled_from(
    [{"equals": 1}, {"equals": "a"}, {"one_of": [1, "a"]}, {"glob": "a*"}, {"matches": "^a"}, {"at_most": 5}, {"above": -1.5},
     {"contains": "a"}, {"contains": 1}, {"exists": True}, {"exists": False}]
)  # fmt: skip


@given(tests, values)
@example({"equals": 1}, Decimal("sNaN"))
def test_any_value_gives_an_answer_or_a_match_error(test: Any, value: Any) -> None:
    try:
        answer = holds(test, value)
    except MatchError:
        return
    assert answer in (True, False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.decimals("-1e6", "1e6", places=3))
def test_bounds_split_all_numbers_without_gap_or_overlap(value: float, bound: Decimal) -> None:
    assert holds({"at_most": bound}, value) is not holds({"above": bound}, value)
    assert holds({"at_least": bound}, value) is not holds({"below": bound}, value)


def test_patterns_match_whole_names_and_mind_case() -> None:
    assert matches_glob(["get_*"], "get_order")
    assert not matches_glob(["get_*"], "forget_order")
    assert not matches_glob(["Get_*"], "get_order")
    assert not matches_glob([], "x")
