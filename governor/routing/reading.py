"""Read fields of JSON that a person or another program wrote: file, line and field of whatever is wrong, and what to do about it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, cast

from governor.errors import RoutingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["Fields", "canonical", "parse_object"]


def canonical(value: object) -> str:
    """The one text of a JSON value: sorted keys, no spaces, ASCII. What an id is a digest of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def parse_object(text: str | bytes, *, file: str | None, line: int | None, remedy: str) -> Fields:
    """The fields of a JSON object. Raises RoutingError when `text` is something else."""
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RoutingError(f"this is not JSON ({error})", file=file, line=line, remedy=remedy) from None
    if not isinstance(value, dict):
        raise RoutingError("this is no JSON object", file=file, line=line, remedy=remedy)
    return Fields(cast("dict[str, object]", value), file=file, line=line)


class Fields:
    """A JSON object that is read field by field; `done` refuses the keys that nobody read, since a misspelt one would go unheard."""

    def __init__(self, values: Mapping[str, object], *, file: str | None, line: int | None, at: str = "") -> None:
        """`at`: where in the outermost object this one is, with a dot at its end."""
        self._values, self._file, self._line, self._at = values, file, line, at
        self._read: set[str] = set()

    def wrong(self, name: str, message: str, remedy: str) -> RoutingError:
        """The error for the field `name`."""
        return RoutingError(message, file=self._file, line=self._line, field=f"{self._at}{name}", remedy=remedy)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null. It then counts as read."""
        self._read.add(name)
        return self._values.get(name) is not None

    def text(self, name: str, default: str | None = None, *, one_of: Collection[str] = ()) -> str:
        """A string; without a default one that is not empty."""
        value = self._value(name, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(name, f"expected text, found {_shown(value)}", "Write a string that is not empty.")
        if one_of and value not in one_of:
            raise self.wrong(name, f"{_shown(value)} is not known here", f"Write one of: {', '.join(one_of)}.")
        return value

    def integer(self, name: str, default: int | None = None, *, least: int | None = 0, most: int | None = None) -> int:
        """A whole number within its limits."""
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, f"expected a whole number, found {_shown(value)}", "Write an integer.")
        self._within(name, value, least, most)
        return value

    def number(
        self, name: str, default: float | None = None, *, least: float | None = None, most: float | None = None
    ) -> float:
        """A finite number within its limits."""
        value = self._value(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise self.wrong(name, f"expected a finite number, found {_shown(value)}", "Write a number.")
        self._within(name, value, least, most)
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, f"expected true or false, found {_shown(value)}", "Write true or false.")
        return value

    def fields(self, name: str) -> Fields:
        """A nested object."""
        value = self._value(name, None)
        if not isinstance(value, dict):
            raise self.wrong(name, f"expected an object, found {_shown(value)}", "Write an object.")
        return Fields(cast("dict[str, object]", value), file=self._file, line=self._line, at=f"{self._at}{name}.")

    def list_of(self, name: str) -> list[object]:
        """A list of whatever."""
        value = self._value(name, None)
        if not isinstance(value, list):
            raise self.wrong(name, f"expected a list, found {_shown(value)}", "Write a list.")
        return cast("list[object]", value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        items = self.list_of(name)
        texts = tuple(item for item in items if isinstance(item, str))
        if len(texts) != len(items):
            raise self.wrong(name, "expected a list of strings", "Write strings alone.")
        return texts

    def rows(self, name: str) -> list[Fields]:
        """A list of objects."""
        found: list[Fields] = []
        for index, item in enumerate(self.list_of(name)):
            if not isinstance(item, dict):
                raise self.wrong(f"{name}.{index}", f"expected an object, found {_shown(item)}", "Write an object.")
            at = f"{self._at}{name}.{index}."
            found.append(Fields(cast("dict[str, object]", item), file=self._file, line=self._line, at=at))
        return found

    def done(self) -> None:
        """Raises RoutingError for the first key that was not read."""
        for name in self._values:
            if name not in self._read:
                known = ", ".join(sorted(self._read))
                raise self.wrong(name, "this field is not known", f"Remove it, or write one of: {known}.")

    def _value(self, name: str, default: object) -> object:
        self._read.add(name)
        value = self._values.get(name)
        if value is None and default is None:
            raise self.wrong(name, "this field is missing", "Write it.")
        return default if value is None else value

    def _within(self, name: str, value: float, least: float | None, most: float | None) -> None:
        if (least is not None and value < least) or (most is not None and value > most):
            allowed = f"from {least}" if most is None else f"from {least} to {most}"
            raise self.wrong(name, f"{value} is out of range", f"Write a number {allowed}.")


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
