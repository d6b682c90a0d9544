"""Progress by the graph's own account: the value in its state that rises when a run gets somewhere.

`state.todo_done`, `state.report.pages` or `len(state.answers)`. It beats every guess from calls and results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

from governor.values import cheap

__all__ = ["Progress", "Value"]

Value = int | float | str
"""What is compared: numbers rise, words are new or known."""

_FORM = re.compile(r"(?P<len>len\()?\s*state\.(?P<path>[^\W\d]\w*(?:\.\w+)*)\s*(?(len)\))")
_LONGEST = 200


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where in a graph's state progress is told."""

    path: tuple[str, ...]
    size: bool
    """Whether the number of items there counts, not the value itself."""

    @classmethod
    def parse(cls, text: str) -> Progress | None:
        """Read `state.name`, `state.name.inner` or `len(state.name)`; None when it is neither."""
        found = _FORM.fullmatch(text.strip())
        return None if found is None else cls(path=tuple(found["path"].split(".")), size=found["len"] is not None)

    def of(self, state: object) -> Value | None:
        """The value in `state` (a mapping, a model or a dataclass); None where this graph has no such thing."""
        value: Any = state
        for name in self.path:
            value = _within(value, name)
            if value is None:
                return None
        if self.size:
            return len(value) if isinstance(value, Sized) else None
        if isinstance(value, (int, float)):  # True is 1: done
            return value
        return str(value)[:_LONGEST] if isinstance(value, str) else None


def _within(value: object, name: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[object, Any]", value).get(name)
    return getattr(value, name, None)
