"""Tiers and routing: which model may answer which step, at what price."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from governor.gateway_names import RESOLD_BY
from governor.policy.after import Hopeless, OutputCheck, Rest
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


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_\-]+:\S+$", max_length=300)]


class Tier(Section):
    """A model that may answer, with what governor must know to reserve and price a call before it is made."""

    model: ModelName
    """`provider:model`, as in LangChain's `init_chat_model`."""
    args: Arguments = Field(default_factory=dict)
    """Arguments for the model's client (region, temperature), passed on unread."""
    max_output_tokens: Tokens | None = None
    """Set on every request of this tier: it is what gets reserved. Absent: the model's maximum."""
    serves: tuple[ModelName, ...] = ()
    """The models that may answer under the name in `model`, each as `provider:model`: where that is an alias, a prompt router, an
    application inference profile or a gateway's chain of fallbacks. Held at the dearest of them, charged as the one that answered, where
    the answer says which that was."""
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
    fallback: Annotated[tuple[Name, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    """Tiers that answer in its stead, in this order, when its provider is out, overloaded or throttles."""

    @model_validator(mode="after")
    def _one_endpoint(self) -> Self:
        if self.gateway is not None and (self.base_url is not None or self.headers):
            raise ScalarError("`gateway` and `base_url`/`headers` both say where requests go", "Keep one of them.")
        return self

    @model_validator(mode="after")
    def _speaks_for_what_it_serves(self) -> Self:
        foreign = next((each for each in self.serves if each.partition(":")[0] != self.provider), None)
        if foreign is not None and self.provider not in RESOLD_BY:
            raise ScalarError(
                f"`serves` names {foreign}, and only another model of {self.provider} can answer there",
                f"Name models as `{self.provider}:...`, or reach that one through a gateway that speaks OpenAI's format (`openai:...`).",
            )
        return self

    @property
    def provider(self) -> str:
        """The part of `model` before the first colon."""
        return self.model.partition(":")[0]

    @property
    def sent_name(self) -> str:
        """The part of `model` after the first colon, as requests name it."""
        return self.model.partition(":")[2]

    @property
    def model_name(self) -> str:
        """The name that prices and facts go by: what alone stands behind the sent one, else the sent one itself."""
        return self.served_names[0] if len(self.serves) == 1 else self.sent_name

    @property
    def served_names(self) -> tuple[str, ...]:
        """`serves` as names under the tier's own provider; one of another provider's begins with that provider's (`anthropic/...`)."""
        split = (each.partition(":") for each in self.serves)
        return tuple(name if provider == self.provider else f"{provider}/{name}" for provider, _, name in split)

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


Trigger = Literal[
    "tool_error",
    "invalid_output",
    "invalid_arguments",
    "duplicate_call",
    "loop",
    "refusal",
    "empty",
    "cut_off",
    "low_score",
    "disagreement",
]


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
    repair: StrictBool = False
    """Whether the same tier is first asked once more, with what was wrong, where that can be said (`invalid_output`,
    `invalid_arguments`, `duplicate_call`)."""


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
    hopeless: Hopeless | None = None
    """When a run in which the best tier fails as well is given up. Absent: never."""
    check: OutputCheck = OutputCheck()
    """A second look at answers that pass all gates."""
    rest: Rest | None = None
    """When a failing tier is left alone. Absent: as by default for tiers with a `fallback`; given, for all of them."""
    frontier_share: Share | None = None
    """Soft target for the share of calls the best tier answers."""
    quality: Quality | None = None
    """Limits of what routing may cost in quality."""
    snapshot: Text | None = None
    """File of the snapshot that the estimator decides by; a relative path begins at this file's folder. Absent: rules and default."""
    outcomes: Text | None = None
    """File in which routed steps and what came of them are kept; a relative path begins at this file's folder. Absent:
    `$GOVERNOR_OUTCOMES`, or none."""
