"""Policy text is YAML 1.2, and each mistake has a place."""

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import PolicyError
from governor.policy.document import parse_mapping, parse_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("150_000", "150_000"),
        ("true", True),
        ("FALSE", False),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("-3", -3),
        ("'3'", "3"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    read = parse_text(f"key: {text}", "p.yaml").data["key"]

    assert (value, type(value)) == (read, type(read))


def test_numbers_with_a_point_stay_exact() -> None:
    read = parse_text("a: 0.10\nb: 1e3\nc: .5\nd: .nan\ne: -.inf", "p.yaml").data

    assert "0.10" == str(read["a"])
    assert [Decimal(1000), Decimal("0.5")] == [read["b"], read["c"]]
    assert read["d"].is_nan()
    assert Decimal("-Infinity") == read["e"]


def test_every_key_and_list_item_has_a_place() -> None:
    document = parse_text("a:\n  - b: 1\n  - c:   2\n", "p.yaml")

    mark = document.marks[("a", 1, "c")]
    assert (3, 5, 3, 10) == (mark.line, mark.column, mark.value_line, mark.value_column)
    nearest = document.mark(("a", 1, "x", "y"))
    assert nearest is not None
    assert 3 == nearest.line


def bomb() -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(levels)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", (1, 1), "is empty"),
        ("# nothing\n", (1, 1), "is empty"),
        ("- a\n- b", (1, 1), "is a mapping"),
        ("word", (1, 1), "is a mapping"),
        ("a:\n\t- x", (2, 1), "not valid YAML"),
        ("a: [1", (1, 6), "not valid YAML"),
        ("a: 'x", (1, 6), "not valid YAML"),
        ("a: *b", (1, 4), "undefined alias"),
        ("a: 1\n---\nb: 2", (2, 1), "single document"),
        ("a: !!python/object/apply:os.system [ls]", (1, 4), "is not allowed"),
        ("a: !!binary aGk=", (1, 4), "is not allowed"),
        ("a: !!set {x}", (1, 4), "is not allowed"),
        ("a: !thing x", (1, 4), "is not allowed"),
        ("1: x", (1, 1), "a key must be text"),
        ("true: x", (1, 1), "a key must be text"),
        ("[a, b]: x", (1, 1), "a key must be text"),
        ("a: \x07", (1, 4), "not allowed in YAML"),
        (f"a: {'9' * 200}", (1, 4), "cannot be read"),
        ("a: 1e99999999999999999999", (1, 4), "cannot be read"),
        (bomb(), (None, None), "grows too large"),
        ("a: &a [*a]", (None, None), "grows too large"),
        ("[\n" * 5_000, (None, None), "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, (None, None), "grows too large"),
        ("x" * 1_000_001, (None, None), "longer than"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_text_that_is_no_policy_is_refused_at_its_place(
    text: str, place: tuple[int | None, int | None], message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_text(text, "p.yaml")

    assert message in str(caught.value)
    assert "p.yaml" == caught.value.file
    assert caught.value.remedy
    if place[0] is not None:
        assert place == (caught.value.line, caught.value.column)


def test_a_key_written_twice_names_both_lines() -> None:
    (error,) = parse_text("a: 1\nb: 2\na: 3", "p.yaml").errors

    assert (3, 1) == (error.line, error.column)
    assert "the key `a` is here twice, first in line 1" in str(error)


def test_a_key_without_a_value_is_an_error_because_a_limit_may_have_been_meant() -> None:
    document = parse_text("limits:\n  steps:\n", "p.yaml")

    (error,) = document.errors
    assert "`steps` has no value" in str(error)
    assert {("limits", "steps")} == document.empty


def test_arguments_passed_on_unread_may_be_empty() -> None:
    assert () == parse_text("args: {stop: null}", "p.yaml").errors


@given(st.text(max_size=300))
def test_no_text_makes_the_reader_fail_in_another_way(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_text(text, "p.yaml")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t,?0.~<", max_size=60))
def test_no_yaml_like_text_makes_the_reader_fail_in_another_way(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_text(text, "p.yaml")


def circle() -> dict[str, Any]:
    whole: dict[str, Any] = {}
    whole["a"] = whole
    return whole


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "is empty"),
        ({1: 2}, "is not text"),
        (circle(), "too large or contains itself"),
        ({"a": {2: 3}}, "is not text"),
    ],
)
def test_a_mapping_from_python_is_held_to_the_same_rules(source: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_mapping(source, "<mapping>")


def test_none_in_a_mapping_is_a_missing_value() -> None:
    (error,) = parse_mapping({"limits": {"steps": None}}, "<mapping>").errors

    assert "`limits.steps` has no value" in str(error)
