"""When windows begin and end, and what they are called in a ledger's key. Pure arithmetic on milliseconds since the epoch.

A rolling window is kept in slices, one ledger each. Its current ledger and those of the slices that the window may still reach count
together, so that an amount counts for the window's length and for up to one slice more: never less, which is what a limit is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from governor.policy.windows import CalendarWindow, RollingWindow
from governor.values import cheap

if TYPE_CHECKING:
    from governor.policy.windows import Calendar, Window

__all__ = ["DAY_MS", "Frame", "frame_of"]

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_MARGIN_MS = DAY_MS
"""How long a window's ledger outlives the window: leases settle into the window that reserved, however late."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The window that a moment falls into; of a rolling one, its current slice."""

    name: str
    earlier: tuple[str, ...] = ()
    """For a rolling window: the slices before, which it may still reach, latest first."""
    begins_ms: int
    ends_ms: int | None
    """None: never."""
    expires_ms: int | None
    """When its ledger may be forgotten."""

    def holds(self, now: int) -> bool:
        """Whether `now` falls into it."""
        return self.begins_ms <= now and (self.ends_ms is None or now < self.ends_ms)


_LIFE = Frame(name="life", begins_ms=0, ends_ms=None, expires_ms=None)


def frame_of(per: Window | None, now: int) -> Frame:
    """The window that `now` falls into. Windows of one kind follow each other without a gap and without an overlap."""
    if per is None:
        return _LIFE
    if isinstance(per, RollingWindow):
        return _slice(per, now)
    if isinstance(per, CalendarWindow):
        return _calendar(per.calendar, per.zone, now)
    if isinstance(per, int):
        number = now // per
        ends = (number + 1) * per
        return Frame(name=f"{per.written}@{number}", begins_ms=ends - per, ends_ms=ends, expires_ms=ends + _MARGIN_MS)
    return _calendar(per, "UTC", now)


def _slice(per: RollingWindow, now: int) -> Frame:
    length = per.slice_ms
    number = now // length
    ends = (number + 1) * length
    # Slices are of no use once the window has left them; short windows have many, which must not all be kept for a day.
    kept = ends + per.slices * length + min(_MARGIN_MS, max(_HOUR_MS, per.rolling))
    names = tuple([f"{per.rolling.written}~{per.slices}@{number - back}" for back in range(per.slices + 1)])
    return Frame(name=names[0], earlier=names[1:], begins_ms=ends - length, ends_ms=ends, expires_ms=kept)


def _calendar(kind: Calendar, zone: str, now: int) -> Frame:
    first = _first_day(kind, datetime.fromtimestamp(now / 1_000, ZoneInfo(zone)).date())
    # Where clocks go back over midnight a date begins, is left and begins again: a window begins with the first of these moments.
    while now < _midnight(first, zone):
        first = _first_day(kind, first - timedelta(days=1))
    while now >= _midnight(_following(kind, first), zone):
        first = _following(kind, first)
    begins, ends = _midnight(first, zone), _midnight(_following(kind, first), zone)
    return Frame(name=_named(kind, first, zone), begins_ms=begins, ends_ms=ends, expires_ms=ends + _MARGIN_MS)


def _first_day(kind: Calendar, day: date) -> date:
    if kind == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if kind == "week" else day


def _following(kind: Calendar, first: date) -> date:
    if kind == "month":
        return date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return first + timedelta(days=7 if kind == "week" else 1)


@lru_cache(maxsize=256)
def _midnight(day: date, zone: str) -> int:
    """When a date begins. Where clocks skip midnight, that is the moment in which they do."""
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(local.astimezone(UTC).timestamp()) * 1_000


def _named(kind: Calendar, first: date, zone: str) -> str:
    if kind == "day":
        name = first.isoformat()
    elif kind == "week":
        year, week, _ = first.isocalendar()
        name = f"{year}-W{week:02d}"
    else:
        name = f"{first:%Y-%m}"
    return name if zone == "UTC" else f"{name}@{zone.replace('/', ':')}"
