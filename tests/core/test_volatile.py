"""Which lines of a system text are taken to the tail: those that say what time it is, or whose request it is, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.volatile import parted

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


@pytest.mark.parametrize("line", MOVING)
def test_a_line_that_only_says_the_time_or_an_id_is_moved(line: str) -> None:
    assert ("You are an agent.\nBe brief.", line) == parted(f"You are an agent.\n{line}\nBe brief.")


@pytest.mark.parametrize("line", STAYING)
def test_a_line_that_says_anything_else_stays(line: str) -> None:
    text = f"You are an agent.\n{line}\nBe brief."

    assert (text, "") == parted(text)


def test_a_text_of_nothing_else_stays_whole() -> None:
    assert ("Current time: 13:05", "") == parted("Current time: 13:05")


@given(st.lists(st.sampled_from([*MOVING, *STAYING]), max_size=8))
def test_no_line_is_lost_changed_or_put_before_another(lines: list[str]) -> None:
    stays, moved = parted("\n".join(lines))
    kept = [line for line in moved.split("\n") if line]

    assert sorted([*stays.split("\n"), *kept]) == sorted(lines or [""])
    assert [line for line in lines if line in kept] == [line for line in kept if line in lines]
    assert parted(stays)[1] == "" or not kept
