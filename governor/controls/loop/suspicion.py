"""The leaky bucket: how much each step adds to the suspicion that a run has stopped getting anywhere, or takes from it.

Unit: hundredths of a fruitless repetition. What a step adds depends on what it told, not on where it stands, so cycles of any length and
loops of ever new words fill it alike. All amounts are here; they are set on real runs and checked on kinds that they were not set on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.loop.novelty import SKETCH, learn
from governor.controls.loop.results import ACK, CONTENT, EMPTY, ERROR, PENDING, TRANSIENT
from governor.controls.loop.words import Words, contained, pack, similar, unpack, words_of_args
from governor.loop_state import HandoffEdge, KnownOutcome, Suspicion
from governor.values import cheap, copier, maker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.controls.loop.novelty import News
    from governor.loop_state import SeenCall

__all__ = [
    "CAP",
    "REPEATED",
    "ROUND",
    "SAYS_SOMETHING",
    "How",
    "after_answer",
    "after_tool",
    "forgiven",
    "halved",
    "raised",
    "turned",
]

_changed, _edge, _outcome = copier(Suspicion), copier(HandoffEdge), maker(KnownOutcome)

CAP = 100
"""How far suspicion may pass the highest threshold: so much new information, and no more, ends it."""

REPEATED = 100
"""The same call with the same result, nothing done in between."""
ROUND = 120
"""A cycle of calls gone through for the second time, every result the same and nothing done in between: what that says beside its steps.
So it is refused as its third round begins; below it nothing of the kind can be told from an action that is checked twice."""
_VERIFIED = 30
"""The same after an effect, or a look that shows only known lines after one: verification, as long as it stays one of several steps."""
_DONE_OVER = 60
"""The same done again after something else was done: a build after each edit, but also an edit that is taken back and made again."""
_TRANSIENT = 80
"""The same transient failure: retrying it is right for a while."""
_POLLED, _POLLED_UP_TO = 8, 200
"""An unchanged or merely ticking status, and how far it can raise suspicion: waiting alone never reaches the first threshold."""
_LIKE_A_FAILURE = 110
"""A failure of a call much like one that has failed: the model rewords what does not work."""
_AGAIN = 90
"""A known failure or a known long result for other arguments."""
_AGAIN_AFTER_MUCH = 50
"""The same for arguments of a different kind or size: a script or a whole edit, which is an attempt of its own."""
_FAILED, _FOUND_NOTHING = 35, 25
"""A failure, an empty result, not seen before."""
_STALE, _STALE_LITTLE = 90, 40
"""Other words for what is known line by line; little when there are no more than two lines."""
_NUMBERS = -30
"""Known but for its numbers."""
_NEWS = -150
"""Lines that were not known."""
_DONE = -50
"""Something was acknowledged that had not been done before."""
_DONE_AGAIN = 50
"""A silent call that says nothing that the ones before it did not say: thinking aloud in circles."""
_SAID_AGAIN = 100
"""An answer whose words were all but said before, to nobody."""
_SAID_NEW = -30

_SIMILAR = 0.5
"""Jaccard similarity from which two texts ask for the same: rewordings of one request are above it in most cases, requests for
different things below it."""
_CONTAINED, _CONTAINED_A_LITTLE = 0.5, 0.35
_REWORDED = 0.7
"""A short answer that shares half of its words with an earlier one and has no more new words than this is a rewording too."""
_SHORT_ANSWER = 15
SAYS_SOMETHING = 4
"""Content words from which an answer can be told from a mere yes or done."""
_LONG_CALL = 20
_MUCH_NEW = 12
_FEW_NEW = 0.1

ANSWER = "(answer)"
"""An answer without tool calls, among the tools of fruitless steps."""

_OUTCOMES, _RESULTS, _LATEST, _SUSPECTS = 32, 32, 8, 4
_WORDS = 64


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What is to be known of a finished call beside its result."""

    finished: int
    """Calls finished before it."""
    cap: int
    """Where suspicion ends, in hundredths."""
    percent: int = 100
    """What the policy makes of repetition by this tool."""
    turn: bool = False
    """It is one of the calls that one answer asked for."""
    beside: bool = False
    """It was made in a branch side by side with the latest fruitless one."""
    effect: bool = True
    """An acknowledgement of this tool may mean that something was changed."""


def raised(state: Suspicion, by: int, cap: int, tool: str = "", source: str = "", *, turn: bool = False) -> Suspicion:
    """Suspicion after a step that adds `by`. Of a turn's calls the one that adds most counts, since they were asked for at once."""
    if by <= 0:
        level = max(0, state.level + by)
        return _changed(state, level=level) if by else state
    counted = max(0, by - state.turn) if turn else by
    changes = {"turn": max(by, state.turn)} if turn else {}
    if tool and by >= _DONE_AGAIN - 10:
        others = tuple(name for name in state.suspects if name != tool)
        changes |= {"suspects": (tool, *others[: _SUSPECTS - 1]), "source": source}
    return _changed(state, level=min(cap, state.level + counted), **changes)


def after_tool(state: Suspicion, seen: SeenCall, text: str, args: Mapping[str, object], how: How) -> Suspicion:
    """Suspicion after a finished call. `text` is its masked result."""
    known = None
    for each in state.outcomes:
        if each.outcome == seen.outcome:
            known = each
            break
    if known is not None:
        by = 0 if known.at < state.cut_at else _of_known(seen.kind, known, state.epoch)
    else:
        by, state = _of_new_outcome(state, seen, text, args, effect=how.effect)
    state = _remembered(state, seen, known, how.finished)
    if by > 0:
        by = 0 if how.beside or (by == _POLLED and state.level >= _POLLED_UP_TO) else by * how.percent // 100
    return raised(state, by, how.cap, seen.name, seen.source, turn=how.turn)


def _of_new_outcome(
    state: Suspicion, seen: SeenCall, text: str, args: Mapping[str, object], *, effect: bool
) -> tuple[int, Suspicion]:
    if seen.kind == ACK:
        return _of_ack(state, seen, words_of_args(args), silent=not text.strip(), effect=effect)
    if seen.kind in (ERROR, TRANSIENT, EMPTY):
        by, state = _of_failure(state, seen, words_of_args(args))
    elif seen.kind == CONTENT and seen.coarse in state.results:
        by, state = _of_same_content(state, seen, words_of_args(args))
    else:
        lines, news = learn(state.lines, text)
        return _of_news(_changed(state, lines=lines, results=_told(state, seen)), seen, news)
    return by, _changed(state, results=_told(state, seen))


def _told(state: Suspicion, seen: SeenCall) -> tuple[str, ...]:
    """The results so far and this one, unless it only says that there is none yet."""
    results = state.results
    if seen.kind == PENDING:
        return results
    if seen.coarse in results:
        results = tuple([each for each in results if each != seen.coarse])
    return (*results[-(_RESULTS - 1) :], seen.coarse)


def _remembered(state: Suspicion, seen: SeenCall, known: KnownOutcome | None, finished: int) -> Suspicion:
    others, times = state.outcomes, 1
    if known is not None:
        others, times = tuple([each for each in others if each is not known]), known.times + 1
    weight = {PENDING: _POLLED, TRANSIENT: _TRANSIENT}.get(seen.kind, REPEATED)
    latest = _outcome(call=seen.call, outcome=seen.outcome, epoch=state.epoch, at=finished, weight=weight, times=times)
    return _changed(state, outcomes=(*others[-(_OUTCOMES - 1) :], latest))


def _of_known(kind: str, known: KnownOutcome, epoch: int) -> int:
    if known.epoch == epoch or kind in (PENDING, TRANSIENT):
        return known.weight
    return _DONE_OVER if kind == ACK else _VERIFIED


def _of_failure(state: Suspicion, seen: SeenCall, words: Words) -> tuple[int, Suspicion]:
    earlier = [unpack(packed) for tool, packed in state.failed if tool == seen.name]
    failed_before = next((each for each in reversed(state.outcomes) if each.call == seen.call), None)
    if failed_before is not None and failed_before.epoch < state.epoch:
        by = (
            _VERIFIED if seen.coarse in state.results else 0
        )  # something was done, and the same check says something else
    elif len(words.all) <= _LONG_CALL and max((similar(words.all, each) for each in earlier), default=0.0) >= _SIMILAR:
        by = _LIKE_A_FAILURE
    elif seen.coarse in state.results:
        by = _AGAIN_AFTER_MUCH if _much(state, words) else _AGAIN
    else:
        by = _FOUND_NOTHING if seen.kind == EMPTY else _FAILED
    return by, _changed(state, failed=_latest(state.failed, seen.name, words))


def _of_same_content(state: Suspicion, seen: SeenCall, words: Words) -> tuple[int, Suspicion]:
    by = _AGAIN_AFTER_MUCH if _much(state, words) else _AGAIN
    return by, _changed(state, failed=_latest(state.failed, seen.name, words))


def _much(state: Suspicion, words: Words) -> bool:
    """Whether these arguments are an attempt of their own rather than a variation."""
    if len(words.all) >= _LONG_CALL:
        return True
    known = frozenset[str]().union(*(unpack(packed) for _, packed in state.failed))
    return len(words.all - known) >= _MUCH_NEW


def _of_ack(state: Suspicion, seen: SeenCall, words: Words, *, silent: bool, effect: bool) -> tuple[int, Suspicion]:
    earlier = [unpack(packed) for tool, packed in state.done if tool == seen.name]
    known = frozenset[str]().union(*earlier)
    circling = silent and len(words.all) >= 4 and not words.all - known
    done = _latest(state.done, seen.name, words)
    if circling and max((similar(words.all, each) for each in earlier), default=0.0) >= _SIMILAR:
        return _DONE_AGAIN, _changed(state, done=done)
    epoch = state.epoch + effect
    return (0 if silent else _DONE), _changed(state, done=done, epoch=epoch, news=state.news + 1)


def _of_news(state: Suspicion, seen: SeenCall, news: News) -> tuple[int, Suspicion]:
    if not news.lines:
        return 0, state
    asked_before = seen.call in [each.call for each in state.outcomes]
    if not news.new and not (asked_before and news.lines == SKETCH):
        after = state.epoch > state.checked
        by = _VERIFIED if after else _STALE if news.lines > 2 else _STALE_LITTLE
        return by, _changed(state, checked=state.epoch)
    if not news.new_words:
        return (_POLLED if asked_before else _NUMBERS), state
    if news.share < _FEW_NEW:
        return 0, state
    return _NEWS, _changed(state, news=state.news + 1)


def after_answer(state: Suspicion, words: Words, question: str, source: str, cap: int, *, beside: bool) -> Suspicion:
    """Suspicion after an answer without tool calls. To something that was not asked before, any answer is new.

    `beside`: the answer before it came of a branch side by side.
    """
    earlier = [unpack(packed) for packed in state.said]
    said = (*state.said[-(_LATEST - 1) :], pack(words.all, _WORDS))
    asked_anew = state.question not in ("", question)
    state = _changed(state, said=said, said_in=source, question=question)
    if not earlier or len(words.all) < SAYS_SOMETHING or beside:
        return state
    if asked_anew:
        return _changed(state, news=state.news + 1)
    by = _of_answer(earlier, words)
    return raised(state, by, cap, ANSWER, source) if by > 0 else raised(_changed(state, news=state.news + 1), by, cap)


def _of_answer(earlier: list[frozenset[str]], words: Words) -> int:
    new = words.all - frozenset[str]().union(*earlier)
    if not words.all - earlier[-1] or any(words.all == each for each in earlier):
        return _SAID_AGAIN
    if new & words.named:
        return _SAID_NEW
    if max(similar(words.all, each) for each in earlier) >= _SIMILAR:
        return _SAID_AGAIN
    shared = max(contained(words.all, each) for each in earlier)
    if len(words.all) > _SHORT_ANSWER or len(new) > _REWORDED * len(words.all):
        return _SAID_NEW
    return _SAID_AGAIN if shared >= _CONTAINED else 0 if shared >= _CONTAINED_A_LITTLE else _SAID_NEW


def halved(state: Suspicion) -> Suspicion:
    """Half the suspicion, after a new message of the user; what was said before it answered something else."""
    edges = tuple(_halved_edge(edge) for edge in state.edges)
    return _changed(state, level=state.level // 2, edges=edges, said=(), question="")


def _halved_edge(edge: HandoffEdge) -> HandoffEdge:
    return _edge(edge, level=edge.level // 2) if edge.level else edge


def forgiven(state: Suspicion, blocked: int) -> Suspicion:
    """Suspicion without what refused calls had added, since something was learned after all."""
    return _changed(state, level=max(0, state.level - REPEATED * blocked)) if blocked else state


def turned(state: Suspicion, tokens: int, asked: tuple[str, str] = ("", "")) -> Suspicion:
    """A new turn begins, for which so many tokens were billed. That of the first repetition is paid for before it is known as one."""
    return _changed(state, turn=0, asked=asked, tokens=state.tokens + tokens if state.level else tokens)


def _latest(kept: tuple[tuple[str, str], ...], tool: str, words: Words) -> tuple[tuple[str, str], ...]:
    return (*kept[-(_LATEST - 1) :], (tool, pack(words.all, _WORDS)))
