"""The detector: from what a run remembers and one more step to what it remembers then, and what has been found.

Two kinds of evidence. Sequences that repeat exactly, calls with their results or answers in words, are counted by `periods`, fast and by
name. Steps that told nothing new are added up by `suspicion` and `handoffs`, whatever their words and their order. Pure: no clock, no
randomness, and nothing of a step is read but what is named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.controls.loop import memory, suspicion
from governor.controls.loop.handoffs import TARGETS, circle_of, edge_of, foreseen, handed, tangled, target_of
from governor.controls.loop.periods import Cycle, second_round, strongest, would_repeat
from governor.controls.loop.results import CONTENT, CallSignatures, call_signatures, seen_call, short
from governor.controls.loop.suspicion import How
from governor.controls.loop.wording import Finding, cycle_name, named
from governor.controls.loop.words import Words, pack, unpack, words_of, words_of_args
from governor.loop_state import LoopState, Suspicion
from governor.values import copier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from governor.calls import ModelCall, ModelResponse, ToolCall, ToolResult
    from governor.controls.loop.placing import Around
    from governor.controls.loop.rules import Ladder, Rules
    from governor.loop_state import KnownOutcome
    from governor.policy.schema import LoopTool

__all__ = ["Detector"]

_changed, _suspicion = copier(LoopState), copier(Suspicion)


class Detector:
    """Judges steps by the `loops` part of one policy."""

    def __init__(self, rules: Rules) -> None:
        """Use these rules."""
        self._rules = rules
        self._signed: tuple[ToolCall, str, CallSignatures] | None = None
        """The latest call whose signatures were asked for: they are needed before it is made, after it, and again when a store is busy."""

    # --- steps

    def called(
        self, loop: LoopState, call: ToolCall, result: ToolResult, now: int, around: Around, cuts: int
    ) -> LoopState:
        """A tool call has ended. `cuts`: compactions of the run so far."""
        rule = self._rules.of(call.name)
        signatures = self.signatures(loop, call, rule)
        loop = _noticed(loop, cuts)
        if not memory.counts(loop, call, signatures, around):
            return memory.finished(loop, call, now, signatures)
        paging, place = rule is not None and rule.as_ == "paging", around.place(call.step.ns)
        entry, text = seen_call(call, result, signatures, place, verbatim=paging)
        beside = around.beside(loop.suspicion.source, call.step.ns)
        how = How(
            finished=loop.finished,
            cap=self._rules.cap,
            percent=self._rules.percent(rule),
            turn=short(call.id) in loop.turn,
            beside=beside,
            effect=not call.read_only,
        )
        before = loop.suspicion
        target = target_of(call.name, call.args)
        after = before
        if target is not None:
            after = handed(before, call.step.path, short(target), _task(before, call.args), self._rules.cap, entry.name)
        if target is None or entry.kind == CONTENT:
            after = suspicion.after_tool(after, entry, text, call.args, how)
        learned = after.news != before.news
        if learned:
            after = suspicion.forgiven(after, loop.blocked)
        loop = memory.finished(loop, call, now, signatures, entry, learned=learned)
        if target is None and after.level - before.level >= suspicion.REPEATED and _second_round(loop, after.level):
            after = suspicion.raised(after, suspicion.ROUND, self._rules.cap)
        loop = _changed(loop, suspicion=_suspicion(after, chance=False) if after.chance else after)
        if memory.repeats(loop) or after.level:
            loop = memory.hold(loop, entry.call, result.text)
        return loop

    def blocked(self, loop: LoopState, call: ToolCall, period: int, around: Around) -> LoopState:
        """A tool call was refused: it counts as the repetition that it would have been, so that ignoring it leads to the stop."""
        signatures = self.signatures(loop, call, self._rules.of(call.name))
        if not memory.counts(loop, call, signatures, around):
            return memory.blocked(loop, call, signatures, None)
        entry = (
            memory.would_be(loop, signatures, period, around.place(call.step.ns))
            if 1 <= period <= len(loop.calls)
            else None
        )
        loop = memory.blocked(loop, call, signatures, entry)
        if entry is None:
            loop = _changed(loop, finished=loop.finished + 1, blocked=loop.blocked + 1)
        after = suspicion.raised(
            loop.suspicion, suspicion.REPEATED, self._rules.cap, short(call.name), turn=short(call.id) in loop.turn
        )
        return _changed(loop, suspicion=_suspicion(after, chance=True))

    def answered(
        self, loop: LoopState, call: ModelCall, response: ModelResponse, around: Around, tokens: int
    ) -> LoopState:
        """A model has answered, for so many tokens billed."""
        if response.tool_uses:
            hands_on = any(target_of(use.name, use.args or {}) is not None for use in response.tool_uses)
            asked = _packed(words_of(response.text)) if hands_on and response.text else ("", "")
            return memory.asked(loop, response, suspicion.turned(loop.suspicion, tokens, asked))
        beside = around.beside(loop.suspicion.said_in, call.step.ns)
        spoken = memory.spoken(loop, call, response.text, beside=beside)
        after = suspicion.turned(loop.suspicion, tokens)
        if spoken.text_source != loop.text_source:
            question = memory.question(call.history)
            source = around.place(call.step.ns)
            after = suspicion.after_answer(
                after, words_of(response.text), question, source, self._rules.cap, beside=beside
            )
        return _changed(spoken, suspicion=after)

    def chanted(self, loop: LoopState) -> LoopState:
        """An answer said the same over and over: a word is said to the model, and another such answer in a row ends the run."""
        by = self._rules.suspicion.nudge
        after = suspicion.raised(loop.suspicion, by, self._rules.cap, suspicion.ANSWER)
        return _changed(loop, suspicion=after)

    def cut(self, loop: LoopState) -> LoopState:
        """The state when the looped span is to be left out of the next prompt: suspicion goes back below the nudge, for once."""
        level = min(loop.suspicion.level, self._rules.suspicion.nudge - suspicion.REPEATED)
        eased = _suspicion(loop.suspicion, level=max(0, level))
        return _changed(
            loop, suspicion=eased, cut=True, cuts_asked=loop.cuts_asked + 1, runs=(), coarse_runs=(), text_runs=()
        )

    # --- findings

    def signatures(self, loop: LoopState, call: ToolCall, rule: LoopTool | None) -> CallSignatures:
        """The signatures of a call, as the policy wants them."""
        latest, signed = memory.mark(loop), self._signed
        if signed is not None and signed[0] is call and signed[1] == latest:
            return signed[2]
        signatures = call_signatures(call, rule.key if rule else None, latest)
        self._signed = (call, latest, signatures)
        return signatures

    def standing(self, loop: LoopState) -> Finding | None:
        """What stands at the end of the latest step, the gravest first; None when nothing does."""
        if (
            not memory.repeats(loop)
            and not loop.suspicion.level
            and not any(loop.text_runs)
            and not loop.suspicion.edges
        ):
            return None
        return max(self._standing(loop), key=lambda finding: finding.level, default=None)

    def _standing(self, loop: LoopState) -> Iterator[Finding]:
        cycle = strongest(loop.runs)
        if cycle is not None:
            yield self._same(loop, cycle, self._rules.ladder(loop.calls[-1].name, _kinds(loop, cycle.period)))
        cycle = strongest(loop.text_runs)
        if cycle is not None:
            said = unpack(loop.suspicion.said[-1]) if loop.suspicion.said else frozenset[str]()
            ladder = self._rules.words if len(said) >= suspicion.SAYS_SOMETHING else self._rules.base
            name = named(["answer"] * min(cycle.period, 8), cycle.period, cycle.reps)
            yield Finding(
                what="words",
                score=cycle.reps,
                ladder=ladder,
                name=name,
                period=cycle.period,
                reps=cycle.reps,
                tokens=loop.suspicion.tokens,
            )
        if loop.suspicion.level:
            yield self._fruitless(loop, loop.suspicion.level)
        edge = tangled(loop.suspicion)
        if edge is not None and edge.level:
            yield self._tangled(loop, edge.source, edge.target, edge.level, edge.times)

    def foreseen(self, loop: LoopState, call: ToolCall, signatures: CallSignatures) -> Finding | None:
        """What this call would carry to the threshold of a refusal; None when it may be tried."""
        found = self._same_again(loop, call, signatures) if memory.repeats(loop) else None
        if found is not None:
            return found
        target = target_of(call.name, call.args)
        if target is None:
            return self._fruitless_again(loop, call, signatures)
        return None if self._chance(loop, signatures) else self._handed_again(loop, call, short(target))

    def _handed_again(self, loop: LoopState, call: ToolCall, target: str) -> Finding | None:
        source, state = call.step.path, loop.suspicion
        edge = edge_of(state, source, target)
        if edge is None:
            return None
        level, whole = foreseen(state, source, target, _task(state, call.args))
        if level < self._rules.suspicion.block and whole < self._rules.suspicion.block:
            return None
        return self._tangled(loop, source, target, max(level, whole), edge.times + 1)

    def _same_again(self, loop: LoopState, call: ToolCall, signatures: CallSignatures) -> Finding | None:
        def ladder(period: int) -> Ladder:
            return self._rules.ladder(call.name, _kinds(loop, period))

        cycle = would_repeat(
            loop.runs,
            lambda period: ladder(period).block,
            len(loop.calls),
            lambda period: loop.calls[-period].call in signatures,
        )
        return self._same(loop, cycle, ladder(cycle.period)) if cycle is not None else None

    def _fruitless_again(self, loop: LoopState, call: ToolCall, signatures: CallSignatures) -> Finding | None:
        state, block = loop.suspicion, self._rules.suspicion.block
        if not state.level:
            return None
        known = self._known(state, signatures)
        foreseen = state.level + (known.weight if known is not None else 0)
        if foreseen < block or (known is None and short(call.name) not in state.suspects):
            return None
        return None if known is None and self._chance(loop, signatures) else self._fruitless(loop, foreseen)

    def _known(self, state: Suspicion, signatures: CallSignatures) -> KnownOutcome | None:
        """What this call will lead to; None when that cannot be told: it had several outcomes so far, and not each of them again."""
        made = [each for each in state.outcomes if each.call in signatures]
        if not made or made[-1].epoch != state.epoch or (len(made) > 1 and any(each.times < 2 for each in made)):
            return None
        return made[-1]

    def _chance(self, loop: LoopState, signatures: CallSignatures) -> bool:
        """Whether this is the first other call after a refusal: other words may find something."""
        return loop.suspicion.chance and not (loop.calls and loop.calls[-1].call in signatures)

    def _same(self, loop: LoopState, cycle: Cycle, ladder: Ladder) -> Finding:
        return Finding(
            what="same",
            score=cycle.reps,
            ladder=ladder,
            name=cycle_name(loop.calls, cycle),
            period=cycle.period,
            reps=cycle.reps,
            kinds=_kinds(loop, cycle.period),
            tokens=loop.suspicion.tokens,
        )

    def _fruitless(self, loop: LoopState, level: int) -> Finding:
        cycle = strongest(loop.coarse_runs) or strongest(loop.runs)
        name = cycle_name(loop.calls, cycle) if cycle else ", ".join(loop.suspicion.suspects) or "answers"
        return Finding(
            what="fruitless",
            score=level,
            ladder=self._rules.suspicion,
            name=name,
            period=cycle.period if cycle else 0,
            reps=cycle.reps if cycle else 0,
            kinds=_kinds(loop, cycle.period) if cycle else (),
            tokens=loop.suspicion.tokens,
        )

    def _tangled(self, loop: LoopState, source: str, target: str, level: int, times: int) -> Finding:
        named_at = self._rules.suspicion.nudge  # below it nobody reads the name, and a graph is searched for it
        name = circle_of(loop.suspicion, source, target, times) if level >= named_at else target
        return Finding(
            what="handoffs",
            score=level,
            ladder=self._rules.suspicion,
            name=name,
            period=max(1, name.count(" -> ")),
            reps=times,
            tokens=loop.suspicion.tokens,
        )


def _kinds(loop: LoopState, period: int) -> tuple[str, ...]:
    return tuple(seen.kind for seen in loop.calls[-period:])


def _second_round(loop: LoopState, level: int) -> bool:
    """Whether the latest call ends the second round of a cycle, each call of which was a mere repetition: waiting weighs less."""
    period = second_round(loop.runs)
    return period is not None and level >= period * suspicion.REPEATED


def _task(state: Suspicion, args: Mapping[str, object]) -> Words:
    task = words_of_args({name: value for name, value in args.items() if name not in TARGETS})
    if task.all or not state.asked[0]:
        return task
    return Words(all=unpack(state.asked[0]), named=unpack(state.asked[1]))


def _packed(words: Words) -> tuple[str, str]:
    return pack(words.all, 64), pack(words.named, 64)


def _noticed(loop: LoopState, cuts: int) -> LoopState:
    """The state with a compaction taken note of: what was seen before it may be read once more."""
    state = loop.suspicion
    if cuts == state.cuts:
        return loop
    cut_at = loop.finished if cuts > state.cuts else state.cut_at
    return _changed(loop, suspicion=_suspicion(state, cuts=cuts, cut_at=cut_at))
