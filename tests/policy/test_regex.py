"""Patterns that could run for ever are refused; those that remain finish."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy.regex import Pattern
from governor.policy.scalars import ScalarError


@pytest.mark.parametrize(
    "text",
    ["(a+)+$", "(a*)*", "(a|a)*", "(a|ab)*", r"(\w+\s?)*", "(.*)*x", "(?:a|b|ab)+c", "(a?){50}", "(a{0,19}){0,19}", r"(a*\1)+",
     "(?>a+)+b", "a*a*a*a*b", "a{0,19}" * 6, "(a|a)" * 100, r"((a)\2)+", "[", "(?P<x", "a" * 1_001, "*", r"(?(1)a|b"],
)  # fmt: skip
def test_an_explosive_or_broken_pattern_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ScalarError) as caught:
        Pattern(text)

    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "found", "missed"),
    [
        (r"(?i)\b(insert|update|delete|drop|alter)\b", "please DROP it", "please drip it"),
        (r"^([0-9]{1,3}\.){3}[0-9]{1,3}$", "10.0.0.1", "10.0.0"),
        (r"^[^@]+@example\.com$", "a@example.com", "a@example.org"),
        (r"\.(exe|sh|ps1)$", "x.sh", "x.md"),
        ("(a|b)*c", "abc", "abd"),
        ("https?://", "http://x", "ftp://x"),
    ],
)
def test_an_ordinary_pattern_is_searched_anywhere_in_the_text(text: str, found: str, missed: str) -> None:
    assert Pattern(text).found_in(found)
    assert not Pattern(text).found_in(missed)


def test_the_more_open_ended_a_pattern_the_shorter_the_text() -> None:
    lengths = [Pattern(text).max_chars for text in ("a", "a*b", "a*a*b", "a*a*a*b")]

    assert 10_000 == lengths[0]
    assert sorted(lengths, reverse=True) == lengths
    assert Pattern("^a*b").max_chars > Pattern("a*b").max_chars
    assert Pattern("(?m)^a*b").max_chars == Pattern("a*b").max_chars


pieces = st.recursive(
    st.sampled_from(["a", "b", "[ab]", ".", r"\w"]),
    lambda inner: st.one_of(
        st.builds("({}{})".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{0,5}", "{2}", "{1,3}", "{30}", "*?"])),
    ),
    max_leaves=8,
)


@given(pieces, st.sampled_from(["a", "ab", "b"]))
def test_an_accepted_pattern_finishes_on_the_longest_text_it_takes(text: str, unit: str) -> None:
    try:
        pattern = Pattern(f"{text}c")
    except ScalarError:
        return
    begun = time.process_time()

    pattern.found_in((unit * 10_000)[: pattern.max_chars])

    assert time.process_time() - begun < 10


def test_patterns_are_compared_by_text() -> None:
    assert Pattern("a") == Pattern("a")
    assert len({Pattern("a"), Pattern("a"), Pattern("b")}) == 2
    assert "Pattern('a')" == repr(Pattern("a"))
