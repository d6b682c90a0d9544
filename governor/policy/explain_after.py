"""Sentences about the time after a model call: repairs, second opinions, hopeless runs, providers that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.document import Path
    from governor.policy.schema import Policy

__all__ = ["about_afterwards"]

_GIVEN_UP = {
    "stop": "the run ends with what it has",
    "ask": "a person is asked whether the run goes on",
    "lower": "the run goes on without that model",
}


def about_afterwards(policy: Policy) -> Iterator[tuple[str, Path, str | None, str]]:
    """Topic, place, rule and text of each."""
    routing = policy.routing
    if routing.escalate is not None and routing.escalate.repair:
        text = (
            "An answer that is not valid is first asked for once more of the same model, which is told what was wrong."
        )
        yield "models", ("routing", "escalate", "repair"), None, text
    if routing.check.kind == "self_consistency":
        check = routing.check
        text = f"Each answer that might be escalated is asked for {int(check.samples)} times; {check.agree.written} must agree with it."
        yield "models", ("routing", "check"), None, text
    if routing.hopeless is not None:
        given_up = _GIVEN_UP[routing.hopeless.then]
        text = f"When the best model has failed {int(routing.hopeless.after)} times in a row, {given_up}."
        yield "models", ("routing", "hopeless"), None, text
    for name, tier in policy.tiers.items():
        if tier.fallback:
            instead = ", then ".join(f"`{each}`" for each in tier.fallback)
            text = f"When the provider of `{name}` fails, {instead} answers in its stead, where no rule locks the tier."
            yield "models", ("tiers", name, "fallback"), None, text
    if routing.rest is not None:
        rest = routing.rest
        often = f", or {rest.share.written} of its latest 20," if rest.share is not None else ""
        text = (
            f"A model that failed {int(rest.after)} calls in a row{often} is left alone for {rest.for_.written}; "
            "its fallbacks answer, or the next better model where it has none."
        )
        yield "models", ("routing", "rest"), None, text
