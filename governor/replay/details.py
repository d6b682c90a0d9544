"""What a recorded message says beside its words: usage, model and time, wherever its client wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from governor import reported
from governor.calls import ModelRef
from governor.usage import Usage

__all__ = ["at_in", "metadata_in", "model_in", "model_named", "moment", "text_in", "usage_in"]

_MOMENTS = ("timestamp", "created_at", "created", "ts", "time")
_LATEST_MS = 253_402_300_800_000
"""The year 10000: what is beyond is no date."""
_MOST_TOKENS = 10**12
"""A count beyond is no count of tokens."""
_FIRST_MS_NUMBER = 100_000_000_000
"""Numbers below are seconds since the epoch (until the year 5138), others milliseconds."""


def metadata_in(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`; an empty one where there is none."""
    found = row.get(key)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def usage_in(row: Mapping[str, Any], said: Mapping[str, Any]) -> Usage | None:
    """What the provider reported, or None: never zero."""
    found = _reported(row, said)
    return found if found is not None and 0 < found.total < _MOST_TOKENS else None


def _reported(row: Mapping[str, Any], said: Mapping[str, Any]) -> Usage | None:
    own = metadata_in(row, "usage_metadata")
    if own:
        return reported.usage_in(own, str(said.get("model_provider") or ""))
    for found in (metadata_in(row, "usage"), metadata_in(said, "token_usage"), metadata_in(said, "usage")):
        if "prompt_tokens" in found or "completion_tokens" in found:
            inside, outside = (
                metadata_in(found, "prompt_tokens_details"),
                metadata_in(found, "completion_tokens_details"),
            )
            return reported.usage_in(
                {
                    "input_tokens": found.get("prompt_tokens"),
                    "output_tokens": found.get("completion_tokens"),
                    "total_tokens": found.get("total_tokens"),
                    "input_token_details": {"cache_read": inside.get("cached_tokens")},
                    "output_token_details": {"reasoning": outside.get("reasoning_tokens")},
                },
                "openai",
            )
        if "input_tokens" in found:
            return reported.usage_in(found)
    return None


def model_in(row: Mapping[str, Any], said: Mapping[str, Any]) -> ModelRef | None:
    """The model that answered, as the answer says."""
    for place in (said, row):
        for key in ("model_name", "model", "model_id"):
            if isinstance(place.get(key), str) and place[key]:
                return model_named(place[key], text_in(place.get("model_provider")))
    return None


def model_named(name: str, provider: str | None = None) -> ModelRef:
    """`provider:model`; without a provider it is OpenAI's for its own names, else nobody's, so that no price is guessed."""
    before, colon, after = name.partition(":")
    if provider:
        return ModelRef(provider=provider, model=name)
    if colon and before.replace("_", "").isalnum() and not before[:1].isdigit() and "-" not in before:
        return ModelRef(provider=before, model=after)
    ours = name.startswith(("gpt-", "chatgpt-", "o1", "o3", "o4"))
    return ModelRef(provider="openai" if ours else "unknown", model=name)


def at_in(row: Mapping[str, Any], said: Mapping[str, Any], outer: Mapping[str, Any]) -> int | None:
    """When the message was there, milliseconds since the epoch."""
    places = (row, outer, said, metadata_in(row, "additional_kwargs"))
    found = (moment(place[key]) for place in places for key in _MOMENTS if key in place)
    return next((at for at in found if at is not None), None)


def moment(value: object) -> int | None:
    """Milliseconds since the epoch, from a number of seconds or milliseconds or from ISO 8601 text (UTC unless it says otherwise)."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value.strip())
            found = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found = int(value * 1_000 if abs(value) < _FIRST_MS_NUMBER else value)
        else:
            return None
    except (OverflowError, ValueError):
        return None
    return found if 0 < found < _LATEST_MS else None


def text_in(value: object) -> str | None:
    """A text, or None."""
    return value if isinstance(value, str) else None
