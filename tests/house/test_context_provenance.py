"""The benchmark's measure of quality: which values of a tool call came from earlier messages, and whether the prompt still held them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.context.corpus import Item, Run, bucket
from tests.bench.context.expiry import LIVES, paused
from tests.bench.context.provenance import atoms, holds, retained, uses_of, values_of


def run_of(messages: list[dict[str, Any]], system: str = "") -> Run:
    each = [Item(10, source=i) for i in range(len(messages))]
    calls = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return Run("r", "s", system, [], messages, Item(5), each, calls, [], list(range(0, 10 * len(messages) + 1, 10)))


def asked(**arguments: object) -> dict[str, Any]:
    call = {"id": "c", "function": {"name": "look", "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def test_values_are_short_lines_whole_numbers_of_three_digits_and_what_longer_texts_name() -> None:
    arguments = {"city": "New York", "n": 12, "amount": 1250, "on": True, "text": "see a/b.py\\n" + "word " * 30}

    assert {"New York", "1250", "a/b.py"} == set(values_of(json.dumps(arguments)))


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com/x",
        "jo@example.com",
        "src/a/b.py",
        "#W1234",
        "2026-08-01",
        "snake_case",
        "camelCase",
        "98765",
    ],
)
def test_identifiers_are_found_in_running_text(value: str) -> None:
    assert value in atoms(f"look at {value}, then go on")


def test_a_value_is_held_as_a_word_of_its_own() -> None:
    assert holds("order-17.", "order-17")
    assert not holds("order-178", "order-17")
    assert holds("order-178 order-17", "order-17")


def test_a_value_has_every_earlier_message_that_holds_it_as_a_source_and_none_of_the_instructions() -> None:
    run = run_of(
        [
            {"role": "user", "content": "about ORD-7 and ORD-8"},
            asked(order="ORD-7"),
            {"role": "tool", "content": "ORD-7 is late", "tool_call_id": "c"},
            asked(order="ORD-7", other="ORD-8", known="POL-1", new="ORD-9"),
        ],
        system="policy POL-1",
    )
    first, second = uses_of(run)

    assert (1, {"ORD-7": {0}}) == (first.at, first.sources)
    assert {"ORD-7": {0, 1, 2}, "ORD-8": {0}} == second.sources


def test_a_value_is_retained_verbatim_in_a_ledger_or_in_what_is_shown_of_a_result() -> None:
    run = run_of([{"role": "user", "content": "ORD-7, ORD-8, ORD-9"}, asked(a="ORD-7", b="ORD-8", c="ORD-9")])
    use = uses_of(run)[0]
    ledger, cut = Item(9, entries=frozenset({"ORD-7"})), Item(9, text="... ORD-8 ...")

    assert 3 == retained(use, list(run.items[:1]), {0})
    assert 0 == retained(use, [], set())
    assert 1 == retained(use, [ledger], {-1})
    assert 2 == retained(use, [ledger, cut], {-1})
    assert 0 == retained(use, [Item(9, entries=frozenset({"ORD-77"}))], {-1}), (
        "a ledger holds its entries, nothing else"
    )


@given(st.lists(st.integers(0, 2_000), max_size=60))
def test_a_paused_run_moves_on_and_pauses_outlive_the_short_entries_alone(lengths: list[int]) -> None:
    run = paused(run_of([{"role": "assistant", "content": str(each)} for each in lengths]))
    gaps = {later - earlier for earlier, later in zip(run.times, run.times[1:], strict=False)}

    assert len(run.times) == len(run.calls)
    assert all(gap < LIVES["5m"] or LIVES["5m"] < gap < LIVES["1h"] for gap in gaps)


def test_a_run_belongs_to_the_bucket_of_its_calls() -> None:
    assert ["<15", "15-29", "30-49", "50-99", "100+"] == [bucket(calls) for calls in (14, 15, 49, 50, 100)]
