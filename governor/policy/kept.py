"""A policy as text that is kept with a run, so that the run can go on under it when the file has changed (`on_policy_change: pin`)."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from governor.errors import PolicyError
from governor.policy.load import load
from governor.policy.regex import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy.load import LoadedPolicy

__all__ = ["HANDLE", "read_policy", "written_policy"]

HANDLE = "governor.policy"
"""What the text is kept under, among the run's other texts."""


def written_policy(loaded: LoadedPolicy) -> str:
    """The policy with everything it extends, as JSON, amounts as their author wrote them."""
    return json.dumps(_present(loaded.policy.model_dump(by_alias=True, exclude_unset=True)))


def read_policy(text: str, expected: str) -> LoadedPolicy:
    """The policy in such a text. Raises PolicyError when it is not the one whose hash is `expected`: then nothing may run under it."""
    found: object
    try:
        found = json.loads(text, object_hook=_exact)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PolicyError("the policy that was kept with the run is unreadable", remedy="Start a new run.")
    loaded = load(cast("dict[str, Any]", found))
    if loaded.hash != expected:
        raise PolicyError(
            "the policy that was kept with the run is not the one it began under, as this governor reads it",
            remedy="Start a new run.",
        )
    return loaded


_DECIMAL = "$decimal"


def _present(value: Any) -> Any:
    """As an author writes it, without absent values, which the format does not know. Exact numbers stay exact."""
    if isinstance(value, dict):
        return {key: _present(each) for key, each in cast("dict[str, Any]", value).items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_present(each) for each in cast("Sequence[Any]", value)]
    if hasattr(value, "written"):
        return value.written
    if isinstance(value, Pattern):
        return value.text
    if isinstance(value, Decimal):
        return {_DECIMAL: str(value)}
    return value.isoformat() if isinstance(value, date) else value


def _exact(found: dict[str, Any]) -> Any:
    return Decimal(found[_DECIMAL]) if found.keys() == {_DECIMAL} else found
