"""Which lines of a system text are taken to the tail: those that were seen to change, and of a new conversation those that always do."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.remembering import Texts
from governor.runs import Steady
from governor.volatile import Steadied, parted, steadied

MOVING = [
    "Current time: 2026-11-28 13:05:02",
    "Current date: 2026-11-28",
    "The current date and time is 2026-11-28T13:05:02Z.",
    "Today is Saturday, November 28, 2026.",
    "Today's date: 28 November 2026",
    "- **Current time**: 13:05 UTC",
    "Now: 1790000000",
    "Timestamp: 2026-11-28T13:05:02.123+01:00",
    "session_id: 6f1c2c1e-5d6b-4a53-9a86-0f4b3cf1d001",
    "Request ID = req-8f3a91bc",
]
STAYING = [
    "You are an agent.",
    "Refunds before 2024-01-01 need a supervisor.",
    "The policy is valid from 2026-01-01.",
    "Current time: 13:05, so answer quickly and mention the deadline of the order.",
    "Date format: YYYY-MM-DD",
    "Meetings start at 10:00.",
    "Time: be brief",
    "Session id: ask the user",
    "Opening hours: 9:00 to 17:00",
    "",
]
RULES = [f"Rule {number}: an order of this kind is not changed without a person's word." for number in range(8)]
lines = st.lists(st.sampled_from([*MOVING, *STAYING, *RULES, "}", "- a", "- b"]), max_size=12)
texts = st.lists(lines.map("\n".join), min_size=1, max_size=8)


def told(*versions: str) -> list[Steadied]:
    """Texts of one lane, one after the other."""
    seen: Steady | None = None
    found: list[Steadied] = []
    for text in versions:
        found.append(steadied(text, seen))
        seen = found[-1].seen
    return found


def woven(text: str, two: Steadied) -> bool:
    """Whether the lines that stay and those that go, put together in their order, are the text's."""
    stays = two.stays.split("\n") if two.stays or not two.goes or "" in text.split("\n") else []
    goes = list(two.goes)
    for line in text.split("\n"):
        if stays and stays[0] == line:
            stays.pop(0)
        elif goes and goes[0] == line:
            goes.pop(0)
        else:
            return False
    return not stays and not goes


def test_the_first_text_is_sent_as_it_is_and_so_is_one_that_does_not_change() -> None:
    text = "\n".join([*RULES, MOVING[0]])

    assert [text] * 3 == [each.stays for each in told(text, text, text)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Current time: 13:05", "Current time: 13:06"),
        ("You have $3.10 left.", "You have $2.95 left."),
        ("The user looks at order 4711, which left on Monday.", "The user looks at order 4712, which is lost."),
    ],
)
def test_a_line_that_was_seen_to_change_goes_from_then_on(before: str, after: str) -> None:
    first, second, third = told(*("\n".join([*RULES[:3], line, *RULES[3:]]) for line in (before, after, before)))

    assert (first.goes, second.goes, third.goes) == ((), (after,), (before,))
    assert second.stays == third.stays == "\n".join(RULES)


def test_retrieved_passages_go_below_their_heading_however_many_there_are() -> None:
    found = told(
        *(
            "\n".join([*RULES, "## Passages", *passages, "", "## Manner", "Be brief."])
            for passages in (["- one", "", "- two"], ["- three"], ["- four", "", "- five", "", "- six"], [])
        )
    )

    assert {"\n".join([*RULES, "## Passages", "", "## Manner", "Be brief."])} == {each.stays for each in found[1:]}
    assert ["", "## Passages\n- three", "## Passages\n- four\n- five\n- six", ""] == [each.told for each in found]


def test_a_text_of_which_more_than_half_changed_is_another_prompt() -> None:
    planner, critic = "\n".join(["You are good.", *RULES[:4]]), "\n".join(["You are good.", *RULES[4:]])

    assert [planner, critic, planner] == [each.stays for each in told(planner, critic, planner)]


def test_a_text_without_end_is_left_alone() -> None:
    long = [f"line {number} of many" for number in range(2_000)]

    assert () == told("\n".join([*long, "13:05"]), "\n".join([*long, "13:06"]))[1].goes


@given(texts)
def test_no_line_is_lost_changed_or_put_before_another(versions: list[str]) -> None:
    for text, two in zip(versions, told(*versions), strict=True):
        assert woven(text, two)
        tail = iter(two.told.split("\n"))
        assert all(line in tail for line in two.goes if line.strip())


@given(texts)
def test_what_is_sent_is_decided_by_what_was_seen_and_nothing_else(versions: list[str]) -> None:
    found = told(*versions)

    assert found == told(*versions)
    for text, two in zip(versions, found, strict=True):  # a retry, and a process that takes over
        again = steadied(text, Steady(lines=two.seen.lines, apart=two.seen.apart, changes=two.seen.changes))
        assert again == two


@given(
    st.integers(8, 20),
    st.sets(st.integers(0, 3), max_size=3),
    st.lists(st.lists(st.integers(0, 10**6), max_size=2), min_size=2, max_size=8),
)
def test_lines_that_change_together_move_the_text_once(count: int, places: set[int], values: list[list[int]]) -> None:
    def written(call: int, numbers: list[int]) -> str:
        made: list[str] = []
        for at in range(count):
            made += [f"Rule {at}: ask a person before anything of this kind is changed, and write it down."]
            made += [f"call {call}: {number}" for number in numbers] if at in places else []
        return "\n".join(made)

    found = told(*(written(call, numbers) for call, numbers in enumerate(values)))

    assert sum(one.stays != other.stays for one, other in pairwise(found)) <= 1


@given(texts)
def test_each_move_is_due_to_a_line_that_was_there_before(versions: list[str]) -> None:
    found = told(*versions)

    for (one, other), text in zip(pairwise(found), versions[1:], strict=True):
        if one.stays == other.stays:
            continue
        left = iter(text.split("\n"))
        assert not one.seen.apart or not all(line in left for line in one.stays.split("\n"))


@pytest.mark.parametrize("line", MOVING)
def test_a_line_that_only_says_the_time_or_an_id_is_told_by_its_form(line: str) -> None:
    assert ("You are an agent.\nBe brief.", line) == parted(f"You are an agent.\n{line}\nBe brief.")


@pytest.mark.parametrize("line", STAYING)
def test_a_line_that_says_anything_else_is_not(line: str) -> None:
    text = f"You are an agent.\n{line}\nBe brief."

    assert (text, "") == parted(text)


def test_a_text_of_nothing_else_stays_whole() -> None:
    assert ("Current time: 13:05", "") == parted("Current time: 13:05")


def begun(known: Texts, line: str, node: str = "agent") -> tuple[str, ...]:
    text = "\n".join(["You are an agent.", line, *RULES])
    return steadied(text, known.begin(node, text)).goes


def test_conversations_begin_without_the_clock_once_two_of_them_had_another() -> None:
    known = Texts()
    at = "Current time: 13:0{}".format

    assert [(), (), (at(2),), (at(3),), (at(2),)] == [begun(known, at(minute)) for minute in (1, 1, 2, 3, 2)]
    assert () == begun(known, at(4), node="another")


def test_of_what_an_author_writes_for_each_tenant_nothing_is_concluded() -> None:
    known = Texts()

    assert [(), ()] == [begun(known, f"You work for {tenant} and for nobody else.") for tenant in ("Acme", "Umbrella")]


def test_a_long_line_above_one_that_changes_costs_no_more_than_reading_it() -> None:
    """A heading's pattern with blanks around it took 3 s for 16,000 of them: it is looked for in short lines, without their blanks."""
    lines = [f"This line stays as it is, number {number}." for number in range(8)]
    first, second = ("\n".join([*lines, " " * 200_000 + "x", f"left: {left} dollars"]) for left in (7, 6))

    seen = steadied(first, Steady()).seen
    two = steadied(second, seen)

    assert ("left: 6 dollars",) == two.goes
    assert "left: 6 dollars" == two.told
