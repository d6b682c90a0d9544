"""The rest of what others ship, and all of it by name: the rows of the table beside governor's."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping

from tests.bench.loops.anchors import (
    HARD,
    NUDGE,
    Consecutive,
    DeerFlow,
    Detector,
    GeminiCli,
    OpenHands,
    chanting,
    is_call,
    ordered,
    raw,
)
from tests.bench.loops.corpus import Step

__all__ = ["ANCHORS"]

_GIT = re.compile(r"\bgit\s+(?:--?\S+\s+)*(?:status|diff|log|show|branch)\b")
_READS = re.compile(r"read|view|cat|open|list|\bls\b|glob|grep|search|find|get|fetch", re.IGNORECASE)
_IDS = re.compile(r"\b(?:[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d{10,})\b")
_WORD = re.compile(r"\w+")


class QwenCode(Detector):
    """The same call 5 times in a row; 8 inspections of a git repository in a row; 100 calls since the user spoke warn and 1,000 stop.

    `opt_in` adds what is off by default: one call 6 times in all, A B A B A B, 8 reads among 15 calls, one tool 8 times in a row, chants.
    Its rule about thoughts is not run.
    """

    def __init__(self, *, opt_in: bool = False) -> None:
        self._opt_in = opt_in
        self._same = Consecutive(None, 5)
        self._tool = Consecutive(None, 8, lambda step: step.name)
        self._git = self._since = 0
        self._count: Counter[str] = Counter()
        self._calls: deque[str] = deque(maxlen=6)
        self._reads: deque[bool] = deque(maxlen=15)

    def see(self, step: Step) -> int:
        level = self._always(step)
        if self._opt_in and level < HARD:
            level = max(level, self._opted(step))
        if step.user_after:
            self._since = 0
        return level

    def _always(self, step: Step) -> int:
        if not is_call(step):
            return 0
        self._since += 1
        self._git = self._git + 1 if _GIT.search(str(step.args)) else 0
        if self._same.see(step) == HARD or self._git >= 8 or self._since >= 1_000:
            return HARD
        return NUDGE if self._since >= 100 else 0

    def _opted(self, step: Step) -> int:
        if chanting(step.text):
            return HARD
        if not is_call(step):
            return 0
        key = ordered(step)
        self._count[key] += 1
        self._calls.append(key)
        self._reads.append(bool(_READS.search(str(step.name))))
        calls = list(self._calls)
        alternates = len(calls) == 6 and calls[0] != calls[1] and calls[:2] * 3 == calls
        found = self._count[key] >= 6 or alternates or sum(self._reads) >= 8 or self._tool.see(step) == HARD
        return HARD if found else 0


class OpenClaw(Detector):
    """Off by default. Of the last 30 calls 10 alike warn, and 20 before this one with one result block it; so do 10 and 20 of two in turn.

    Ids and long numbers are taken out of results; arguments are compared as they stand.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[str, str]] = deque(maxlen=30)

    def see(self, step: Step) -> int:
        if not is_call(step):
            return 0
        key = raw(step)
        latest = next((outcome for outcome in reversed(self._calls) if outcome[0] == key), None)
        same = self._calls.count(latest) if latest is not None else 0
        self._calls.append((key, _IDS.sub("", step.result or "")))
        alike = sum(call == key for call, _ in self._calls)
        turns = self._in_turn()
        if same >= 20 or turns >= 20:
            return HARD
        return NUDGE if alike >= 10 or turns >= 10 else 0

    def _in_turn(self) -> int:
        """How many of the latest calls are two in turn, with the same results each time."""
        calls = list(self._calls)
        if len(calls) < 2 or calls[-1][0] == calls[-2][0]:
            return 0
        count = 2
        while count < len(calls) and calls[-count - 1] == calls[-count + 1]:
            count += 1
        return count


class BrowserUse(Detector):
    """Of the last 20 calls, 5, 8 and 12 that ask for the same (words in any order) are told of; so are 5 looks at a page. Never blocks."""

    def __init__(self) -> None:
        self._calls: deque[str] = deque(maxlen=20)
        self._page = ""
        self._looks = 0

    def see(self, step: Step) -> int:
        if not is_call(step):
            return 0
        words = sorted(set(_WORD.findall(" ".join(map(str, (step.args or {}).values())).lower())))
        self._calls.append(f"{step.name}:{' '.join(words)}")
        page = step.result or ""
        self._looks = self._looks + 1 if page and page == self._page else 1
        self._page = page
        return NUDGE if self._calls.count(self._calls[-1]) >= 5 or self._looks >= 5 else 0


class Cap(Detector):
    """A limit on steps: of LangGraph, 25 until 1.2 and 10,007 since; 10 of OpenAI Agents; 20 of smolagents.

    `nodes`: node executions are counted, as LangGraph does: a tool call is one of the agent and one of the tools, branches side by side are
    one.
    """

    def __init__(self, most: int, *, nodes: bool = False) -> None:
        self._most, self._nodes, self._seen = most, nodes, 0

    def see(self, step: Step) -> int:
        if not step.par:
            self._seen += 2 if self._nodes and step.kind == "tool" else 1
        return HARD if self._seen > self._most else 0


class WithinAMessage(Detector):
    """What opencode and goose do as shipped in a serial agent: nothing.

    The one looks at three calls of one message, the other asks a copy of its inspector that has seen no call.
    """

    def see(self, step: Step) -> int:
        del step
        return 0


ANCHORS: Mapping[str, Callable[[], Detector]] = {
    "gemini-cli": GeminiCli,
    "qwen-code": QwenCode,
    "qwen-code, opt-in": lambda: QwenCode(opt_in=True),
    "OpenHands SDK": OpenHands,
    "OpenHands, no thought": lambda: OpenHands(thought=False),
    "Roo-Code": lambda: Consecutive(None, 4, reset=True),
    "cline": lambda: Consecutive(3, 5),
    "opencode, as meant": lambda: Consecutive(None, 3, raw),
    "opencode, goose": WithinAMessage,
    "goose, wired, 5": lambda: Consecutive(None, 6, raw),
    "CrewAI, 2nd call": lambda: Consecutive(None, 2, raw),
    "deer-flow": DeerFlow,
    "deer-flow, hash only": lambda: DeerFlow(tools=False),
    "openclaw, on": OpenClaw,
    "browser-use": BrowserUse,
    "LangGraph, limit 25": lambda: Cap(25, nodes=True),
    "LangGraph, limit 10,007": lambda: Cap(10_007, nodes=True),
    "OpenAI Agents, 10": lambda: Cap(10),
    "smolagents, 20": lambda: Cap(20),
}
