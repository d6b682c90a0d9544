"""Rates: the pace that tiers' calls must keep, and what happens to a call for which there is no room."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import WithJsonSchema, model_validator

from governor.policy.base import Name, Section, Words
from governor.policy.scalars import Count, Milliseconds, ScalarError, Share, Tokens
from governor.policy.weights import BurnDown

__all__ = ["RATE_FIELDS", "Fair", "Rate", "WhenFull"]

Owner = Literal["org", "tenant", "user"]


class WhenFull(Section):
    """What to do when a rate is used up: `wait 20s`, `shed` (refuse at once) or `lower_tier`."""

    action: Literal["wait", "shed", "lower_tier"]
    """What to do."""
    wait: Milliseconds | None = None
    """With `wait`: for how long at most."""

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        word, _, rest = value.strip().partition(" ")
        return {"action": word, "wait": rest.strip()} if rest else {"action": word}

    @model_validator(mode="after")
    def _wait_has_an_end(self) -> Self:
        if (self.action == "wait") != (self.wait is not None):
            raise ScalarError("only `wait` has a duration, and it needs one", "Write it like `wait 20s`.")
        return self


class Fair(Section):
    """No one owner may take more than a share of the rate, so that the fan-out of one leaves room for the others."""

    by: Owner
    """Who shares: `org`, `tenant` or `user`."""
    share: Share
    """The most that each may take. While the shares of those who ask add up to 100% or less, each surely gets its own."""

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        by, _, share = value.strip().partition(" ")
        if not share:
            raise ScalarError("a fair rate needs a share", "Write it like `tenant 25%`.")
        return {"by": by, "share": share.strip()}


RATE_FIELDS = ("tokens_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "requests_per_minute")


class Rate(Section):
    """A pace that the calls of some tiers must keep, over all runs and processes that share a store.

    A full minute's worth may be taken at once.
    """

    id: Name | None = None
    """A stable name. Absent: `rates.<tier>`."""
    tier: Words
    """The tier it limits. Tiers that are one model in one region share its quota: name them together."""
    tokens_per_minute: Tokens | None = None
    """Tokens a minute. Held at the prompt and the longest answer, settled by `burndown`."""
    input_tokens_per_minute: Tokens | None = None
    """Tokens of prompts a minute, where the provider counts them apart."""
    output_tokens_per_minute: Tokens | None = None
    """Tokens of answers a minute, where the provider counts them apart."""
    requests_per_minute: Count | None = None
    """Calls admitted per minute."""
    burndown: BurnDown | None = None
    """What a token takes once it is known. Absent: as the provider is known to count."""
    scope: Owner | None = None
    """Give each org, tenant or user this rate to itself. Absent: all share it."""
    fair: Annotated[Fair | None, WithJsonSchema({"type": "string", "pattern": "^(org|tenant|user) +[0-9.]+%?$"})] = None
    """`tenant 25%`: no tenant may take more than a quarter of the rate. Absent: first come, first served."""
    when_full: Annotated[
        WhenFull, WithJsonSchema({"type": "string", "pattern": "^(wait [0-9.]+(ms|s|m|h)|shed|lower_tier)$"})
    ] = WhenFull(action="shed")
    """What to do when the rate is used up."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not self.limits:
            raise ScalarError("this rate limits nothing", "Add `tokens_per_minute` or `requests_per_minute`.")
        if self.fair is not None and self.scope is not None:
            raise ScalarError("with `scope` each has its own rate, and `fair` shares one", "Keep one of them.")
        too_small = [
            name for name, amount in self.limits.items() if self.fair and amount * Decimal(self.fair.share) < 1
        ]
        if too_small:
            raise ScalarError(
                f"a share of {self.fair and self.fair.share.written} of `{too_small[0]}` is nothing", "Raise one."
            )
        return self

    @property
    def limits(self) -> dict[str, Any]:
        """Its limits by key, as written."""
        return {name: getattr(self, name) for name in RATE_FIELDS if getattr(self, name) is not None}

    @property
    def name(self) -> str:
        """Its id, or `rates.<tier>`."""
        return self.id or f"rates.{'+'.join(self.tier)}"
