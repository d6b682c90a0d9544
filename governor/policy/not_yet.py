"""What the schema accepts and this release does not enforce yet: one table, so that nothing is promised in silence.

Whoever ships an engine removes its line. `governor policy check` reports every part that a policy uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NOT_YET_ENFORCED"]


def _given(value: Any) -> bool:
    """Whether the author asked for anything."""
    return value is not None and value != ()


NOT_YET_ENFORCED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "tools.rules.*.when.cel": (_given, "calls that the expression would decide are denied"),
    "trace.content": (
        lambda word: word != "none",
        "of all texts only what differs where a cached prefix moved (with `full`) and the newest message of a recorded outcome are kept",
    ),
    "trace.redact": (
        _given,
        "it is removed from recorded outcomes and exports; no other text is recorded with `redacted`",
    ),
    "exceptions": (_given, "the rules they name stay in force"),
}
"""Path pattern (`*` is any list position) -> (is this value one of the unenforced ones?, what happens instead)."""
