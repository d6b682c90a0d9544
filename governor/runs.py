"""State of a run, shared by parallel branches, nested graphs and resumes. Lives in the store, never in graph state.

Everything here is frozen and serialisable; a store changes it by applying a pure function atomically.
"""

from __future__ import annotations

from collections.abc import Mapping  # at run time too: pydantic resolves the annotations below
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from governor.loop_state import LoopState
from governor.values import cheap

__all__ = [
    "WARM_MODELS",
    "Cut",
    "Escrow",
    "EscrowPart",
    "LadderState",
    "Lane",
    "PromptSums",
    "Question",
    "RouteState",
    "RunState",
    "Sent",
    "Stopped",
    "Warm",
    "continued",
    "dump_state",
    "parse_state",
]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One compaction: everything between the pinned messages and `first` is replaced by `text`."""

    first: str
    """Key of the first message of the tail; empty when nothing is removed and results of tools are placeholders only."""
    text: str
    """Exact text inserted in place of what was removed."""
    tokens: int
    at_call: int
    """Model call of the lane at which it was made."""
    kept: tuple[str, ...] = ()
    """Keys of messages before `first` that stay beside the leading system text and the task: later system text, the latest
    message of the user, pinned messages."""
    summary: str = ""
    """What a model wrote of what was removed, as it is inserted before `text`; empty where none was asked or none was good enough."""
    summary_tokens: int = 0
    masked: str = ""
    """Key of the first message that is shown word for word: tool results before it are placeholders."""
    dropped: tuple[str, ...] = ()
    """Keys of other tool results that are placeholders: what they say was read again later."""
    seen: str = ""
    """Key of the last message at the time, where `dropped` depends on it: a fork from before that is not bound by this cut."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request that was answered, as far as the lane's next one is compared with it."""

    messages: int
    """Messages shown, without governor's notes."""
    digest: str
    """Of all of them, hexadecimal (`prefix`)."""
    systems: int = 0
    """Leading system messages among them."""
    system: str = ""
    """Digest of these."""
    tools: str = ""
    """Digest of the tools, as they were sent."""
    choice: str = ""
    """What the model had to do about them."""
    whole: int = 0
    """Tokens that the prompt would have had if nothing of the history had been left out, by the provider's count."""
    notes: int = 0
    """Of the lane's `prefix_tokens`, those of governor's notes: the next request does not have them."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSums:
    """What became of a run's prompts: what the provider's cache could have read and did, and what they cost. Tokens and nano-USD."""

    tokens: int = 0
    """All tokens of the prompts, as the provider counted them."""
    ideal: int = 0
    """Of them, those that an ideal cache would have read: what each prompt began with as the one before it did."""
    read: int = 0
    """Of these, those that were read from the cache."""
    cost: int = 0
    """What the prompts cost."""
    cached: int = 0
    """What they would have cost with the whole history and a cache that reads all it can."""
    uncached: int = 0
    """What they would have cost with the whole history and without a cache."""
    moves: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why a prefix was not what it had been, to how often."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What one model's prompt cache holds of a lane, by the usage that was settled."""

    model: str
    prefix_tokens: int
    last_at_ms: int
    """When it was used last, milliseconds since the epoch: how long it lives is counted from there."""
    output_tokens: int = 0
    """Of its latest answer."""


WARM_MODELS = 3
"""Models beside the latest one of which a lane remembers what they have cached: as many as a policy has tiers, and rarely as much."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The compaction and cache view of one node of one run."""

    cuts: tuple[Cut, ...] = ()
    rent: int = 0
    """Nano-USD paid for re-reading what a cut would have removed, since the last cut."""
    calls: int = 0
    previous_last: str | None = None
    """Key of the last message of the previous request: an intermediate cache point is kept there."""
    last_at_ms: int = 0
    kept_in: str = ""
    """Id of the run for which the texts behind placeholders are stored: the recall tool reads by run, and a lane outlives one."""
    model: str | None = None
    """The model that the lane's cache is warm on."""
    tier: str | None = None
    """The tier that it answered as: two tiers may share a model."""
    prefix_tokens: int = 0
    sent: Sent | None = None
    """The latest request of this lane that was answered."""
    output_tokens: int = 0
    """Of its answer."""
    others: tuple[Warm, ...] = ()
    """What models that answered before still have of the lane, the latest first; at most `WARM_MODELS`."""
    since: int = 0
    """Model call of the lane at which `model` took over."""
    escalated: bool = False
    """Whether `model` answered because something had gone wrong before."""

    def warm(self, model: str) -> Warm | None:
        """What a model's cache holds of the lane; None where it never answered, or what it had was cut away."""
        if model == self.model:
            return Warm(
                model=model,
                prefix_tokens=self.prefix_tokens,
                last_at_ms=self.last_at_ms,
                output_tokens=self.output_tokens,
            )
        return next((each for each in self.others if each.model == model), None)

    def beside(self, model: str, *, cut: bool = False) -> tuple[Warm, ...]:
        """`others` once `model` has answered. After a cut nothing that others have is what would be sent to them."""
        if cut:
            return ()
        if self.model == model or self.model is None:
            return self.others
        latest = self.warm(self.model)
        return ((latest,) if latest is not None else ()) + self._without(model)[: WARM_MODELS - 1]

    def _without(self, model: str) -> tuple[Warm, ...]:
        return tuple([each for each in self.others if each.model != model])


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """Escalation: until which model call of the run which tier answers, and how often it was used."""

    tier: str | None = None
    until_call: int = 0
    escalations: int = 0
    signals: tuple[str, ...] = ()
    """Signals since the last model call (`tool_error`, `loop`, ...) that the next decision reads."""
    best: bool = False
    """Whether the last model call was answered by the best tier there is for it, and nothing was known to be wrong with that."""
    failures: int = 0
    """Answers of the best tier in a row that went wrong, for `routing.hopeless`."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class LadderState:
    """Where a run stands on the degrade ladder, and what became of its last calls."""

    rung: int = 0
    """How many rungs are in force."""
    due: bool = False
    """A tool call did not fit any more: the next model call is the last one, however much is left for model calls."""
    tries: Mapping[str, int] = field(default_factory=dict[str, int])
    """Path of a node to how many last calls it has made."""
    answered: tuple[str, ...] = ()
    """Paths of nodes that have given their last answer."""
    asked: tuple[str, ...] = ()
    """Ids of the tool calls that a last call asked for all the same. They are not made."""
    used: str = ""
    """What the model and people are told: `93%`."""
    budget: str = ""
    """Id of the tightest budget when the rung was taken, with its limit as written and its ledger."""
    written: str = ""
    ledger: str = ""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why a run was stopped: the durable part of its `Reason`."""

    code: str
    rule: str
    text: str
    limit: str | None = None
    seen: str | None = None
    remedy: str | None = None
    where: str = ""
    """Path of the node in which it was stopped; empty when that was between nodes."""
    ledger: str = ""
    """The ledger that was used up, when more on it would let the run go on."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person was asked about the whole run (`on_exhausted: ask`, `on_policy_change: ask`), and has not answered yet."""

    id: str
    """Id of the interrupt. An answer by another id is for another question."""
    kind: str
    """`budget` or `policy`."""
    rule: str
    """The budget that is used up; for a policy, the hash of the one that the run would go on under."""
    ledger: str = ""
    asked_ms: int = 0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Escrow:
    """What a branch has of budgets with `split: escrow`."""

    lease: str = ""
    """The lease that its calls take from; empty while the run waits for a person."""
    amounts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Ledger of a budget to what the branch may use of it in all."""
    opened: int = 0
    """How many such leases it has had."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowPart:
    """What each branch of one superstep that has not begun yet is to have of such budgets."""

    checkpoint: str = ""
    closed: int = 0
    """Branches that have ended and given back their rest."""
    decided_at: int = -1
    """How many had when `amounts` was decided."""
    amounts: Mapping[str, int] = field(default_factory=dict[str, int])


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Everything governor remembers of a run."""

    loop: LoopState = field(default_factory=LoopState)
    route: RouteState = field(default_factory=RouteState)
    ladder: LadderState = field(default_factory=LadderState)
    lanes: Mapping[str, Lane] = field(default_factory=dict[str, Lane])
    """By node path."""
    steps: int = 0
    open_steps: tuple[str, ...] = ()
    """Namespaces of steps that have begun and not ended: a retry or resume of one is not counted again."""
    fans: Mapping[str, tuple[str, int, int]] = field(default_factory=dict[str, tuple[str, int, int]])
    """Where branches are counted: namespace of a graph to its superstep's checkpoint and number, and to how many branches that has had."""
    sent: Mapping[str, int] = field(default_factory=dict[str, int])
    """Namespace of such a graph to how many branches its superstep was sent, where that is more than one: known before they begin."""
    escrows: Mapping[str, Escrow] = field(default_factory=dict[str, Escrow])
    """Namespace of a branch that has begun and not ended to its slice."""
    parts: Mapping[str, EscrowPart] = field(default_factory=dict[str, EscrowPart])
    """Namespace of a graph whose superstep has such branches to what the next of them gets."""
    prompts: PromptSums = field(default_factory=PromptSums)
    model_calls: int = 0
    tool_calls: int = 0
    tools_used: tuple[str, ...] = ()
    """Distinct names of tools that have run, for sequence rules."""
    approvals: Mapping[str, int] = field(default_factory=dict[str, int])
    """Hash of tool and canonical arguments to when approval was asked, milliseconds since the epoch."""
    rejected: Mapping[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    """Such hashes of calls that a person rejected, never to be made in this run, to the rule that asked, the step's namespace and the
    call's id. Not bounded, since none may be forgotten; people are slow."""
    used: tuple[tuple[str, str, str], ...] = ()
    """Namespace, call id and such a hash of approvals that an attempt has used up: LangGraph gives a step that runs again the same
    answers again."""
    question: Question | None = None
    """What the whole run waits for."""
    grants: Mapping[str, int] = field(default_factory=dict[str, int])
    """Ledger to what a person added to its limit, for this run alone."""
    policy: str = ""
    """Hash of the policy that the run began under, or was moved to when it was resumed."""
    stopped: Stopped | None = None
    """Set once the run was stopped; every later call of the run is refused with the same reason."""
    started_ms: int = 0

    def branches_in(self, graph: str) -> int:
        """How many branches the superstep that a graph is in has, as far as is known. `graph`: its namespace, empty for the root's."""
        fan = self.fans.get(graph)
        return 0 if fan is None else max(fan[2], self.sent.get(graph, 0))


def continued(previous: RunState) -> RunState:
    """The state with which a thread's next run begins: its lanes, since the conversation and what is cached of it go on."""
    return RunState(lanes=previous.lanes)


_adapter = TypeAdapter(RunState)


def dump_state(state: RunState) -> bytes:
    """`state` as JSON bytes, for stores that outlive the process."""
    return _adapter.dump_json(state)


def parse_state(data: bytes | str) -> RunState:
    """The inverse of `dump_state`. Raises pydantic's ValidationError on anything else."""
    return _adapter.validate_json(data)
