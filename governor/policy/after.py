"""What a policy says about the time after a model call: a second opinion, a task that no tier solves, providers that fail."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from governor.policy.base import Section, also_written_as
from governor.policy.scalars import Count, Milliseconds, ScalarError, Share

__all__ = ["CheckKind", "Hopeless", "OutputCheck", "Rest"]


class Hopeless(Section):
    """What becomes of a run in which the best tier fails as well: more of its answers are not worth their price."""

    after: Count = Count(3, "3")
    """Answers of the best tier in a row, in one run, after each of which something of `escalate.after` was seen."""
    then: Literal["stop", "ask", "lower"] = "stop"
    """`stop`: the run ends with what it has. `ask`: a person says whether it goes on. `lower`: it goes on without the best tier."""


CheckKind = Literal["off", "self_consistency"]


class OutputCheck(Section):
    """A second look at an answer that passed all gates. Written as one word, or as a mapping with settings."""

    model_config = ConfigDict(json_schema_extra=also_written_as({"enum": ["off", "self_consistency"]}))

    kind: CheckKind = "off"
    """`self_consistency`: the same tier is asked again, and paid again; where answers differ, that is `disagreement`."""
    samples: Count = Count(3, "3")
    """Answers in all, the first one included. At least 2."""
    agree: Share = Share("0.66", "66%")
    """Share of them that must say the same as the first."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _several(self) -> Self:
        if not 2 <= self.samples <= 9:
            raise ScalarError(
                f"`samples` is {self.samples.written}: one answer agrees with itself, and ten cost ten times as much",
                "Write 2 to 9.",
            )
        return self


class Rest(Section):
    """When a tier whose provider fails is left alone for a while (a circuit breaker). Counted per process."""

    after: Count = Count(5, "5")
    """Calls in a row that failed by outage, overload or throttling."""
    share: Share | None = None
    """Or this share of its latest 20 calls, once there are as many."""
    for_: Annotated[Milliseconds, Field(alias="for")] = Milliseconds(30_000, "30s")
    """For how long, or for as long as the provider asked for; then one call tries. Each failed try doubles it, up to 16 times as long."""
