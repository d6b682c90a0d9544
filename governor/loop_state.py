"""What the loop control remembers of a run: signatures, counters and word prints, no content beyond held results' short text."""

from __future__ import annotations

from dataclasses import dataclass

from governor.values import cheap

__all__ = ["HandoffEdge", "KnownLines", "KnownOutcome", "LoopState", "SeenCall", "Suspicion"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCall:
    """A finished (or blocked) tool call, as signatures: no content."""

    call: str
    """Tool and canonical arguments."""
    outcome: str
    """The same with the masked result."""
    coarse: str
    """Failures, empty and long results without the arguments: trying in other words what gives nothing new."""
    name: str
    """Tool name, to name a cycle."""
    kind: str
    """What the result was: content, ack, error, transient, empty or pending."""
    source: str
    """Place of the step that made the call, to tell parallel branches from a loop."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOutcome:
    """A call with what came of it, to know it again wherever it comes back: every period is one look-up."""

    call: str
    """Signature of the call."""
    outcome: str
    """Signature of call and result."""
    epoch: int
    """Effects that had been made when it was last seen."""
    at: int
    """Finished calls when it was last seen."""
    weight: int
    """What a repetition of it adds to suspicion while nothing else is done, in hundredths."""
    times: int = 1
    """How often it was seen."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffEdge:
    """Tasks that one agent has handed to another."""

    source: str
    target: str
    level: int = 0
    """Suspicion of this edge alone, in hundredths of a repetition."""
    tasks: tuple[str, ...] = ()
    """Content words of the latest tasks, packed."""
    words: str = ""
    """Content words of all tasks so far, packed."""
    news: int = -1
    """News of the run when it was last used: as many now means that nothing has been learned in between."""
    times: int = 0
    """How often it was used."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLines:
    """Lines of results seen so far: two generations of a Bloom filter, as hex numbers."""

    young: str = ""
    old: str = ""
    count: int = 0
    """Lines in the young generation."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A leaky bucket of fruitless steps, and what is needed to tell fruitless from new."""

    level: int = 0
    """Hundredths of a fruitless repetition."""
    outcomes: tuple[KnownOutcome, ...] = ()
    """The latest outcomes, each once."""
    results: tuple[str, ...] = ()
    """Coarse signatures of failures and long results: the same again for other arguments is not news."""
    lines: KnownLines = KnownLines()
    epoch: int = 0
    """Effects made: after one, looking again is verification."""
    checked: int = 0
    """The epoch of the latest such look."""
    news: int = 0
    """How often something was learned."""
    failed: tuple[tuple[str, str], ...] = ()
    """Tool and packed words of the latest fruitless calls."""
    done: tuple[tuple[str, str], ...] = ()
    """Tool and packed words of the latest calls that were merely acknowledged."""
    said: tuple[str, ...] = ()
    """Packed words of the latest answers without tool calls, since the user's latest message."""
    said_in: str = ""
    """Place of the step that gave the latest of them."""
    question: str = ""
    """Digest of what the latest of them answered."""
    asked: tuple[str, str] = ("", "")
    """Packed words of the text that came with the latest handoff, all and naming: the task, where the handoff itself names none."""
    edges: tuple[HandoffEdge, ...] = ()
    handed: tuple[tuple[str, str], ...] = ()
    """The latest handoffs in order, to name the circle that they go in."""
    suspects: tuple[str, ...] = ()
    """Tools of the latest fruitless steps."""
    source: str = ""
    """Place of the latest of them: branches side by side are one step."""
    turn: int = 0
    """What the turn has added so far: calls of one turn count once."""
    cuts: int = 0
    """Compactions seen, over all lanes: each grants a re-read of what came before it."""
    cut_at: int = -1
    """Finished calls at the latest compaction: what was seen before it may be read once more."""
    chance: bool = False
    """A call was refused and no other has been tried since: other words get their chance."""
    values: tuple[str, ...] = ()
    """Digests of the values that the graph called progress, the latest last."""
    values_news: int = -1
    """News of the run when the latest of them appeared."""
    best: float | None = None
    """The highest of them that was a number."""
    tokens: int = 0
    """Tokens billed since suspicion last left zero, that turn's included: what the repetition has cost so far."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopState:
    """What the loop control remembers: signatures and counters, no content beyond held results' short text."""

    calls: tuple[SeenCall, ...] = ()
    """The latest tool calls, oldest first."""
    runs: tuple[int, ...] = ()
    """For periods 1, 2, ...: how many latest outcomes in a row equal the one a period before."""
    coarse_runs: tuple[int, ...] = ()
    """The same over the coarse signatures."""
    texts: tuple[str, ...] = ()
    """Digests of the latest model texts that came without tool calls, with what they answered."""
    text_runs: tuple[int, ...] = ()
    """The same over `texts`."""
    text_source: str = ""
    """Step and history length of the last of them: several samples of one prompt are one text."""
    suspicion: Suspicion = Suspicion()
    held: tuple[tuple[str, str], ...] = ()
    """Call signature to the latest result's shown text, for the few calls that may be blocked next."""
    nudged: tuple[tuple[str, int], ...] = ()
    """Cycle signature to the value of `finished` when it was last nudged."""
    polls: tuple[tuple[str, int, int], ...] = ()
    """Poll signature to first and latest call, milliseconds since the epoch."""
    turn: tuple[str, ...] = ()
    """Digests of the tool-call ids that the latest model answer asked for and that have not been answered yet."""
    turn_calls: tuple[str, ...] = ()
    """Signatures already counted in this turn: identical parallel calls count once."""
    users: tuple[str, ...] = ()
    """Digests of the latest user messages; a new one halves suspicion."""
    used: tuple[tuple[str, int], ...] = ()
    """Tool name to when it last finished, milliseconds since the epoch, for access rules with `after: {within: ...}`."""
    blocked: int = 0
    """Blocked calls since something new was last learned."""
    note: str | None = None
    """A nudge that waits for the next model request."""
    cut: bool = False
    """A compaction of what was repeated waits for the next model request."""
    cuts_asked: int = 0
    """How often one was asked for: it is tried, not relied on."""
    finished: int = 0
    """Tool calls finished so far, blocked ones included."""
