"""Windows of budgets as an author writes them: fixed durations, calendars (with a time zone), and rolling ones."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, cast
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from governor.policy.base import Section
from governor.policy.scalars import Milliseconds, ScalarError

__all__ = ["Calendar", "CalendarWindow", "RollingWindow", "Window", "Zone"]

Calendar = Literal["day", "week", "month"]
_CALENDARS = ("day", "week", "month")
_UTC = "UTC"
_SHORTEST_SLICE_MS = 1_000
_FEWEST, _MOST = 2, 60


def _known_zone(name: Any) -> Any:
    """The name, if this system's time zone data has it."""
    if not isinstance(name, str):
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a directory of zones is an OSError, a path outside of them a ValueError
        known = sorted(available_timezones())
        if not known:
            message = f"this system has no time zone data, so that {name[:64]!r} cannot be looked up"
            raise ScalarError(message, "Install the package `tzdata`.") from None
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        remedy = f"Did you mean `{close[0]}`?" if close else "Write it like `Europe/Berlin`."
        raise ScalarError(f"there is no time zone {name[:64]!r}", remedy) from None
    return name


Zone = Annotated[str, BeforeValidator(_known_zone), Field(min_length=1, max_length=100)]
"""A zone of the IANA time zone database, as in `Europe/Berlin`."""


def _few(slices: Any) -> int:
    if isinstance(slices, bool) or not isinstance(slices, int) or not _FEWEST <= slices <= _MOST:
        shown = slices if isinstance(slices, int) else f"a {type(slices).__name__}"
        raise ScalarError(f"{shown} slices: expected a number of {_FEWEST} to {_MOST}", "12 is a good number.")
    return slices


class RollingWindow(Section):
    """A window that slides: whenever one looks, no window of that length holds more than the limit."""

    rolling: Milliseconds
    """Its length."""
    slices: Annotated[int, BeforeValidator(_few)] = 12
    """Amounts are kept by slices of the window and leave it slice by slice. An amount counts for the window's length and at most one
    slice more: the more slices, the less is refused too long, and the more ledgers each call looks at."""

    @model_validator(mode="after")
    def _slices_of_a_second(self) -> Self:
        if self.slice_ms < _SHORTEST_SLICE_MS:
            most = self.rolling // _SHORTEST_SLICE_MS
            remedy = (
                f"Use at most {most} slices."
                if most >= _FEWEST
                else "Use at least `rolling: 2s`; `rates` are for paces."
            )
            raise ScalarError(f"{self.slices} slices of {self.rolling.written} are shorter than a second each", remedy)
        return self

    @property
    def slice_ms(self) -> int:
        """Length of a slice; together they are at least as long as the window."""
        return -(-self.rolling // self.slices)

    @property
    def written(self) -> str:
        """`rolling 24h`."""
        return f"rolling {self.rolling.written}"


class CalendarWindow(Section):
    """Days, weeks from Monday, or months of a time zone. A day on which clocks change has 23 or 25 hours."""

    calendar: Calendar
    """What the window is."""
    zone: Zone = _UTC
    """Whose midnight ends it."""

    @property
    def written(self) -> str:
        """`day in Europe/Berlin`."""
        return f"{self.calendar} in {self.zone}"


def _kind(value: Any) -> str:
    if isinstance(value, (RollingWindow, CalendarWindow)):
        return "a rolling window" if isinstance(value, RollingWindow) else "a calendar window"
    if isinstance(value, Mapping):
        return "a rolling window" if "rolling" in value else "a calendar window"
    return "a word" if isinstance(value, str) else "a duration"


Window = Annotated[
    Annotated[Milliseconds, Tag("a duration")]
    | Annotated[Calendar, Tag("a word")]
    | Annotated[RollingWindow, Tag("a rolling window")]
    | Annotated[CalendarWindow, Tag("a calendar window")],
    Discriminator(_kind),
]
"""Windows of that length one after another, counted from 1970-01-01 UTC; calendar ones; or one that slides."""


def _read_window(raw: Any) -> Any:
    """The short forms `rolling 24h` and `day in Europe/Berlin` as their long ones; a calendar of UTC as its word."""
    if isinstance(raw, Mapping):
        given = dict(cast("Mapping[Any, Any]", raw))
        if "rolling" in given and "calendar" in given:
            raise ScalarError("a window either rolls or is a calendar's", "Keep `rolling` or `calendar`.")
        plain = (
            given.get("calendar") in _CALENDARS
            and given.get("zone", _UTC) == _UTC
            and not set(given) - {"calendar", "zone"}
        )
        return given["calendar"] if plain else given
    if raw is None or raw in _CALENDARS or isinstance(raw, Section):
        return raw
    if isinstance(raw, str):
        word, _, rest = raw.strip().partition(" ")
        if word == "rolling" and rest:
            return {"rolling": rest.strip()}
        if word in _CALENDARS and rest.strip():
            return _read_window({"calendar": word, "zone": rest.strip().removeprefix("in ").strip()})
    try:
        return Milliseconds.parse(raw)
    except ScalarError as error:
        raise ScalarError(str(error), f"{error.remedy[:-1]}, or day, week, month, or `rolling 24h`.") from None


_DURATION = "[0-9.]+(ms|s|m|h|d)"
_PER_SCHEMA = {
    "anyOf": [
        {"enum": list(_CALENDARS)},
        {"type": "string", "pattern": f"^(rolling +)?{_DURATION}$"},
        {"type": "string", "pattern": "^(day|week|month) +(in +)?[A-Za-z0-9_+/-]+$"},
        {
            "type": "object",
            "properties": {
                "rolling": {"type": "string", "pattern": f"^{_DURATION}$"},
                "slices": {"type": "integer", "minimum": _FEWEST, "maximum": _MOST},
            },
            "required": ["rolling"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"calendar": {"enum": list(_CALENDARS)}, "zone": {"type": "string"}},
            "required": ["calendar"],
            "additionalProperties": False,
        },
    ]
}

Per = Annotated[Window | None, BeforeValidator(_read_window), WithJsonSchema(_PER_SCHEMA)]
"""A window, however it is written."""
