"""Tiers and routing: which model may answer which step, at what price."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from governor.policy.base import Globs, Mode, Name, Section, Text, also_written_as
from governor.policy.scalars import NanoUsd, PerRun, Price, ScalarError, Share, Steps, Tokens

__all__ = [
    "Escalate",
    "Estimator",
    "Gateway",
    "PriceOverride",
    "Quality",
    "RouteRule",
    "RouteWhen",
    "Routing",
    "Tier",
]


class PriceOverride(Section):
    """What one tier costs, in dollars per million tokens. Only needed where the price book is wrong or silent."""

    input: Price
    """Uncached input."""
    output: Price
    """Output, reasoning included."""
    cache_read: Price | None = None
    """Input read from the provider's prompt cache. Absent: the price book's word, else the full input price."""
    cache_write: Price | None = None
    """Input written to the five-minute cache. Absent: the price book's word, else the input price."""
    cache_write_1h: Price | None = None
    """Input written to the one-hour cache."""


class Gateway(Section):
    """An endpoint that stands in for the provider: Cloudflare AI Gateway, LiteLLM, Portkey or any compatible one."""

    base_url: str
    """Where requests go, e.g. `https://gateway.example.com/v1`."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Extra request headers. Never a secret itself: write `${NAME}` and governor reads that environment variable."""


def _vendor_value(value: Any) -> Any:
    """Exact decimals become floats on their way to a vendor's client; arguments are not limits."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _vendor_value(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - whatever the author wrote
    if isinstance(value, (list, tuple)):
        return [_vendor_value(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - same
    return value


Arguments = Annotated[dict[str, Any], BeforeValidator(_vendor_value)]


class Tier(Section):
    """A model that may answer, with what governor must know to reserve and price a call before it is made."""

    model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_\-]+:\S+$", max_length=300)]
    """`provider:model`, as in LangChain's `init_chat_model`."""
    args: Arguments = Field(default_factory=dict)
    """Arguments for the model's client (region, temperature), passed on unread."""
    max_output_tokens: Tokens | None = None
    """Set on every request of this tier: it is what gets reserved. Absent: the model's maximum."""
    context_window: Tokens | None = None
    """How much the model can read. Absent: governor's table of known models."""
    price: PriceOverride | None = None
    """Overrides the price book."""
    base_url: str | None = None
    """The provider's endpoint, where it is not the usual one."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Extra request headers; `${NAME}` is read from the environment."""
    gateway: Gateway | None = None
    """Puts the tier behind a gateway."""

    @model_validator(mode="after")
    def _one_endpoint(self) -> Self:
        if self.gateway is not None and (self.base_url is not None or self.headers):
            raise ScalarError("`gateway` and `base_url`/`headers` both say where requests go", "Keep one of them.")
        return self

    @property
    def provider(self) -> str:
        """The part of `model` before the first colon."""
        return self.model.partition(":")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the first colon, as the provider knows it."""
        return self.model.partition(":")[2]

    @property
    def endpoint(self) -> str | None:
        """Where requests go when it is not the provider's usual address."""
        return self.gateway.base_url if self.gateway else self.base_url

    @property
    def request_headers(self) -> dict[str, str]:
        """Headers to add, `${NAME}` still unresolved: the integration that builds the client reads the environment."""
        return dict(self.gateway.headers if self.gateway else self.headers)


class RouteWhen(Section):
    """Where a routing rule applies."""

    node: Globs
    """Names of graph nodes; `*` matches any text."""


class RouteRule(Section):
    """Sends matching steps to one tier. The first rule that matches decides; `lock` makes its word final."""

    id: Name
    """A stable name, used in decisions, reports and tests."""
    when: RouteWhen
    """Which steps."""
    tier: Name
    """The tier that answers."""
    lock: StrictBool = False
    """Nothing may lower (or raise) the tier of a matching step."""
    mode: Mode | None = None
    """Absent: the policy's mode."""


Trigger = Literal["tool_error", "invalid_output", "loop", "refusal", "empty", "cut_off"]


class Escalate(Section):
    """Moves a step that went wrong one tier up, for a while."""

    after: Annotated[
        tuple[Trigger, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v), Field(min_length=1)
    ]
    """What counts as gone wrong."""
    for_: Annotated[Steps, Field(alias="for")] = Steps(6, "6 steps")
    """How long the higher tier stays."""
    at_most: PerRun = PerRun(2, "2 per run")
    """How often in one run."""


class Quality(Section):
    """How much quality the router may give up, and how it measures that."""

    max_loss: Share
    """Largest loss against the best tier."""
    confidence: Share = Share("0.95", "95%")
    """How sure the measurement must be."""
    shadow: Share | None = None
    """Share of calls that another tier answers as well, unseen, to measure the loss: model calls alone, no tool runs. Needs outcomes."""
    shadow_per_day: NanoUsd | None = None
    """Most dollars that such calls may cost in a day (UTC). Absent: no bound of their own; every budget holds for them all the same."""


EstimatorKind = Literal["off", "hashed", "encoder", "judge", "custom"]


class Estimator(Section):
    """Predicts what a better tier gains at a step. Written as one word where it needs no settings, or as a mapping."""

    model_config = ConfigDict(json_schema_extra=also_written_as({"enum": ["off", "hashed"]}))

    kind: EstimatorKind = "off"
    """`off`: rules and default only. `hashed`: built in. `encoder`: needs a local model. `judge`: asks a cheap tier. `custom`: an
    installed package's."""
    settings: Arguments = Field(default_factory=dict)
    """Settings of that kind (`governor.policy.estimators`). encoder: model, tokenizer, threads, max_tokens, pooling, method, when. judge:
    tier, mode, budget_ms, when, max_cost, max_tokens, send_temperature. custom: name, and the package's own."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class Routing(Section):
    """Which tier answers which step."""

    default: Name | None = None
    """The tier of steps no rule names. Absent: the model the graph itself uses."""
    rules: tuple[RouteRule, ...] = ()
    """Read top to bottom; the first that matches decides."""
    estimator: Estimator = Estimator()
    """Predicts the tier a step needs where no rule decides."""
    escalate: Escalate | None = None
    """What happens after a bad answer. Absent: nothing."""
    frontier_share: Share | None = None
    """Soft target for the share of calls the best tier answers."""
    quality: Quality | None = None
    """Limits of what routing may cost in quality."""
    snapshot: Text | None = None
    """File of the snapshot that the estimator decides by; relative to this policy's folder. Absent: rules and default decide."""
    outcomes: Text | None = None
    """File in which routed steps and what came of them are kept; a relative path begins at this file's folder. Absent:
    `$GOVERNOR_OUTCOMES`, or none."""
