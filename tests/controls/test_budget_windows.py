"""Windows of budgets: calendars of a time zone tile time, and a rolling window never holds more than its limit."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import RunRef, StepRef
from governor.controls.budget.blanks import Blank, Blanks
from governor.controls.budget.lines import Line, lines
from governor.controls.budget.windows import Frame, frame_of
from governor.ledger import Charge, Lease, ReserveRequest
from governor.policy.schema import Policy
from governor.policy.windows import CalendarWindow, RollingWindow
from governor.stores.memory import MemoryStore
from governor.testing import START_MS

HOUR_MS = 3_600_000
RUN = RunRef(id="r1", scopes={"org": "acme"})
STEP = StepRef(run=RUN, node="n", path="n", ns="n:1")
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Cairo",
]
ODD = ["Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Chatham", "Antarctica/Troll", "Asia/Gaza"]

moments = st.integers(0, 4_000_000_000_000)
calendars = st.builds(
    lambda kind, zone: CalendarWindow(calendar=kind, zone=zone),
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from(ZONES + ODD),
)


def line(per: Any, **limit: Any) -> Line:
    budget = {"id": "b", "scope": "org", "per": per, "limit": limit or {"calls": 5}}
    (only,) = lines(Policy.model_validate({"governor": 1, "name": "p", "budgets": [budget]}))
    return only


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def ends(frame: Frame) -> int:
    assert frame.ends_ms is not None
    return frame.ends_ms


@given(moments, calendars)
def test_calendar_windows_of_a_zone_follow_each_other_without_gap_or_overlap(now: int, per: CalendarWindow) -> None:
    frame = frame_of(per, now)
    following, before = frame_of(per, ends(frame)), frame_of(per, frame.begins_ms - 1)

    assert frame.begins_ms <= now < ends(frame)
    assert frame == frame_of(per, frame.begins_ms) == frame_of(per, ends(frame) - 1)
    assert (ends(frame), frame.begins_ms) == (following.begins_ms, ends(before))
    assert 3 == len({before.name, frame.name, following.name})


@given(moments, st.sampled_from(ZONES))
def test_a_day_is_the_day_that_clocks_of_its_zone_show(now: int, zone: str) -> None:
    shown = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)).astimezone(ZoneInfo(zone))

    name = frame_of(CalendarWindow(calendar="day", zone=zone), now).name

    # Clocks in Newfoundland went back over midnight until 2011: then a day begins with the first midnight.
    twice = shown.fold == 0 and shown.hour == 23 and zone == "America/St_Johns"
    assert name.startswith(shown.date().isoformat()) or twice or shown.fold == 1


@pytest.mark.parametrize(
    ("now", "hours"),
    [("2026-03-29T12:00:00+02:00", 23), ("2026-10-25T12:00:00+01:00", 25), ("2026-07-01T12:00:00+02:00", 24)],
)
def test_a_day_on_which_clocks_change_has_23_or_25_hours(now: str, hours: int) -> None:
    frame = frame_of(CalendarWindow(calendar="day", zone="Europe/Berlin"), at(now))

    assert hours * HOUR_MS == ends(frame) - frame.begins_ms
    assert f"{now[:10]}@Europe:Berlin" == frame.name


def test_the_ledgers_of_two_zones_are_two() -> None:
    keys = {line(per).hold(STEP, 1, START_MS).ledger for per in ("day", "day in Asia/Tokyo", "day in Europe/Berlin")}

    assert 3 == len(keys)


def test_a_rolling_window_counts_its_slice_and_those_it_still_reaches() -> None:
    held = line({"rolling": "24h", "slices": 3}).hold(STEP, 1, 80 * HOUR_MS)

    assert "b/org=acme/24h~3@10/calls" == held.ledger
    assert tuple(f"b/org=acme/24h~3@{number}/calls" for number in (9, 8, 7)) == held.earlier
    assert held.expires_ms is not None
    assert held.expires_ms > (88 + 24) * HOUR_MS  # the window of its slice's last moment


pieces = st.lists(st.tuples(st.integers(0, 4_000), st.integers(1, 60), st.integers(0, 60)), min_size=1, max_size=60)


@given(pieces, st.integers(2, 12), st.integers(12_000, 17_003))
def test_no_window_of_the_length_ever_holds_more_than_the_limit(
    calls: list[tuple[int, int, int]], slices: int, length: int
) -> None:
    rolling = line({"rolling": f"{length}ms", "slices": slices}, tokens=100)
    store, now, admitted = MemoryStore(), START_MS, list[tuple[int, int]]()
    for number, (pause, amount, used) in enumerate(calls):
        now += pause
        request = ReserveRequest(id=f"{number}", holds=(rolling.hold(STEP, amount, now),), ttl_ms=60_000, now_ms=now)
        if isinstance(store.reserve(request), Lease):
            store.settle(Charge(lease=f"{number}", amounts=(min(used, amount),), now_ms=now))
            admitted.append((now, min(used, amount)))

        inside = [amount for moment, amount in admitted if now - length < moment <= now]
        assert sum(inside) <= 100


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_an_amount_leaves_a_rolling_window_at_most_one_slice_after_its_length(offset: int, slices: int) -> None:
    per = RollingWindow.model_validate({"rolling": "1h", "slices": slices})
    rolling, store, now = line({"rolling": "1h", "slices": slices}, tokens=100), MemoryStore(), START_MS + offset

    def fits(name: str, moment: int) -> bool:
        held = rolling.hold(STEP, 100, moment)
        return isinstance(store.reserve(ReserveRequest(id=name, holds=(held,), ttl_ms=1, now_ms=moment)), Lease)

    assert fits("first", now)
    assert not fits("early", now + HOUR_MS - 1)
    assert fits("late", now + HOUR_MS + per.slice_ms)


@given(st.lists(st.integers(0, 200 * HOUR_MS), min_size=1, max_size=20))
def test_remembered_holds_are_those_of_the_moment(offsets: list[int]) -> None:
    several = [line(per) for per in ("rolling 7h", "day in Asia/Kolkata", "week", "90s", None)]
    blanks = Blanks(several)

    for now in (START_MS + offset for offset in offsets):
        made = blanks.of(STEP, now)
        assert isinstance(made, Blank)
        assert tuple(each.hold(STEP, 1, now) for each in several) == made.holds
