"""What other agents ship against loops, by the rules that their code documents, for the same table as governor's.

Written from the descriptions in the design notes, not from their sources: an approximation by a stranger, which errs on their side where a
rule is not stated. Each sees one step after the other and answers 0 (nothing), `NUDGE` or `HARD`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise

from tests.bench.loops.corpus import Step

__all__ = [
    "HARD",
    "NUDGE",
    "Consecutive",
    "DeerFlow",
    "Detector",
    "GeminiCli",
    "OpenHands",
    "chanting",
    "is_call",
    "ordered",
    "raw",
]

NUDGE, HARD = 1, 2


class Detector(ABC):
    """Sees a run step by step."""

    @abstractmethod
    def see(self, step: Step) -> int:
        """What it does once this step is done."""


def is_call(step: Step) -> bool:
    """Whether the model called something. In the frameworks of these detectors a handoff is a tool call like any other."""
    return step.kind != "model"


def raw(step: Step) -> str:
    """The call with its arguments as they stand."""
    return f"{step.kind}:{step.name}:{json.dumps(step.args)}"


def ordered(step: Step) -> str:
    """The call with the keys of its arguments in order."""
    return f"{step.kind}:{step.name}:{json.dumps(step.args, sort_keys=True)}"


class Consecutive(Detector):
    """The same call so many times in a row: cline (3 warn, 5 act), Roo-Code (the 4th), CrewAI (the 2nd), opencode as meant (the 3rd).

    goose, were its inspector asked about the run and not about a copy: more than 5. Any other call in between, a handoff too, begins anew.
    """

    def __init__(
        self, nudge: int | None, hard: int, key: Callable[[Step], Hashable] = ordered, *, reset: bool = False
    ) -> None:
        self._nudge, self._hard, self._key, self._reset = nudge, hard, key, reset
        self._last: Hashable = None
        self._count = 0

    def see(self, step: Step) -> int:
        if not is_call(step):
            return 0
        key = self._key(step)
        self._count = self._count + 1 if key == self._last else 1
        self._last = key
        if self._count >= self._hard:
            if self._reset:
                self._count, self._last = 0, None
            return HARD
        return NUDGE if self._nudge is not None and self._count >= self._nudge else 0


class GeminiCli(Detector):
    """The last 25 calls end in a cycle of 1 to 5 calls said five times; or an answer chants: 50 characters ten times, close together.

    What a chant is made of is forgotten at a tool call, a code fence, a heading, a list and a table. Its judge, a model, is not run.
    """

    WINDOW, TIMES, LONGEST = 25, 5, 5

    def __init__(self) -> None:
        self._calls: deque[bytes] = deque(maxlen=self.WINDOW)

    def see(self, step: Step) -> int:
        if is_call(step):
            self._calls.append(hashlib.sha256(raw(step).encode("utf-8", "replace")).digest())
            if any(self._cycles(length) for length in range(1, self.LONGEST + 1)):
                return HARD
        return HARD if chanting(step.text) else 0

    def _cycles(self, length: int) -> bool:
        calls, needed = list(self._calls), length * self.TIMES
        if len(calls) < needed:
            return False
        tail = calls[-needed:]
        return all(tail[at] == tail[at % length] for at in range(needed))


PIECE, CHANTS, DISTANCE, PERIODS = 50, 10, 250, 5
_RESET = ("#", "|", "- ", "* ", "+ ", "1.", "```")


def chanting(text: str) -> bool:
    """Whether one answer chants by gemini-cli's rule: the latest ten places of some 50 characters, on average at most 250 apart.

    Its history of 5,000 characters is longer than ten such distances, so that it makes no difference here.
    """
    return any(_chants(segment) for segment in _segments(text))


def _segments(text: str) -> Iterator[str]:
    """Stretches of prose between what resets the history; inside of code fences nothing is looked at."""
    kept: list[str] = []
    code = False
    for line in text.splitlines(keepends=True):
        start = line.lstrip()
        if code or start.startswith(_RESET):
            yield "".join(kept)
            kept = []
            code ^= start.startswith("```")
        else:
            kept.append(line)
    yield "".join(kept)


def _chants(text: str) -> bool:
    places: dict[str, deque[int]] = {}
    for at in range(len(text) - PIECE + 1):
        found = places.setdefault(text[at : at + PIECE], deque(maxlen=CHANTS))
        found.append(at)
        close = len(found) == CHANTS and found[-1] - found[0] <= DISTANCE * (CHANTS - 1)
        if close and len({later - earlier for earlier, later in pairwise(found)}) <= PERIODS:
            return True
    return False


class OpenHands(Detector):
    """Of the last 20 events since the user spoke: four alike; one call failing, 3 times a nudge, 4 a stop; A B A B A B; three messages.

    Three messages of the agent in a row are enough, alike or not. `thought`: whether what was thought beside a call is part of it, as it is
    in the code; without it is what the rule would find if it were not.
    """

    def __init__(self, *, thought: bool = True) -> None:
        self._thought = thought
        self._events: deque[tuple[str, str, str, str, bool]] = deque(maxlen=20)

    def see(self, step: Step) -> int:
        text = step.text if self._thought or step.kind == "model" else ""
        self._events.append((step.kind, text, raw(step), step.result or "", step.err))
        level = self._level(list(self._events))
        if step.user_after:
            self._events.clear()
        return level

    @staticmethod
    def _level(events: Sequence[tuple[str, str, str, str, bool]]) -> int:
        def alike(count: int, parts: int) -> bool:
            return len(events) >= count and len({event[:parts] for event in events[-count:]}) == 1

        def failing(count: int) -> bool:
            return all(event[4] for event in events[-count:])

        if alike(4, 4) or (alike(4, 3) and failing(4)):
            return HARD
        alternates = len(events) >= 6 and events[-1][:4] != events[-2][:4]
        if alternates and all(events[-at][:4] == events[-at - 2][:4] for at in range(1, 5)):
            return HARD
        if len(events) >= 3 and all(event[0] == "model" for event in events[-3:]):
            return HARD
        return NUDGE if failing(3) and alike(3, 3) else 0


class DeerFlow(Detector):
    """The same call, by salient arguments, 3 times in the last 20 warns and 5 times strips the tools; one tool 30 times warns, 50 stops."""

    SALIENT = ("path", "file_path", "url", "query", "q", "command", "pattern", "name", "id")

    def __init__(self, *, tools: bool = True) -> None:
        self._window: deque[str] = deque(maxlen=20)
        self._tools: Counter[str] = Counter()
        self._counts_tools = tools

    def see(self, step: Step) -> int:
        if not is_call(step):
            return 0
        args: Mapping[str, object] = step.args or {}
        salient = {key: args[key] for key in self.SALIENT if key in args} or args
        self._window.append(f"{step.name}:{json.dumps(salient, sort_keys=True, default=str)}")
        self._tools[str(step.name)] += 1
        seen, used = self._window.count(self._window[-1]), self._tools[str(step.name)] if self._counts_tools else 0
        if seen >= 5 or used >= 50:
            return HARD
        return NUDGE if seen >= 3 or used >= 30 else 0
