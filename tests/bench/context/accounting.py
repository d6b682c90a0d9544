"""What a sequence of prompts costs under a provider's prompt cache. Knows nothing of how the prompts came about, nor of governor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.bench.context.corpus import Item

__all__ = ["PRICES", "Bill", "Cache", "Price", "Request"]

_LOOKBACK = 20
"""Content blocks before a marker in which a provider looks for an older entry (Anthropic, Amazon Bedrock)."""
_STEP = 128
"""Providers that cache by themselves do it in steps of so many tokens (OpenAI)."""
_BEYOND = 2_000
"""Tokens of one more round of tool call and answer, when a lost value has to be read again; it takes `_ASKED` tokens of output."""
_ASKED = 80


class Price(NamedTuple):
    """A price model: dollars per million tokens, and how the cache works."""

    name: str
    input: float
    write: float
    read: float
    output: float
    small: tuple[float, float]
    """Input and output price of the small model of the same vendor."""
    explicit: bool
    minimum: int
    cap: int | None = None
    """Most tokens that are cached."""
    lookback: int = _LOOKBACK
    """Content blocks up to and with a marker's own in which an older entry is found."""
    plain: bool = False
    """Whether a marker is taken only after what the system or a person says in a turn without tool calls and results."""


PRICES = (
    Price("sonnet", 3, 3.75, 0.30, 15, (1, 5), True, 1_024),
    Price("gpt 0.1x", 1.25, 1.25, 0.125, 10, (0.25, 2), False, 1_024),
    Price("gpt 0.5x", 2.5, 2.5, 1.25, 10, (0.15, 0.60), False, 1_024),
    Price("nova pro", 0.8, 0.8, 0.2, 3.2, (0.035, 0.14), True, 1_000, 20_000, plain=True),
)
"""List prices and cache rules (design notes, price and cache models). That Nova takes no marker in turns with tools is how AWS's own client
treats it, and the sandbox."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt as it is sent."""

    items: Sequence[Item]
    marks: Sequence[int] = ()
    """Positions of items after which there is a cache marker."""
    summaries: Sequence[tuple[int, bool, int]] = ()
    """Summaries written before it: tokens of the text that was removed, whether the main model wrote it, tokens of its context."""
    cut: str = ""
    """Why this request does not extend the one before, when its author says so."""
    notes: int = 0
    """Items at its end that the next request does not repeat: what changes from call to call."""


class Cache:
    """One provider's cache during one run."""

    def __init__(self, price: Price, ttl: float | None = None) -> None:
        """`ttl`: seconds that an entry lives after its last use; None is forever."""
        self._price, self._ttl = price, ttl
        self._entries: dict[int, float] = {}
        self._items: list[Item] = []
        self._hashes: list[int] = []
        self._tokens: list[int] = []

    def send(self, items: Sequence[Item], marks: Sequence[int], now: float = 0.0) -> tuple[int, int, int]:
        """Tokens of a prompt that are read anew, written to the cache, read from it."""
        self._lay(items)
        if self._price.explicit:
            return self._explicit(marks, now)
        return self._automatic(now)

    def _lay(self, items: Sequence[Item]) -> None:
        """Hashes and tokens of every prefix; what is the same as in the last prompt is kept."""
        count = min(len(items), len(self._items))
        if self._items[:count] != list(items[:count]):
            count = next(i for i in range(count) if self._items[i] is not items[i])
        del self._items[count:], self._hashes[count:], self._tokens[count:]
        seen = self._hashes[-1] if self._hashes else 0
        tokens = self._tokens[-1] if self._tokens else 0
        for item in items[count:]:
            seen, tokens = hash((seen, id(item))), tokens + item.tokens
            self._items.append(item)
            self._hashes.append(seen)
            self._tokens.append(tokens)

    def _alive(self, position: int, now: float) -> bool:
        used = self._entries.get(self._hashes[position])
        return used is not None and (self._ttl is None or now - used <= self._ttl)

    def _explicit(self, marks: Sequence[int], now: float) -> tuple[int, int, int]:
        tokens, cap = self._tokens, self._price.cap
        if self._price.plain:
            marks = [self._plain(mark) for mark in marks]
        kept = {mark for mark in marks if tokens[mark] >= self._price.minimum}
        if cap is not None and any(tokens[mark] > cap for mark in kept):
            kept = {mark for mark in kept if tokens[mark] <= cap}
            last = max((i for i, sum_ in enumerate(tokens) if sum_ <= cap and self._takes(i)), default=-1)
            if last >= 0 and tokens[last] >= self._price.minimum:
                kept.add(last)
        hits = [hit for mark in kept if (hit := self._hit(mark, now)) is not None]
        read = tokens[max(hits)] if hits else 0
        used = [
            at for at in range(max(hits, default=-1) + 1) if self._alive(at, now)
        ]  # reading a prefix uses all of it
        for position in (*kept, *used):
            self._entries[self._hashes[position]] = now
        written = max(0, tokens[max(kept)] - read) if kept else 0
        return tokens[-1] - read - written, written, read

    def _plain(self, mark: int) -> int:
        """The last place up to a marker's own that takes one. What a prompt begins with does."""
        return next((at for at in range(mark, 0, -1) if self._takes(at)), 0)

    def _takes(self, at: int) -> bool:
        """What a person says right after a tool's result is of one turn with it."""
        role = self._items[at].role
        after_tool = at > 0 and self._items[at - 1].role == "tool"
        return not self._price.plain or role == "" or (role == "user" and not after_tool)

    def _hit(self, mark: int, now: float) -> int | None:
        blocks = 0
        for position in range(mark, -1, -1):
            blocks += self._items[position].blocks
            if blocks > self._price.lookback and position < mark:
                return None
            if self._alive(position, now):
                return position
        return None

    def _automatic(self, now: float) -> tuple[int, int, int]:
        tokens = self._tokens
        hit = next((i for i in range(len(tokens) - 1, -1, -1) if self._alive(i, now)), None)
        read = 0 if hit is None or tokens[hit] < self._price.minimum else tokens[hit] // _STEP * _STEP
        for position in range(len(tokens)):
            self._entries[self._hashes[position]] = now
        return tokens[-1] - read, 0, read


@dataclass(slots=True)
class Bill:
    """What one run cost, in dollars."""

    input: float = 0.0
    summaries: float = 0.0
    refetch: float = 0.0
    """What it would cost to read again each value that a call used and its prompt did not hold."""
    output: float = 0.0
    tokens: int = 0
    cuts: int = 0
    values: list[int] = field(default_factory=lambda: [0, 0])
    """Values retained, all."""
    calls: list[int] = field(default_factory=lambda: [0, 0])
    """Tool calls whose values are all retained, all with values."""
    faults: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def spent(self) -> float:
        """Input, cache and summaries."""
        return self.input + self.summaries

    def add(self, price: Price, split: tuple[int, int, int]) -> None:
        """Charge one prompt."""
        fresh, written, read = split
        self.input += (fresh * price.input + written * price.write + read * price.read) / 1e6
        self.tokens += sum(split)

    def summarise(self, price: Price, removed: int, main: bool, context: int) -> None:
        """Charge one summary."""
        self.summaries += summary_cost(price, removed, context if main else None)

    def lose(self, price: Price, prompt: int) -> None:
        """Charge one tool call that lost a value."""
        self.refetch += (prompt * price.read + _BEYOND * price.write + _ASKED * price.output) / 1e6


_SUMMARY, _INSTRUCTION, _ASKING = 300, 600, 60


def summary_cost(price: Price, removed: int, context: int | None) -> float:
    """Dollars of one summary: by the small model from scratch, or by the main one on its cached context of so many tokens."""
    if context is None:
        return ((removed + _INSTRUCTION) * price.small[0] + _SUMMARY * price.small[1]) / 1e6
    return (context * price.read + _ASKING * price.write + _SUMMARY * price.output) / 1e6


def cheapest_summary(price: Price, removed: int, context: int) -> tuple[float, bool]:
    """The cheaper way to have a summary written, and whether that is the main model's. A capped cache offers only the small one."""
    small = summary_cost(price, removed, None)
    if price.cap is not None:
        return small, False
    main = summary_cost(price, removed, context)
    return min((small, False), (main, True))
