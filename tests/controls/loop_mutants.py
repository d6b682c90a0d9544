"""Loop detectors that are wrong in one way each: the sources of one module with one place changed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import governor.controls.loop

__all__ = ["MUTANTS", "Mutant"]

PACKAGE = governor.controls.loop.__name__
FOLDER = Path(governor.controls.loop.__file__).parent


@dataclass(frozen=True)
class Mutant:
    """One change of one place, and what it makes wrong."""

    wrong: str
    module: str
    there: str
    instead: str

    def source(self) -> str:
        """The changed source of the module."""
        text = (FOLDER / f"{self.module}.py").read_text()
        if not self.there:
            return text
        assert text.count(self.there) == 1, f"{self.wrong}: its place has changed"
        return text.replace(self.there, self.instead)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The module as the changed source makes it, for everybody who imports from it."""
        module = importlib.import_module(f"{PACKAGE}.{self.module}")
        users = [other for name, other in sys.modules.items() if name.startswith(PACKAGE) or name in _TESTS]
        kept: list[tuple[dict[str, Any], dict[str, Any]]] = [(vars(other), dict(vars(other))) for other in users]
        before = dict(vars(module))
        try:
            exec(compile(self.source(), str(module.__file__), "exec"), vars(module))
            for names, _ in kept:
                names |= {
                    name: vars(module)[name]
                    for name in before
                    if not name.startswith("__") and name in names and names[name] is before[name]
                }
            yield
        finally:
            for names, earlier in kept:
                names.clear()
                names.update(earlier)


_TESTS = tuple(f"tests.controls.{name}" for name in ("strategies_loop", "test_loop_cases", "test_loop_signatures"))
"""Tests that take a part of the detector by its name."""


def _amount(wrong: str, there: str, instead: str) -> Mutant:
    return Mutant(wrong, "suspicion", f"\n{there}\n", f"\n{instead}\n")


MUTANTS = (
    # what each step adds or takes
    _amount("a repetition counts half", "REPEATED = 100", "REPEATED = 50"),
    _amount("a repetition counts twice", "REPEATED = 100", "REPEATED = 200"),
    _amount("verification counts as repetition", "_VERIFIED = 30", "_VERIFIED = 100"),
    _amount("verification counts nothing", "_VERIFIED = 30", "_VERIFIED = 0"),
    _amount("what is done over counts nothing", "_DONE_OVER = 60", "_DONE_OVER = 0"),
    _amount("what is done over counts twice", "_DONE_OVER = 60", "_DONE_OVER = 120"),
    _amount("a transient failure counts nothing", "_TRANSIENT = 80", "_TRANSIENT = 0"),
    _amount("a transient failure counts twice", "_TRANSIENT = 80", "_TRANSIENT = 160"),
    _amount("a poll is a repetition", "_POLLED, _POLLED_UP_TO = 8, 200", "_POLLED, _POLLED_UP_TO = 100, 800"),
    _amount(
        "waiting alone reaches the threshold", "_POLLED, _POLLED_UP_TO = 8, 200", "_POLLED, _POLLED_UP_TO = 16, 800"
    ),
    _amount("a reworded failure counts nothing", "_LIKE_A_FAILURE = 110", "_LIKE_A_FAILURE = 0"),
    _amount("a reworded failure counts twice", "_LIKE_A_FAILURE = 110", "_LIKE_A_FAILURE = 220"),
    _amount("a known failure counts nothing", "_AGAIN = 90", "_AGAIN = 0"),
    _amount("a known failure counts twice", "_AGAIN = 90", "_AGAIN = 180"),
    _amount("another attempt at a known failure counts nothing", "_AGAIN_AFTER_MUCH = 50", "_AGAIN_AFTER_MUCH = 0"),
    _amount("another attempt at a known failure counts twice", "_AGAIN_AFTER_MUCH = 50", "_AGAIN_AFTER_MUCH = 100"),
    _amount("new failures count nothing", "_FAILED, _FOUND_NOTHING = 35, 25", "_FAILED, _FOUND_NOTHING = 0, 0"),
    _amount(
        "new failures count as repetitions", "_FAILED, _FOUND_NOTHING = 35, 25", "_FAILED, _FOUND_NOTHING = 100, 100"
    ),
    _amount("known lines count nothing", "_STALE, _STALE_LITTLE = 90, 40", "_STALE, _STALE_LITTLE = 0, 0"),
    _amount("known lines count twice", "_STALE, _STALE_LITTLE = 90, 40", "_STALE, _STALE_LITTLE = 180, 80"),
    _amount("new numbers are fruitless", "_NUMBERS = -30", "_NUMBERS = 60"),
    _amount("news takes nothing back", "_NEWS = -150", "_NEWS = 0"),
    _amount("any news ends all suspicion", "_NEWS = -150", "_NEWS = -800"),
    _amount("what is done takes nothing back", "_DONE = -50", "_DONE = 0"),
    _amount("an acknowledgement ends all suspicion", "_DONE = -50", "_DONE = -800"),
    _amount("thinking in circles counts nothing", "_DONE_AGAIN = 50", "_DONE_AGAIN = 0"),
    _amount("an answer in other words counts nothing", "_SAID_AGAIN = 100", "_SAID_AGAIN = 0"),
    _amount("an answer in other words counts twice", "_SAID_AGAIN = 100", "_SAID_AGAIN = 200"),
    _amount("a new answer is fruitless", "_SAID_NEW = -30", "_SAID_NEW = 60"),
    _amount("any two calls are alike", "_SIMILAR = 0.5", "_SIMILAR = 0.01"),
    _amount("no two calls are alike", "_SIMILAR = 0.5", "_SIMILAR = 1.1"),
    _amount("short answers are never rewordings", "_REWORDED = 0.7", "_REWORDED = 0.0"),
    _amount("the cap is far away", "CAP = 100", "CAP = 2_000"),
    _amount(
        "one outcome is remembered",
        "_OUTCOMES, _RESULTS, _LATEST, _SUSPECTS = 32, 32, 8, 4",
        "_OUTCOMES, _RESULTS, _LATEST, _SUSPECTS = 2, 2, 1, 4",
    ),
    _amount("every little news is news", "_FEW_NEW = 0.1", "_FEW_NEW = 0.0"),
    _amount("a second round is nothing of its own", "ROUND = 120", "ROUND = 0"),
    _amount("a second round is refused as it ends", "ROUND = 120", "ROUND = 320"),
    # rules
    Mutant("effects open no epoch", "suspicion", "epoch = state.epoch + effect", "epoch = state.epoch"),
    Mutant(
        "a tool that only reads opens an epoch", "suspicion", "epoch = state.epoch + effect", "epoch = state.epoch + 1"
    ),
    Mutant(
        "nothing is ever new",
        "suspicion",
        "    lines, news = learn(state.lines, text)\n",
        "    lines, news = learn(learn(state.lines, text)[0], text)\n",
    ),
    Mutant(
        "everything is always new",
        "suspicion",
        "    lines, news = learn(state.lines, text)\n",
        "    lines, news = state.lines, learn(type(state.lines)(), text)[1]\n",
    ),
    Mutant(
        "each call of a turn counts", "suspicion", "counted = max(0, by - state.turn) if turn else by", "counted = by"
    ),
    Mutant("branches side by side count each", "suspicion", "by = 0 if how.beside or (by", "by = 0 if (by"),
    Mutant("answers side by side count each", "suspicion", "SAYS_SOMETHING or beside:", "SAYS_SOMETHING:"),
    Mutant(
        "naming something new does not help", "suspicion", "    if new & words.named:\n        return _SAID_NEW\n", ""
    ),
    Mutant(
        "a new question makes no answer new",
        "suspicion",
        'asked_anew = state.question not in ("", question)',
        "asked_anew = False",
    ),
    Mutant(
        "a user's word leaves suspicion",
        "suspicion",
        "level=state.level // 2, edges=edges",
        "level=state.level, edges=edges",
    ),
    Mutant(
        "what blocks added stays", "suspicion", "level=max(0, state.level - REPEATED * blocked)", "level=state.level"
    ),
    Mutant("a compaction grants no re-read", "suspicion", "0 if known.at < state.cut_at else ", ""),
    Mutant(
        "suspicion never ends at its cap",
        "suspicion",
        "level=min(cap, state.level + counted)",
        "level=state.level + counted",
    ),
    Mutant(
        "a check after an effect is a new failure",
        "suspicion",
        "failed_before is not None and failed_before.epoch < state.epoch",
        "False",
    ),
    Mutant("what a tool is exempt from is not heeded", "suspicion", "else by * how.percent // 100", "else by"),
    Mutant("the cost is not counted", "suspicion", "state.tokens + tokens if state.level else tokens", "0"),
    # exact cycles
    Mutant("periods end at four", "periods", "MAX_PERIOD = 16", "MAX_PERIOD = 4"),
    Mutant("periods end at fifteen", "periods", "MAX_PERIOD = 16", "MAX_PERIOD = 15"),
    Mutant("a part of a repetition counts", "periods", "if run >= period and (best", "if run and (best"),
    Mutant("a user's word leaves the cycle", "periods", "min(run // 2, period)", "run"),
    Mutant("a cycle is refused one call late", "periods", "run = runs[period - 1] + 1", "run = runs[period - 1]"),
    Mutant("any call continues a cycle", "periods", " and continues(period):", ":"),
    Mutant(
        "every round is a second one", "periods", "runs[period - 1] == period else", "runs[period - 1] >= period else"
    ),
    Mutant(
        "effects and waits between rounds are not heeded", "detector", " and level >= period * suspicion.REPEATED", ""
    ),
    # thresholds
    Mutant(
        "the nudge comes at two",
        "rules",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 4, 7",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 2, 4, 7",
    ),
    Mutant(
        "the block comes at five",
        "rules",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 4, 7",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 5, 7",
    ),
    Mutant(
        "the stop comes at eight",
        "rules",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 4, 7",
        "_NUDGE_AT, _BLOCK_AT, _STOP_AT = 3, 4, 8",
    ),
    Mutant("suspicion is nudged early", "rules", "100 * base.nudge - 50", "50 * base.nudge"),
    Mutant("suspicion is nudged late", "rules", "100 * base.nudge - 50", "100 * base.nudge + 100"),
    Mutant("suspicion is refused early", "rules", "100 * base.block + 20", "100 * base.block - 170"),
    Mutant("suspicion is refused late", "rules", "100 * base.block + 20", "200 * base.block"),
    Mutant("a poll has no patience", "rules", "_PATIENCE_WITH_PENDING = 8", "_PATIENCE_WITH_PENDING = 2"),
    Mutant("a poll is nudged at once", "rules", "_POLLS_BEFORE_NUDGE = 26", "_POLLS_BEFORE_NUDGE = 6"),
    Mutant(
        "a transient failure has no try more", "rules", "found.later(1) if TRANSIENT", "found.later(0) if TRANSIENT"
    ),
    Mutant("a batch is as any tool", "rules", "found = found.times(2)", "found = found.times(1)"),
    Mutant(
        "strict is as any tool",
        "rules",
        '"strict":\n            found = found.later(-1)',
        '"strict":\n            found = found.later(0)',
    ),
    Mutant("ignored blocks never end a run", "rules", "self.patience = max(3,", "self.patience = 99 + max(3,"),
    Mutant("recall is judged", "rules", "return tool == RECALL or ", "return "),
    # the detector and its memory
    Mutant("no chance after a refusal", "detector", "return loop.suspicion.chance and not", "return False and not"),
    Mutant(
        "a chance after every refusal for ever",
        "detector",
        "loop = _changed(loop, suspicion=_suspicion(after, chance=False) if after.chance else after)",
        "loop = _changed(loop, suspicion=after)",
    ),
    Mutant(
        "refused calls count nothing",
        "detector",
        "after = suspicion.raised(\n            loop.suspicion, suspicion.REPEATED,",
        "after = suspicion.raised(\n            loop.suspicion, 0,",
    ),
    Mutant(
        "identical calls of a turn count each",
        "memory",
        "if signatures.exact in loop.turn_calls and short(call.id) in loop.turn:",
        "if False:",
    ),
    Mutant(
        "a branch is never beside another",
        "placing",
        "if not earlier:",
        "if True:",
    ),
    Mutant(
        "every earlier branch is beside",
        "placing",
        "common + part in self.open_steps",
        "True",
    ),
    Mutant(
        "a branch that has ended is beside nothing", "placing", "(fan is not None and superstep", "(False and superstep"
    ),
    Mutant("any superstep is the one that runs", "placing", "superstep == str(fan[1])", "True"),
    Mutant("every request carries a note", "memory", "_BETWEEN_NUDGES = 5", "_BETWEEN_NUDGES = 0"),
    Mutant("a subagent's task is a person's word", "memory", "if call.step.depth or not messages", "if not messages"),
    Mutant("no word of a person counts", "memory", "if said in loop.users:", "if said:"),
    Mutant("samples of one prompt are many answers", "memory", "(beside or source == loop.text_source)", "False"),
    Mutant(
        "nothing is masked in results",
        "results",
        "text = result.text if verbatim else mask(result.text)",
        "text = result.text",
    ),
    Mutant(
        "paging is masked too",
        "results",
        "text = result.text if verbatim else mask(result.text)",
        "text = mask(result.text)",
    ),
    Mutant(
        "an argument that is echoed tells failures apart",
        "results",
        "canon_text(_without_echo(text[:1_000], call.args))",
        "canon_text(text[:1_000])",
    ),
    Mutant("ids tell long results apart", "results", "{CONTENT: self.masked, ACK: self.marked}", "{ACK: self.marked}"),
    Mutant(
        "acknowledgements are masked",
        "results",
        "{CONTENT: self.masked, ACK: self.marked}",
        "{CONTENT: self.masked, ACK: self.masked}",
    ),
    Mutant(
        "every argument counts", "signatures", "else _plain(name)) in VOLATILE_ARGUMENTS", "else _plain(name)) == ''"
    ),
    Mutant("no text is masked", "signatures", "    if not parts or removed * 2 > len(shown):\n", "    if True:\n"),
    Mutant(
        "few new words name nothing",
        "handoffs",
        "    if named > 1 or (named and not few) or _filled_in(edge, task, new):\n        return _NAMES_MORE\n",
        "",
    ),
    Mutant("a form filled in is a rewording", "handoffs", " or _filled_in(edge, task, new)", ""),
    Mutant(
        "the same task again counts nothing", "handoffs", "_SAME, _NOTHING_NEW = 120, 60", "_SAME, _NOTHING_NEW = 0, 0"
    ),
    Mutant("a reworded task counts nothing", "handoffs", "_REWORDED = 70", "_REWORDED = 0"),
    Mutant(
        "handing on without news counts nothing",
        "handoffs",
        "_IDLE, _IDLE_AND_LIKE = 80, 130",
        "_IDLE, _IDLE_AND_LIKE = 0, 0",
    ),
    Mutant("handing on is always idle", "handoffs", "    if edge.news != state.news:\n        return 0\n", ""),
    Mutant("the filter forgets at once", "novelty", "_FILL = 512", "_FILL = 1"),
    Mutant("a line is known by its shape", "novelty", "if not known[at]]", "if not known[at + lines]]"),
    Mutant("progress takes nothing back", "progress", "    if rises:\n", "    if False:\n"),
    Mutant("any change is progress", "progress", "    if rises:\n", "    if True:\n"),
    Mutant("a value that comes back says nothing", "progress", "raised(noted, REPEATED, cap)", "raised(noted, 0, cap)"),
    Mutant("a chant is never heard", "chant", "_RATIO = 0.07", "_RATIO = 0.0001"),
    Mutant("ordinary prose is a chant", "chant", "_RATIO = 0.07", "_RATIO = 0.6"),
    Mutant("code is a chant", "chant", "if self._fence or start", "if start"),
)
