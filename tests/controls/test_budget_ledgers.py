"""Which ledger a limit counts on: by scope, by window, never two names on one ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import RunRef, StepRef
from governor.controls.budget.lines import lines
from governor.controls.budget.windows import frame_of
from governor.ledger import Hold
from governor.policy.scalars import Milliseconds
from governor.policy.schema import Policy
from governor.testing import START_MS

RUN = RunRef(id="r1", thread="t1", scopes={"org": "acme", "tenant": "t", "user": "u", "agent": "support"})
STEP = StepRef(run=RUN, node="answer", path="desk/answer", ns="ns:1")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

moments = st.integers(0, 4_000_000_000_000)
names = st.text(min_size=1)


def hold(
    scope: str, step: StepRef = STEP, *, now: int = START_MS, per: Any = None, tool: str | None = "search"
) -> Hold:
    budget = {"id": "b", "scope": scope, "limit": {"calls": 5}, **({"per": per} if per else {})}
    (line,) = lines(Policy.model_validate({"governor": 1, "name": "p", "budgets": [budget]}))
    return line.hold(step, 1, now, tool=tool)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("scope", "ledger"),
    [
        ("org", "b/org=acme/life/calls"),
        ("tenant", "b/org=acme,tenant=t/life/calls"),
        ("user", "b/org=acme,tenant=t,user=u/life/calls"),
        ("thread", "b/thread=t1/life/calls"),
        ("run", "b/run=r1/life/calls"),
        ("agent", "b/org=acme,agent=support/life/calls"),
        ("node", "b/org=acme,agent=support,node=desk%2Fanswer/life/calls"),
        ("tool", "b/tool=search/life/calls"),
    ],
)
def test_a_ledger_is_named_by_budget_scope_window_and_unit(scope: str, ledger: str) -> None:
    assert ledger == hold(scope).ledger


@given(names, names, names, names)
def test_different_names_never_share_a_ledger(tenant: str, user: str, other_tenant: str, other_user: str) -> None:
    steps = [
        replace(STEP, run=replace(RUN, scopes={"tenant": one, "user": two}))
        for one, two in ((tenant, user), (other_tenant, other_user))
    ]

    first, second = (hold("user", step).ledger for step in steps)

    assert (first == second) == ((tenant, user) == (other_tenant, other_user))
    assert 4 == len(first.split("/"))


@pytest.mark.parametrize(
    ("per", "now", "window", "ends"),
    [
        ("1d", "2026-07-31T23:59:59.999+00:00", "1d@20665", "2026-08-01T00:00:00+00:00"),
        ("1d", "2026-08-01T00:00:00+00:00", "1d@20666", "2026-08-02T00:00:00+00:00"),
        ("15m", "2026-07-31T10:29:59+00:00", "15m@1983881", "2026-07-31T10:30:00+00:00"),
        ("day", "2026-07-31T23:59:59.999+00:00", "2026-07-31", "2026-08-01T00:00:00+00:00"),
        ("day", "2026-07-31T23:30:00-02:00", "2026-08-01", "2026-08-02T00:00:00+00:00"),
        ("week", "2026-07-31T12:00:00+00:00", "2026-W31", "2026-08-03T00:00:00+00:00"),
        ("week", "2027-01-01T12:00:00+00:00", "2026-W53", "2027-01-04T00:00:00+00:00"),
        ("month", "2026-07-31T12:00:00+00:00", "2026-07", "2026-08-01T00:00:00+00:00"),
        ("month", "2026-12-31T23:59:59+00:00", "2026-12", "2027-01-01T00:00:00+00:00"),
        ("month", "2028-02-29T00:00:00+00:00", "2028-02", "2028-03-01T00:00:00+00:00"),
    ],
)
def test_a_window_ends_when_its_name_says(per: str, now: str, window: str, ends: str) -> None:
    held = hold("org", now=at(now), per=per)

    assert f"b/org=acme/{window}/calls" == held.ledger
    assert at(ends) + DAY_MS == held.expires_ms


@given(moments, st.sampled_from(["day", "week", "month", "90s", "7h", "1d"]))
def test_every_moment_of_a_window_has_its_name_and_the_next_moment_another(now: int, per: str) -> None:
    parsed: Any = per if per in ("day", "week", "month") else Milliseconds.parse(per)

    frame = frame_of(parsed, now)
    assert frame.ends_ms is not None

    assert now < frame.ends_ms == (frame.expires_ms or 0) - DAY_MS
    assert frame == frame_of(parsed, frame.ends_ms - 1)
    assert frame.name != frame_of(parsed, frame.ends_ms).name


@given(moments)
def test_a_calendar_day_is_the_day_in_utc(now: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)

    assert moment.date().isoformat() == frame_of("day", now).name


@pytest.mark.parametrize(("scope", "days"), [("run", 30), ("thread", 90)])
def test_ledgers_of_what_ends_by_itself_are_kept_for_a_while_after_their_last_use(scope: str, days: int) -> None:
    assert (START_MS // DAY_MS + days) * DAY_MS == hold(scope).expires_ms


@pytest.mark.parametrize("scope", ["org", "tenant", "user", "agent", "node", "tool"])
def test_ledgers_without_a_window_are_kept_for_good(scope: str) -> None:
    assert None is hold(scope).expires_ms
