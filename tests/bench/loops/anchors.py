"""What other agents ship against loops, by the rules that their code documents, for the same table as governor's.

Written from the descriptions in the design notes, not from their sources: an approximation by a stranger, which errs on their side where a
rule is not stated. Each sees one step after the other and answers 0 (nothing), `NUDGE` or `HARD`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise

from tests.bench.loops.corpus import Step

__all__ = ["ANCHORS", "HARD", "NUDGE", "Detector"]

NUDGE, HARD = 1, 2


class Detector(ABC):
    """Sees a run step by step."""

    @abstractmethod
    def see(self, step: Step) -> int:
        """What it does once this step is done."""


def _raw(step: Step) -> str:
    return f"{step.name}:{json.dumps(step.args)}"


def _sorted(step: Step) -> str:
    return f"{step.name}:{json.dumps(step.args, sort_keys=True)}"


class Consecutive(Detector):
    """The same call so many times in a row: cline (3 warn, 5 act), Roo-Code (the 4th), CrewAI (the 2nd), opencode as meant (the 3rd)."""

    def __init__(
        self, nudge: int | None, hard: int, key: Callable[[Step], Hashable] = _sorted, *, reset: bool = False
    ) -> None:
        self._nudge, self._hard, self._key, self._reset = nudge, hard, key, reset
        self._last: Hashable = None
        self._count = 0

    def see(self, step: Step) -> int:
        if step.kind != "tool":
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
    """The last 25 calls end in a cycle of 1 to 5 calls said five times; or one text chants: 50 characters ten times, close together."""

    WINDOW, TIMES, LONGEST = 25, 5, 5
    PIECE, CHANTS, DISTANCE, PERIODS, KEPT = 50, 10, 250, 5, 5_000

    def __init__(self) -> None:
        self._calls: deque[bytes] = deque(maxlen=self.WINDOW)

    def see(self, step: Step) -> int:
        if step.kind == "tool":
            self._calls.append(hashlib.sha256(_raw(step).encode("utf-8", "replace")).digest())
            if any(self._cycles(length) for length in range(1, self.LONGEST + 1)):
                return HARD
        return HARD if self._chants(step.text) else 0

    def _cycles(self, length: int) -> bool:
        calls, needed = list(self._calls), length * self.TIMES
        if len(calls) < needed:
            return False
        tail = calls[-needed:]
        return all(tail[at] == tail[at % length] for at in range(needed))

    def _chants(self, text: str) -> bool:
        if "```" in text or any(line.lstrip().startswith(("#", "|", "- ", "* ")) for line in text.splitlines()):
            return False
        text = text[-self.KEPT :]
        places: dict[str, list[int]] = {}
        for at in range(max(0, len(text) - self.PIECE + 1)):
            places.setdefault(text[at : at + self.PIECE], []).append(at)
        for found in places.values():
            distances = [later - earlier for earlier, later in pairwise(found[-self.CHANTS :])]
            close = len(found) >= self.CHANTS and sum(distances) / len(distances) <= self.DISTANCE
            if close and len(set(distances)) <= self.PERIODS:
                return True
        return False


class OpenHands(Detector):
    """Of the last 20 events since the user spoke: four alike, thought included; three failures alike; three messages; A B A B A B."""

    def __init__(self) -> None:
        self._events: deque[tuple[str, str, str, str, bool]] = deque(maxlen=20)

    def see(self, step: Step) -> int:
        action = (step.kind, step.text, _raw(step))
        self._events.append((*action, step.result or "", step.err))
        level = self._level(list(self._events))
        if step.user_after:
            self._events.clear()
        return level

    @staticmethod
    def _level(events: Sequence[tuple[str, str, str, str, bool]]) -> int:
        def alike(count: int, parts: Callable[[tuple[str, str, str, str, bool]], object]) -> bool:
            return len(events) >= count and len({repr(parts(event)) for event in events[-count:]}) == 1

        failing = all(event[4] for event in events[-3:])
        if alike(4, lambda event: event[:4]) or (alike(4, lambda event: event[:3]) and all(e[4] for e in events[-4:])):
            return HARD
        alternates = len(events) >= 6 and events[-1][:4] != events[-2][:4]
        if alternates and all(events[-at][:4] == events[-at - 2][:4] for at in range(1, 5)):
            return HARD
        if alike(3, lambda event: event[:2]) and events[-1][0] == "model":
            return HARD
        return NUDGE if failing and alike(3, lambda event: event[:3]) else 0


class DeerFlow(Detector):
    """The same call, by salient arguments, 3 times in the last 20 warns and 5 times strips the tools; one tool 30 times warns, 50 stops."""

    SALIENT = ("path", "file_path", "url", "query", "q", "command", "pattern", "name", "id")

    def __init__(self, *, tools: bool = True) -> None:
        self._window: deque[str] = deque(maxlen=20)
        self._tools: Counter[str] = Counter()
        self._counts_tools = tools

    def see(self, step: Step) -> int:
        if step.kind != "tool":
            return 0
        args: Mapping[str, object] = step.args or {}
        salient = {key: args[key] for key in self.SALIENT if key in args} or args
        self._window.append(f"{step.name}:{json.dumps(salient, sort_keys=True, default=str)}")
        self._tools[str(step.name)] += 1
        seen, used = self._window.count(self._window[-1]), self._tools[str(step.name)] if self._counts_tools else 0
        if seen >= 5 or used >= 50:
            return HARD
        return NUDGE if seen >= 3 or used >= 30 else 0


class Cap(Detector):
    """A limit on steps: LangGraph's default of 25 until 1.2 and of 10,007 since, OpenAI Agents' 10."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0

    def see(self, step: Step) -> int:
        del step
        self._seen += 1
        return HARD if self._seen > self._most else 0


ANCHORS: Mapping[str, Callable[[], Detector]] = {
    "gemini-cli": GeminiCli,
    "OpenHands SDK": OpenHands,
    "Roo-Code": lambda: Consecutive(None, 4, reset=True),
    "cline": lambda: Consecutive(3, 5),
    "opencode, as meant": lambda: Consecutive(None, 3, _raw),
    "CrewAI, 2nd call": lambda: Consecutive(None, 2, _raw),
    "deer-flow": DeerFlow,
    "deer-flow, hash only": lambda: DeerFlow(tools=False),
    "LangGraph, limit 25": lambda: Cap(25),
    "LangGraph, limit 10,007": lambda: Cap(10_007),
}
