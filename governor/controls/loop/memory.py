"""How the loop state grows: pure functions from one state to the next, each bounded in time and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.controls.loop.periods import MAX_PERIOD, advance, extend, halve
from governor.controls.loop.results import short
from governor.controls.loop.signatures import canon_text, digest, mask
from governor.controls.loop.suspicion import halved
from governor.loop_state import LoopState
from governor.values import copier, replace

if TYPE_CHECKING:
    from governor.calls import History, ModelCall, ModelResponse, ToolCall
    from governor.controls.loop.placing import Around
    from governor.controls.loop.results import CallSignatures
    from governor.loop_state import SeenCall, Suspicion

__all__ = [
    "asked",
    "blocked",
    "counts",
    "finished",
    "hold",
    "mark",
    "nudge",
    "polled",
    "question",
    "repeats",
    "softened",
    "spoken",
    "would_be",
]

_changed = copier(LoopState)

_HELD = 12
_HELD_BYTES = 2_000
_NUDGED = 16
_POLLS = 32
_TURN = 64
_USERS = 8
_USED = 128
_BETWEEN_NUDGES = 5
"""Tool calls between two nudges about the same cycle: a note in every request would be noise, and the model's own loop."""

_CONTROL_CHARACTERS = dict.fromkeys((*range(9), 11, 12, *range(13, 32)))


def mark(loop: LoopState) -> str:
    """What the latest answer was about: work that acknowledgements do not show.

    Its words alone. What it answered does not count: a refusal in the place of a result is another question, but no work.
    """
    return loop.suspicion.said[-1] if loop.suspicion.said else ""


def finished(
    loop: LoopState,
    call: ToolCall,
    now: int,
    signatures: CallSignatures | None = None,
    entry: SeenCall | None = None,
    *,
    learned: bool = False,
) -> LoopState:
    """One more finished call: when its tool last ran, its place in the turn, and, if it counts, what came of it.

    What was `learned` anew clears the count of ignored blocks. One replacement for all of it: copying is what an observation costs.
    """
    name = short(call.name)
    others = loop.used[:-1] if loop.used and loop.used[-1][0] == name else _without(loop.used, name)
    used = (*others[-(_USED - 1) :], (name, now))
    answered = _answered(loop, call, signatures) if signatures is not None else {}
    appended = _appended(loop, entry) if entry is not None else {}
    if learned:
        appended["blocked"] = 0
    return _changed(loop, finished=loop.finished + 1, used=used, **answered, **appended)


def _without(used: tuple[tuple[str, int], ...], name: str) -> tuple[tuple[str, int], ...]:
    return tuple([pair for pair in used if pair[0] != name])


def blocked(loop: LoopState, call: ToolCall, signatures: CallSignatures, entry: SeenCall | None) -> LoopState:
    """One more blocked call, which counts as the repetition it would have been."""
    changes = _answered(loop, call, signatures)
    if entry is not None:
        changes |= _appended(loop, entry) | {"finished": loop.finished + 1, "blocked": loop.blocked + 1}
    return replace(loop, **changes)


def would_be(loop: LoopState, signatures: CallSignatures, period: int, source: str) -> SeenCall:
    """A refused call as the repetition that it would have been."""
    entry = replace(loop.calls[-period], source=source)
    if entry.call in signatures:
        return entry
    return replace(
        entry, call=signatures.exact, outcome=digest("blocked", signatures.exact)
    )  # other words, which were not tried


def _appended(loop: LoopState, entry: SeenCall) -> dict[str, Any]:
    outcomes = [seen.outcome for seen in loop.calls]
    coarse = [seen.coarse for seen in loop.calls]
    return {
        "calls": extend(loop.calls, entry),
        "runs": advance(loop.runs, outcomes, entry.outcome),
        "coarse_runs": advance(loop.coarse_runs, coarse, entry.coarse),
    }


def _answered(loop: LoopState, call: ToolCall, signatures: CallSignatures) -> dict[str, Any]:
    """One call of the turn has its answer."""
    identifier = short(call.id)
    if identifier not in loop.turn:
        return {}
    return {
        "turn": tuple(other for other in loop.turn if other != identifier),
        "turn_calls": (*loop.turn_calls, signatures.exact)[-_TURN:],
    }


def repeats(loop: LoopState) -> bool:
    """Whether the latest call repeats an earlier one in some way."""
    return any(loop.runs) or any(loop.coarse_runs)


def hold(loop: LoopState, call: str, text: str) -> LoopState:
    """Keep the start of a result, to be shown again when its call is blocked."""
    short = (
        text[: 4 * _HELD_BYTES]
        .translate(_CONTROL_CHARACTERS)[:_HELD_BYTES]
        .encode("utf-8", "replace")[:_HELD_BYTES]
        .decode("utf-8", "ignore")
    )
    others = tuple(pair for pair in loop.held if pair[0] != call)
    return replace(loop, held=(*others[-(_HELD - 1) :], (call, short)))


def polled(loop: LoopState, call: str, now: int) -> LoopState:
    """Remember a poll: its first time stays."""
    first = next((first for signature, first, _ in loop.polls if signature == call), now)
    others = tuple(poll for poll in loop.polls if poll[0] != call)
    return replace(loop, polls=(*others[-(_POLLS - 1) :], (call, first, now)))


def nudge(loop: LoopState, cycle: str, note: str) -> LoopState:
    """Leave a note for the next model request, unless the same cycle was named a moment ago."""
    last = next((at for signature, at in loop.nudged if signature == cycle), None)
    if last is not None and loop.finished - last < _BETWEEN_NUDGES:
        return loop
    others = tuple(pair for pair in loop.nudged if pair[0] != cycle)
    return replace(loop, note=note, nudged=(*others[-(_NUDGED - 1) :], (cycle, loop.finished)))


def asked(loop: LoopState, response: ModelResponse, suspicion: Suspicion) -> LoopState:
    """A new turn: these tool calls were asked for together."""
    turn = tuple([short(use.id) for use in response.tool_uses[:_TURN]])
    return _changed(loop, turn=turn, turn_calls=(), suspicion=suspicion)


def counts(loop: LoopState, call: ToolCall, signatures: CallSignatures, around: Around) -> bool:
    """Whether this call is a step of its own: identical calls of one turn, or of branches side by side, are one step."""
    if signatures.exact in loop.turn_calls and short(call.id) in loop.turn:
        return False
    alike = signatures.all
    for seen in reversed(loop.calls):
        if seen.call in alike:
            return not around.beside(seen.source, call.step.ns)
    return True


def softened(loop: LoopState, call: ModelCall) -> LoopState:
    """Half the suspicion when the person has said something new: the same calls may now be asked for on purpose.

    Only at the root: a supervisor that words a subagent's task anew is not a person.
    """
    messages = call.history.messages
    if call.step.depth or not messages or messages[-1].role != "user":
        return loop
    said = digest("user", mask(canon_text(messages[-1].text)))
    if said in loop.users:
        return loop
    return replace(
        loop,
        users=(*loop.users[-(_USERS - 1) :], said),
        runs=halve(loop.runs),
        coarse_runs=halve(loop.coarse_runs),
        text_runs=halve(loop.text_runs),
        suspicion=halved(loop.suspicion),
        blocked=0,
    )


def spoken(loop: LoopState, call: ModelCall, text: str, *, beside: bool) -> LoopState:
    """An answer in words. The same words to something new are another answer; samples of one prompt, and branches, are one."""
    source = digest(call.step.ns, str(len(call.history.messages)))
    said = digest("text", call.step.path, question(call.history), mask(canon_text(text)))
    if loop.texts and loop.texts[-1] == said and (beside or source == loop.text_source):
        return loop
    return replace(
        loop,
        texts=extend(loop.texts, said),
        text_runs=advance(loop.text_runs, loop.texts, said),
        text_source=source,
    )


def question(history: History) -> str:
    """Digest of the latest message that is not the model's own."""
    for position in range(len(history.messages) - 1, max(-1, len(history.messages) - 1 - 4 * MAX_PERIOD), -1):
        message = history.messages[position]
        if message.role != "assistant":
            return digest(message.role, mask(canon_text(message.text)))
    return ""
