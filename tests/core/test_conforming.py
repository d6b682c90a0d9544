"""Arguments that no lenient reader takes are told; whatever might pass does."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, create_model

from governor.conforming import misfit, misfit_text

SEARCH = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "limit": {"type": "integer", "default": 5},
        "sort": {"enum": ["date", "rank"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "within": {"anyOf": [{"$ref": "#/$defs/Span"}, {"type": "null"}], "default": None},
    },
    "required": ["query", "limit"],
    "$defs": {"Span": {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}},
}


@pytest.mark.parametrize(
    ("args", "wrong"),
    [
        ({}, "`query` is missing"),
        ({"query": {"text": "a"}}, "`query` is not of type string"),
        ({"query": "a", "limit": "many"}, "`limit` is not of type integer"),
        ({"query": "a", "limit": 2.5}, "`limit` is not of type integer"),
        ({"query": "a", "sort": "name"}, "`sort` is none of its choices"),
        ({"query": "a", "tags": "x"}, "`tags` is not of type array"),
        ({"query": "a", "tags": ["x", ["y"]]}, "`tags[1]` is not of type string"),
        ({"query": "a", "within": {"weeks": 1}}, "`within` has none of the forms it may have"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(args: dict[str, Any], wrong: str) -> None:
    assert wrong == misfit(args, SEARCH)


@pytest.mark.parametrize(
    "args",
    [
        {"query": "a"},
        {"query": 7, "limit": "3"},
        {"query": "a", "limit": 3.0, "sort": "rank", "tags": [], "within": None},
        {"query": "a", "within": {"days": "4"}, "made_up": object()},
    ],
)
def test_what_a_lenient_reader_takes_passes(args: dict[str, Any]) -> None:
    assert misfit(args, SEARCH) is None


def test_a_text_has_to_be_json_of_its_form_be_it_fenced() -> None:
    assert misfit_text('```json\n{"query": "a"}\n```', SEARCH) is None
    assert "it is not JSON" == misfit_text("Sure! Here you are.", SEARCH)
    assert "`query` is missing" == misfit_text('{"limit": 1}', SEARCH)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(JSON, JSON)
def test_no_schema_and_no_value_raises(value: Any, schema: Any) -> None:
    given = schema if isinstance(schema, dict) else {"type": schema, "properties": schema, "anyOf": [schema]}

    assert isinstance(misfit(value, given), (str, type(None)))


TYPES: list[Any] = [str, int, float, bool, list[int], list[str], dict[str, int], int | None, str | None]


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(TYPES), min_size=1),
    st.dictionaries(st.sampled_from("abc"), JSON),
)
def test_what_pydantic_takes_is_never_called_wrong(fields: dict[str, Any], args: dict[str, Any]) -> None:
    model: type[BaseModel] = cast("Any", create_model)("Args", **{name: (kind, ...) for name, kind in fields.items()})
    try:
        model.model_validate(args)
    except ValidationError:
        return

    assert misfit(args, model.model_json_schema()) is None
