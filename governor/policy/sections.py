"""Context, loops, limits, budgets and trace: the parts of a policy that bound what a run may use and show."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, Tag, model_validator

from governor.policy.base import Globs, Mode, Name, Section, Text, Words, also_written_as, one_or_many
from governor.policy.scalars import Count, Milliseconds, NanoUsd, ScalarError, Share, Tokens
from governor.policy.splits import Split
from governor.policy.weights import Weights
from governor.policy.windows import Per, Window
from governor.progress import Progress

__all__ = [
    "Budget",
    "BudgetLimit",
    "Cache",
    "Clamp",
    "Compact",
    "Context",
    "Identity",
    "LadderRung",
    "Limits",
    "LoopTool",
    "Loops",
    "PolicyException",
    "ToolResults",
    "Trace",
    "Window",
]


class Identity(Section):
    """Where scopes get their names from: `config.<key>` reads the run's configuration.

    Other text is the name itself. Never from the model. A scope that a rule needs and the run does not
    name is a refusal.
    """

    org: Text | None = None
    """The organisation."""
    tenant: Text | None = None
    """The customer or team."""
    user: Text | None = None
    """The person a run works for."""
    agent: Text | None = None
    """The agent. Absent: the graph's name."""


def _off_as(field: str) -> Any:
    """Let an author write `off` for a mapping whose `field` is off."""
    return BeforeValidator(lambda value: {field: "off"} if value == "off" else value)


def _unless_off(value: object) -> object:
    return None if value == "off" else value


def _or_off(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [*(each for each in schema.get("anyOf", ()) if each != {"type": "null"}), {"const": "off"}]


class Cache(Section):
    """Prompt caching at the provider; governor places the breakpoints."""

    model_config = ConfigDict(json_schema_extra=also_written_as({"const": "off"}))

    ttl: Literal["5m", "1h", "off"] = "5m"
    """How long a cached prefix lives."""
    stagger: Annotated[Milliseconds | None, BeforeValidator(_unless_off), Field(json_schema_extra=_or_off)] = (
        Milliseconds(5_000, "5s")
    )
    """How long a call waits for the first of several that begin together with one prefix, to read what it writes. `off`: not at all."""


class Compact(Section):
    """How old history is shortened in what the model sees. The graph's own state keeps all of it."""

    model_config = ConfigDict(json_schema_extra=also_written_as({"const": "off"}))

    strategy: Literal["off", "ledger", "mask", "summarise"] = "ledger"
    """`ledger` keeps the task, a list of identifiers and the latest messages, without a model call. `mask` keeps all that was said and
    asked and shows old tool results as placeholders, which the recall tool reads. `summarise` is `ledger` with a summary beside it: a
    model call, reserved and charged like any other, by the cheaper of the model that answers and the other tiers; where none can be
    had, `ledger`."""
    keep_tail: Tokens = Tokens(2_000, "2k")
    """How much of the latest history stays word for word."""
    ledger: Tokens = Tokens(1_500, "1.5k")
    """Size of the list of identifiers."""


class ToolResults(Section):
    """Long tool results are cut when first seen; the recall tool reads the rest."""

    cap: Tokens | None = None
    """Results longer than this are cut. Absent: never."""
    recall: StrictBool = True
    """Give the model a tool that reads what was cut, and what `compact: mask` leaves out. Without it the rest is lost to the model."""


class Context(Section):
    """What the model gets to read."""

    cache: Annotated[Cache, _off_as("ttl")] = Cache(ttl="off")
    """Prompt caching. Absent: the graph's own settings stay as they are."""
    order: Literal["auto", "off"] = "off"
    """`auto`: stable parts first (tools, system, pinned, history), volatile ones last, so that the cache hits."""
    compact: Annotated[Compact, _off_as("strategy")] = Compact(strategy="off")
    """Shortening of old history. Absent: none."""
    tool_results: ToolResults = ToolResults()
    """Cutting of long tool results. Absent: none."""
    max_input_tokens: Tokens | None = None
    """Largest prompt of one call; beyond it the history is compacted, and if that does not help the call is refused."""


class LoopTool(Section):
    """A tool that repeats for good reason, so that its repetition is judged by its own rules."""

    tool: Globs
    """Names of tools."""
    as_: Annotated[Literal["poll", "paging", "batch", "strict", "off"], Field(alias="as")]
    """`poll`: asks for a status. `paging`: reads page after page. `batch`: many alike. `off`: never judged."""
    every: Milliseconds | None = None
    """With `poll`: the shortest sensible interval."""
    for_at_most: Milliseconds | None = None
    """With `poll`: how long waiting is legitimate."""
    key: Words | None = None
    """Arguments that identify the call; all others are ignored when calls are compared."""

    @model_validator(mode="after")
    def _waiting_is_polling(self) -> Self:
        if self.as_ != "poll" and (self.every is not None or self.for_at_most is not None):
            raise ScalarError("`every` and `for_at_most` go with `as: poll`", "Remove them or write `as: poll`.")
        return self

    @property
    def never_judged(self) -> bool:
        """Whether its repetition is legitimate for ever: `off`, or a `poll` whose waiting has no end."""
        return self.as_ == "off" or (self.as_ == "poll" and self.for_at_most is None)

    @property
    def is_pattern(self) -> bool:
        """Whether it reaches tools that its author did not name one by one."""
        return any(set(glob) & set("*?[") for glob in self.tool)

    @property
    def names_everything(self) -> bool:
        """Whether one of its patterns is nothing but wildcards."""
        return any("*" in glob and not glob.strip("*?") for glob in self.tool)


def _is_progress(text: str) -> str:
    if Progress.parse(text) is None:
        raise ScalarError(
            f"`{text}` names no value of the graph's state",
            "Write `state.name`, `state.name.inner` or `len(state.name)`.",
        )
    return text


ProgressPath = Annotated[Text, AfterValidator(_is_progress)]

Response = Literal["observe", "nudge", "block", "compact", "escalate", "stop", "kill"]


class Loops(Section):
    """How fruitless repetition is answered. Loop protection is on unless `mode` says otherwise."""

    respond: Annotated[tuple[Response, ...], BeforeValidator(one_or_many), Field(min_length=1)] = (
        "nudge",
        "block",
        "stop",
    )
    """Mildest first; each is used when the one before it did not help. `observe` alone records and does nothing."""
    tools: tuple[LoopTool, ...] = ()
    """Tools whose repetition is legitimate."""
    progress: ProgressPath | None = None
    """A state value (`state.todo_done`, `len(state.answers)`) that rises when the run gets somewhere."""
    nudge_at: Count | None = None
    """Fruitless repetitions before a nudge. Absent: governor's default."""
    block_at: Count | None = None
    """Fruitless repetitions before the repeated call is refused."""
    stop_at: Count | None = None
    """Fruitless repetitions before the run ends."""
    mode: Mode | None = None
    """Absent: the policy's mode."""


class Limits(Section):
    """Bounds of one run, summed over nested graphs. Absent: no bound, but counted."""

    steps: Count | None = None
    """Node executions."""
    depth: Count | None = None
    """Graphs inside graphs."""
    fan_out: Count | None = None
    """Branches running at once."""
    time: Milliseconds | None = None
    """From the run's start; time spent waiting for a person is not counted."""


class BudgetLimit(Section):
    """What a budget bounds; several units hold at once."""

    usd: NanoUsd | None = None
    """Money, in dollars."""
    fees: NanoUsd | None = None
    """Money for tools alone, in dollars: fees of tools, and of those that the provider runs."""
    tokens: Tokens | None = None
    """Input and output together, each kind by its weight under `weights`."""
    input_tokens: Tokens | None = None
    """Input, cached or not."""
    output_tokens: Tokens | None = None
    """Output, reasoning included."""
    model_calls: Count | None = None
    """Calls of models."""
    tool_calls: Count | None = None
    """Calls of tools."""
    calls: Count | None = None
    """Calls of both kinds; with `tool`, of those tools."""
    time: Milliseconds | None = None
    """Running time."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if all(getattr(self, unit) is None for unit in type(self).model_fields):
            raise ScalarError("this budget limits nothing", "Add a limit, as in `limit: {usd: 0.50}`.")
        return self


Scope = Literal["run", "thread", "tenant", "user", "org", "agent", "node", "tool"]


class Budget(Section):
    """A limit on what one scope may spend in one window."""

    id: Name
    """A stable name, used in decisions, reports and tests."""
    scope: Scope
    """Whose spending is added up: every run, thread, tenant ... has its own ledger."""
    per: Per = None
    """`day`, `week`, `month` (calendar, UTC), `day in Europe/Berlin`, `rolling 24h` (no 24 hours hold more than the limit), or a duration:
    fixed windows of that length, counted from 1970-01-01 UTC (`1h`: each hour of the clock), which do not slide: around the change of
    two, twice the limit may be spent. Absent: the scope's whole life."""
    limit: BudgetLimit
    """How much."""
    weights: Weights | None = None
    """What a token counts as under `limit.tokens`, by kind. Absent: 1."""
    hard: StrictBool = True
    """A hard budget refuses; a soft one only alerts."""
    split: Split = "shared"
    """How branches that run side by side share it. `shared`: one pool, first come, first served. `even`: a branch may use the limit divided
    by how many there are. `{weighted: {researcher: 50%, "writer*": 20%}}`: a branch of such a node may use at most that share."""
    mode: Mode | None = None
    """Absent: the policy's mode."""
    tool: Globs | None = None
    """Count only calls of these tools."""
    fee: NanoUsd | None = None
    """What one matching tool call costs, in dollars."""

    @model_validator(mode="after")
    def _weighs_tokens(self) -> Self:
        if self.weights is not None and self.limit.tokens is None:
            raise ScalarError("`weights` go with `limit.tokens`", "Add `tokens: ...` to `limit`, or remove `weights`.")
        return self


class Clamp(Section):
    """Smaller limits that a rung of the ladder puts on the calls still to come."""

    max_output_tokens: Tokens | None = None
    """Largest answer."""
    fan_out: Count | None = None
    """Model calls that a run makes at once; others wait their turn. Per process."""


class LadderRung(Section):
    """What changes when a share of the tightest budget is spent."""

    at: Share
    """Share of the budget."""
    do: Annotated[
        Annotated[Literal["compact", "lower_tier", "last_call"], Tag("word")] | Annotated[Clamp, Tag("clamp")],
        Discriminator(lambda value: "word" if isinstance(value, str) else "clamp"),
    ]
    """`compact` harder, `lower_tier`, `last_call` (one final answer), or smaller limits."""


class Trace(Section):
    """What telemetry may show."""

    content: Literal["none", "redacted", "full"] = "none"
    """`none`: facts and hashes only, no text of prompts, arguments or results."""
    redact: Annotated[tuple[Name, ...], BeforeValidator(one_or_many)] = ()
    """Kinds of personal data that `redacted` removes."""


class PolicyException(Section):
    """A dated permission to break named rules, kept apart from the rules themselves."""

    id: Name
    """A stable name, counted in every report."""
    rules: Words
    """Ids of the rules it lifts."""
    scope: dict[str, str] = Field(default_factory=dict)
    """Where it holds, e.g. `{tenant: acme}`."""
    owner: Text
    """Who answers for it."""
    reason: Text
    """Why it exists."""
    expires: date
    """Last day it holds, as YYYY-MM-DD."""
