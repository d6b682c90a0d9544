"""The root of the policy schema, and the one place to import its classes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from governor.policy.after import Hopeless, OutputCheck, Rest
from governor.policy.base import Mode, Name, Section, Text
from governor.policy.matchers import After, Test, When
from governor.policy.models import (
    Escalate,
    Estimator,
    Gateway,
    PriceOverride,
    Quality,
    RouteRule,
    RouteWhen,
    Routing,
    Tier,
)
from governor.policy.rates import Rate, WhenFull
from governor.policy.rules import NodeRule, Nodes, ToolRule, Tools
from governor.policy.sections import (
    Budget,
    BudgetLimit,
    Cache,
    Clamp,
    Compact,
    Context,
    Identity,
    LadderRung,
    Limits,
    Loops,
    LoopTool,
    PolicyException,
    ToolResults,
    Trace,
    Window,
)

__all__ = [
    "After",
    "Budget",
    "BudgetLimit",
    "Cache",
    "Clamp",
    "Compact",
    "Context",
    "Escalate",
    "Estimator",
    "Gateway",
    "Hopeless",
    "Identity",
    "LadderRung",
    "Limits",
    "LoopTool",
    "Loops",
    "Mode",
    "NodeRule",
    "Nodes",
    "OutputCheck",
    "Policy",
    "PolicyException",
    "PriceOverride",
    "Quality",
    "Rate",
    "Rest",
    "RouteRule",
    "RouteWhen",
    "Routing",
    "Section",
    "Test",
    "Tier",
    "ToolResults",
    "ToolRule",
    "Tools",
    "Trace",
    "When",
    "WhenFull",
    "Window",
]


def _format_version(value: Any) -> Any:
    if isinstance(value, bool) or value != 1:
        raise ValueError("unknown format version: this governor reads version 1")
    return 1


class Policy(Section):
    """One policy file: everything that bounds what an agent fleet may do and spend.

    Absent parts fail closed where a default can be dangerous: tools are denied, the policy is enforced, loops are
    answered. Absent limits and budgets mean "no bound, but counted".
    """

    governor: Annotated[Literal[1], BeforeValidator(_format_version)]
    """Version of the file format."""
    name: Name
    """The policy's name, shown in decisions and reports."""
    owner: Text | None = None
    """Whom to ask about it."""
    extends: Text | None = None
    """A bundled policy (`baseline`, `strict`, `frugal`) or a path. This policy may tighten it, never loosen it."""
    mode: Mode = "enforce"
    """`observe` records what would have happened and lets every call through."""
    mediation: Literal["strict", "lenient"] = "strict"
    """A model call that passes by governor (a provider's own client, used in a node): refuse it, or report it and let it pass."""
    identity: Identity = Identity()
    """Where scopes get their names from."""
    tiers: dict[Name, Tier] = Field(default_factory=dict)
    """Models that may answer, best first. None: the graph's own model is used and metered."""
    routing: Routing = Routing()
    """Which tier answers which step."""
    context: Context = Context()
    """What the model gets to read."""
    loops: Loops = Loops()
    """How fruitless repetition is answered."""
    limits: Limits = Limits()
    """Bounds of one run."""
    budgets: tuple[Budget, ...] = ()
    """What scopes may spend."""
    ladder: tuple[LadderRung, ...] = ()
    """How calls get cheaper before a budget is spent."""
    on_exhausted: Literal["finish", "stop", "ask"] = "finish"
    """When a hard budget is spent: answer with what there is, stop at once, or ask a person for more.

    Other stops (loops, limits) end as `finish` under `ask`. Asking needs a checkpointer and a thread; without them it is `stop`.
    """
    broken_streams: Literal["observed", "worst_case"] = "observed"
    """What a stream costs that its reader leaves: what had arrived by then, or all that it could have become.

    `observed` holds where a provider is known to stop with its reader. `worst_case` is for gateways that finish an answer which nobody
    reads any more, and bill it.
    """
    on_policy_change: Literal["pin", "adopt", "ask"] = "adopt"
    """When a run is resumed and the policy is another one by now.

    `adopt`: it goes on under this one, which judges pending tool calls again. `pin`: it goes on under the one that it began under,
    which is kept with the run. `ask`: a person decides before anything runs.
    """
    on_store_loss: Literal["refuse", "open"] = "refuse"
    """When the store of budgets and runs does not answer.

    `refuse`: a run that would make a call is stopped, and can be resumed. `open`: calls go on unmetered, each with an alarm in the trace.
    An answer that was paid for is returned either way. Under `mode: observe` nothing is refused.
    """
    rates: tuple[Rate, ...] = ()
    """Paces that tiers must keep. Under `mode: observe` no call is paced."""
    tools: Tools = Tools()
    """Which tools may be called."""
    nodes: Nodes = Nodes()
    """Which nodes may run."""
    trace: Trace = Trace()
    """What telemetry may show."""
    exceptions: tuple[PolicyException, ...] = ()
    """Dated permissions to break named rules."""

    def mode_of(self, rule_mode: Mode | None) -> Mode:
        """The mode of a rule: its own, else the policy's."""
        return rule_mode or self.mode
