"""Repetitions are found exactly, whatever the order of rare and common words."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from governor.distill.duplicates import Texts, alike, digest, repeated, shingles

WORDS = st.sampled_from(["order", "status", "shipped", "paid", "Oslo", "the", "of", "and", "7", "8"])
TEXT = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
BOTH = st.builds(lambda new, before: Texts(new=new, whole=f"{before} {new}"), TEXT, TEXT)


def slowly(texts: list[Texts], near: float) -> dict[int, tuple[int, str]]:
    """The same by comparing each with every one that is kept."""
    found: dict[int, tuple[int, str]] = {}
    for at, each in enumerate(texts):
        same = next((other for other in range(at) if digest(texts[other].whole) == digest(each.whole)), None)
        if same is not None:
            found[at] = same, "duplicate"
    for at, each in enumerate(texts):
        if at in found:
            continue
        kept = (other for other in range(at) if other not in found)
        for other in kept:
            alike_new = alike(shingles(texts[other].new), shingles(each.new)) >= near
            if alike_new and alike(shingles(texts[other].whole), shingles(each.whole)) >= near:
                found[at] = other, "near duplicate"
                break
    return found


@settings(max_examples=100)
@given(st.lists(BOTH, max_size=12), st.sampled_from([0.3, 0.5, 0.85, 1.0]))
def test_comparing_only_those_that_share_a_rare_shingle_misses_none(texts: list[Texts], near: float) -> None:
    assert slowly(texts, near) == repeated(texts, near=near)


@given(st.lists(BOTH, max_size=10))
def test_what_is_kept_repeats_nothing_that_is_kept(texts: list[Texts]) -> None:
    found = repeated(texts)
    kept = [each for at, each in enumerate(texts) if at not in found]

    assert {} == repeated(kept)
    assert all(other < at and other not in found for at, (other, kind) in found.items() if kind == "near duplicate")


def test_form_alone_makes_no_difference() -> None:
    assert digest("Order  7\n was SHIPPED") == digest("order 7 was shipped")
    assert digest("ﬁle") == digest("file")
    assert digest("order 7") != digest("order 8")


def test_the_same_answer_after_another_question_and_the_next_step_of_a_run_are_no_duplicates() -> None:
    long = " ".join(f"word{n}" for n in range(200))
    next_step = Texts(new="now look at the bill of march", whole=f"{long} now look at the bill of march")
    step = Texts(new="now look at the bill of may", whole=f"{long} now look at the bill of may")
    yes = [Texts(new="yes", whole=f"shall I delete {thing}? yes") for thing in ("the file", "every account we have")]

    assert {} == repeated([step, next_step, *yes])
