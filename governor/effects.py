"""Effects: everything the path may ask of the world. Drivers (`drive`) perform them; the path only yields them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from governor.calls import ModelCall, ModelRef, ModelRequest, ModelResponse, RunRef, StepRef, ToolCall, ToolResult
from governor.flow import Effect, Flow, Value, ask
from governor.ledger import Adjustment, Charge, Halted, Hold, Lease, Refusal
from governor.meter import Meter
from governor.values import cheap
from governor.waits import AwaitLead, AwaitSlot, FreeSlot, LeadDone, TakeLead, TakeSlot, Turn, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.calls import AnswerForm
    from governor.decisions import Decision
    from governor.prefix import Remembered
    from governor.runs import RunState
    from governor.slots import Slot

__all__ = [
    "NOW",
    "Adjust",
    "Approve",
    "AwaitLead",
    "AwaitSlot",
    "Calibration",
    "Change",
    "Counted",
    "Decided",
    "Effect",
    "Extend",
    "Flow",
    "FreeSlot",
    "HaltedMeanwhile",
    "InvokeModel",
    "InvokeTool",
    "Keep",
    "LeadDone",
    "Learn",
    "Measured",
    "MeasuredBeside",
    "Now",
    "Release",
    "Remember",
    "Reserve",
    "Sample",
    "Settle",
    "Summarise",
    "TakeLead",
    "TakeSlot",
    "Turn",
    "Value",
    "Wait",
    "ask",
]

T = TypeVar("T")


@cheap
@dataclass(frozen=True, slots=True)
class Now(Effect[int]):
    """The driver's clock, milliseconds since the epoch."""


NOW = Now()
"""It has no fields, so one is enough."""


@cheap
@dataclass(frozen=True, slots=True)
class Calibration(Effect[int]):
    """Real tokens per 1,000 estimated ones for this model: an upper bound learned from reported usage, started safe."""

    model: ModelRef


@cheap
@dataclass(frozen=True, slots=True)
class Counted(Effect[tuple[int, int]]):
    """As `Calibration`, of prompts and of answers, for settling what nobody reports: as close as experience allows."""

    model: ModelRef


@cheap
@dataclass(frozen=True, slots=True)
class Learn(Effect[None]):
    """Reported against estimated tokens of one call's prompt, or of its answer, for the calibration."""

    model: ModelRef
    estimated: int
    reported: int
    output: bool = False


@cheap
@dataclass(frozen=True, slots=True)
class Change(Effect[T]):
    """Apply a pure function to the state of a run, atomically, and answer its second result. It may run more than once."""

    run: RunRef
    apply: Callable[[RunState], tuple[RunState, T]]
    later: bool = False
    """Whether a store across a network may write it with the run's next operation (see `Store.change`)."""
    past: bool = False
    """Whether it only says what has happened. Such a change never ends anything: a store that is lost misses it, and the answer is None."""


@cheap
@dataclass(frozen=True, slots=True)
class Reserve(Effect[Lease | Refusal]):
    """Take before spending: all holds or none. Without holds it only asks whether an operator halted the run."""

    run: RunRef
    key: str
    """The call: its run, its node, its number in the run (allotted by the store) and its attempt. The lease's id, unless another call
    has it: then whoever performs this adds an id that is new in all processes, so that no call is ever let through on another's lease."""
    holds: tuple[Hold, ...]
    ttl_ms: int
    now_ms: int
    path: str = ""
    """The node whose call it is, for the trace."""
    escrow: str = ""
    """A lease that it takes from (`ReserveRequest.escrow`)."""
    waits: bool = False
    """Whether nothing begins: others take from it. Then `key` is one lease, however often it is asked for."""


@cheap
@dataclass(frozen=True, slots=True)
class Settle(Effect[None]):
    """Replace a lease's holds by what was really used. Idempotent by lease id."""

    charge: Charge


@cheap
@dataclass(frozen=True, slots=True)
class Release(Effect[None]):
    """Give a lease back whole: the provider refused the request before any token. Idempotent by lease id."""

    lease: str
    now_ms: int


@cheap
@dataclass(frozen=True, slots=True)
class Extend(Effect[bool | Halted]):
    """Heartbeat of a call that takes long. False when its lease is over already: the late settlement then trues it up.

    The halt, when an operator halted `run` since the call was sent.
    """

    lease: str
    ttl_ms: int
    now_ms: int
    run: RunRef | None = None


class HaltedMeanwhile(Exception):
    """How drivers tell the path that they cut a stream because an operator halted its run. What arrived is settled, then the run stops."""

    def __init__(self, halted: Halted) -> None:
        """With the halt."""
        super().__init__(f"{halted.scope} was halted")
        self.halted = halted


@cheap
@dataclass(frozen=True, slots=True)
class Remember(Effect["Remembered | None"]):
    """Have this process remember a lane's latest request, and answer the one before, if it still knows that."""

    run: RunRef
    lane: str
    request: Remembered


@cheap
@dataclass(frozen=True, slots=True)
class Keep(Effect[None]):
    """Store the full text of a result that is shown shortened, so that the recall tool can read it."""

    run: RunRef
    handle: str
    text: str


@cheap
@dataclass(frozen=True, slots=True)
class Adjust(Effect[None]):
    """Make an audited change to the store, as an operator would: a run is killed for every process. A lost store misses it."""

    run: RunRef
    change: Adjustment


@cheap
@dataclass(frozen=True, slots=True)
class InvokeModel(Effect[ModelResponse]):
    """Call the provider, once. `meter` is fed while it runs and read when it fails."""

    request: ModelRequest
    meter: Meter
    lease: str = ""
    """What is held for it, so that drivers of streams keep it alive; empty when nothing is."""
    ttl_ms: int = 0
    sent_ms: int = 0
    """When the lease was taken, by the same clock as `Now`."""
    run: RunRef | None = None
    """The run whose call it is, for the heartbeat of a stream to ask whether it was halted."""
    slot: Slot | None = None
    """Its place among the calls of its run, where these are bounded: drivers of streams note in it whether their reader reads."""
    first_chunk: Effect[None] | None = None
    """What drivers of streams perform when the answer begins, while the rest of it is still to come."""


@cheap
@dataclass(frozen=True, slots=True)
class Summarise(Effect[ModelResponse]):
    """Call a model beside the call under way, once and in one piece: nothing of its answer reaches who reads or watches that call."""

    request: ModelRequest
    meter: Meter
    appended: bool
    """As `plans.Asking`."""
    form: AnswerForm | None = None
    """What the answer has to look like, where it is no text."""
    whole: bool = False
    """Whether it is the call's own request, with the form that its answer is wanted in."""


@cheap
@dataclass(frozen=True, slots=True)
class Sample(Effect[ModelResponse]):
    """Send the request of the call under way once more, in one piece and unseen by whoever reads or watches that call."""

    request: ModelRequest
    meter: Meter


@cheap
@dataclass(frozen=True, slots=True)
class InvokeTool(Effect[ToolResult]):
    """Run the tool, once. The integration sets `meter.rejected` when the graph was interrupted before the tool did its work."""

    call: ToolCall
    meter: Meter
    once: bool = False
    """Whether a person approved it: for one attempt, not for what the user's own hooks repeat."""


@cheap
@dataclass(frozen=True, slots=True)
class Approve(Effect[bool]):
    """Ask a person. The integration interrupts the graph; on resume the answer is True (approved) or False (rejected)."""

    call: ToolCall
    decision: Decision
    digest: str
    """Hash of tool name and canonical arguments: an approval is valid for exactly these."""


@cheap
@dataclass(frozen=True, slots=True)
class Decided(Effect[None]):
    """Telemetry: a control decided something worth a line in the trace."""

    step: StepRef
    decision: Decision


@cheap
@dataclass(frozen=True, slots=True)
class Measured(Effect[None]):
    """Telemetry: facts of the current call, as attributes without content (`governor.tier`, `gen_ai.usage.input_tokens`)."""

    attributes: Callable[[], Mapping[str, Value]]
    """Makes them: naming twenty numbers is worth it only where someone listens."""


@cheap
@dataclass(frozen=True, slots=True)
class MeasuredBeside(Effect[None]):
    """Telemetry: a finished call beside the current one, as a span of its own under it."""

    call: ModelCall
    since_ms: int
    attributes: Callable[[], Mapping[str, Value]]
    purpose: str = "summary"
    """What it was made for: `summary`, `judge`, `sample`, `shadow`."""
