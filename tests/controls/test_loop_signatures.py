"""What counts as the same call and the same result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.controls.loop.signatures import canon, digest, mask
from tests.controls.strategies_loop import LONG, noise, volatile

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def test_key_order_white_space_and_case_do_not_matter() -> None:
    first = canon({"origin": "JFK ", "cabin": "economy", "filters": {"max": 3, "stops": [1, 2]}})
    second = canon({"filters": {"stops": [1, 2], "max": 3}, "cabin": "Economy  ", "origin": "jfk"})

    assert first == second


def test_json_inside_a_string_is_read() -> None:
    assert canon({"body": {"a": 1, "b": "x"}}) == canon({"body": '{"b": "X", "a": 1}'})


def test_an_argument_without_a_value_is_as_good_as_absent() -> None:
    assert canon({"q": "x"}) == canon({"q": "x", "cursor": None})


def test_the_order_of_a_list_matters() -> None:
    assert canon({"path": ["a", "b"]}) != canon({"path": ["b", "a"]})


def test_a_long_argument_is_taken_as_it_is() -> None:
    content = "x = 1\n" * 1_000

    assert canon({"content": content}) != canon({"content": content.replace("\n", "\n\n")})


def test_the_policys_key_decides_which_arguments_count_even_volatile_ones() -> None:
    assert canon({"job": "7", "verbose": True}, ("job",)) == canon({"job": "7"}, ("job",))
    assert canon({"timestamp": "monday"}, ("timestamp",)) != canon({"timestamp": "tuesday"}, ("timestamp",))


def test_deep_nesting_ends() -> None:
    args: dict[str, object] = {}
    for _ in range(500):
        args = {"deeper": args}

    assert canon(args) == canon(args)


@given(args=st.dictionaries(st.sampled_from(["q", "page", "body"]), json_values), extra=noise)
def test_volatile_arguments_never_change_a_call(args: dict[str, object], extra: dict[str, object]) -> None:
    assert canon(args) == canon({**extra, **args})


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_digests_tell_lists_apart_however_they_are_cut(first: list[str], second: list[str]) -> None:
    assert (first == second) is (digest(*first) == digest(*second))


@pytest.mark.parametrize(
    "text",
    [
        "request f4b9471b-c1b6-437f-a81b-2385fd242d5c failed for reasons that were not written down",
        "written at 2026-03-01T00:00:05.561Z, and that is all there is to say about it",
        "started 12:04:31, as the log of the machine room says in its own words",
        "the epoch is 1714557600123 as far as the server can tell us about it now",
        "Ran 14 tests in 0.45s without any failure that would be worth a word",
        "finished after 312 ms on the machine that happened to be free just then",
        "object at 0x7f3a2b4c5d6e has no attribute of that name, says the interpreter",
        "commit 1fa5c7da0b9e4c33fd0d906b1c2d3e4f5a6b7c8d was made on the branch main by somebody",
        "wrote /tmp/tmpa8f3k2/out.csv and then went on with what it had been doing",
        "this is iteration 17 of the same answer, in the same words as ever before",
    ],
)
def test_moments_ids_and_temporary_paths_are_masked(text: str) -> None:
    assert text != mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "progress 35 of 120 rows",
        "3 failed, 12 passed",
        "the order W2994884 costs 1299.50 and ships on 2026-03-01",
        "line 3061740773 of the file",
        "version 1.26.4 on 10.0.0.17:8080",
        "deadbeef is a word here",
    ],
)
def test_numbers_that_are_content_stay(text: str) -> None:
    assert text == mask(text)


def test_a_result_that_is_mostly_an_id_is_that_id() -> None:
    first, second = (f"next: {c * 8}-aaaa-4aaa-8aaa-{c * 12}" for c in "ab")

    assert mask(first) != mask(second)


def test_volatile_fields_of_a_json_result_are_masked() -> None:
    first = mask('{"status": "open", "request_id": "r-1", "took_ms": 12}')
    second = mask('{"status": "open", "request_id": "r-99", "took_ms": 7}')

    assert first == second


def test_long_results_are_masked_at_both_ends_and_digested_whole() -> None:
    body = "row of a table that goes on and on\n" * 1_000

    assert mask(f"took 0.1s\n{body}took 3.5s") == mask(f"took 0.9s\n{body}took 4.5s")
    assert mask(body) != mask(body[:17_000] + "changed" + body[17_000:])


@given(st.lists(volatile, min_size=2, max_size=2))
def test_noise_of_one_kind_reads_the_same_whatever_its_value(values: list[str]) -> None:
    first, second = (mask(f"{LONG} (ref {value}) {LONG}") for value in values)

    assert first == second
