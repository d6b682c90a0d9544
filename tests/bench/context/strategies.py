"""Reference strategies: caching alone, cuts by rent, and a near-optimal schedule of cuts found with the whole run known.

Each makes the prompts of one run under one price model. They follow the design notes, not governor: governor is measured against them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.bench.context.accounting import Price, Request, cheapest_summary
from tests.bench.context.corpus import Item, Run
from tests.bench.context.provenance import atoms, message_text, values_of

__all__ = ["Strategy", "append_only", "by_rent", "capped", "mask_by_rent", "near_optimum", "uncached"]

Strategy = Callable[[Run, Price], list[Request]]

_SUMMARY, _MASKED, _CAPPED, _LEDGER = 316, 7, 560, 1_000
"""Tokens of a summary, a masked result, a shortened one, and a ledger, each as a message."""
_HEAD, _END = 1_600, 400
"""Characters shown of a shortened result: about 400 tokens and 100."""
_LONGEST, _USE = 80, 3


def uncached(run: Run, _: Price) -> list[Request]:
    """Everything, read anew each time: no marker. (Where caching is automatic it is charged as if there were none.)"""
    return [Request([run.static, *run.items[:at]]) for at in run.calls]


def append_only(run: Run, _: Price) -> list[Request]:
    """Everything, with markers after the static part and after the last message."""
    return [Request([run.static, *run.items[:at]], (0, at)) for at in run.calls]


def capped(run: Run, cap: int) -> Run:
    """The run with tool results above `cap` tokens shortened."""
    items = [
        Item(_CAPPED, item.blocks, text=_shortened(message["content"] or ""), role="tool")
        if message["role"] == "tool" and item.tokens > cap
        else item
        for item, message in zip(run.items, run.messages, strict=True)
    ]
    total = [0]
    for item in items:
        total.append(total[-1] + item.tokens)
    return replace(run, items=items, total=total)


def _shortened(text: str) -> str:
    return text[:_HEAD] + "\n...\n" + text[-_END:]


@dataclass(frozen=True, slots=True)
class _Spans:
    """Where a cut before each call would let the tail begin."""

    run: Run
    first: int
    """First message after the task."""
    tail: Sequence[int]
    """By call: position of the first message that stays."""
    pinned: int
    """Tokens of system text, tools and what comes up to the task."""

    @classmethod
    def of(cls, run: Run, keep: int) -> _Spans:
        first = run.task + 1
        return cls(run, first, [_tail(run, at, keep, first) for at in run.calls], run.static.tokens + run.total[first])

    def context(self, cut: int | None, call: int, item: int) -> int:
        """Tokens of the prompt of a call under the cut made before call `cut`."""
        at = self.run.calls[call]
        if cut is None:
            return self.run.static.tokens + self.run.total[at]
        return self.pinned + item + self.run.between(self.tail[cut], at)


def _tail(run: Run, at: int, keep: int, first: int) -> int:
    start = at - 1
    while start > first and run.between(start - 1, at) <= keep:
        start -= 1
    while start > first and run.messages[start]["role"] == "tool":
        start -= 1
    return max(start, min(first, at))


def by_rent(keep: int, *, ledger: bool) -> Strategy:
    """Cut once re-reading has cost what the cut will: to a summary, or to a ledger of identifiers, which no model writes."""

    def strategy(run: Run, price: Price) -> list[Request]:
        spans, item = _Spans.of(run, keep), _LEDGER if ledger else _SUMMARY
        cuts: list[int] = []
        rent = 0.0
        for call in range(len(run.calls)):
            cut = cuts[-1] if cuts else None
            now, after = spans.context(cut, call, item), spans.context(call, call, item)
            removed = now - after + item
            cost = (price.write - price.read) * (after - spans.pinned) / 1e6
            if not ledger:
                cost += cheapest_summary(price, removed, now)[0]
            if call and removed > item and rent >= cost:
                cuts.append(call)
                rent, now = 0.0, after
            rent += max(0, now - after) * price.read / 1e6
        return _with_cuts(spans, price, cuts, item, ledger=ledger)

    return strategy


def near_optimum(keep: int) -> Strategy:
    """The cheapest schedule of summaries for a run whose end is known: dynamic programming over the last cut, replayed."""

    def strategy(run: Run, price: Price) -> list[Request]:
        spans = _Spans.of(run, keep)
        return _with_cuts(spans, price, _schedule(spans, price), _SUMMARY, ledger=False)

    return strategy


def _schedule(spans: _Spans, price: Price) -> list[int]:
    write, read = price.write / 1e6, price.read / 1e6
    pinned = spans.pinned * (read if spans.pinned >= price.minimum else write)
    best: dict[int | None, tuple[float, tuple[int, ...]]] = {None: (spans.context(None, 0, _SUMMARY) * write, ())}
    for call in range(1, len(spans.run.calls)):
        after = spans.context(call, call, _SUMMARY)
        options: list[tuple[float, tuple[int, ...]]] = []
        stayed: dict[int | None, tuple[float, tuple[int, ...]]] = {}
        for cut, (cost, cuts) in best.items():
            before, now = spans.context(cut, call - 1, _SUMMARY), spans.context(cut, call, _SUMMARY)
            stayed[cut] = cost + read * before + write * (now - before), cuts
            removed = now - after + _SUMMARY
            if removed > _SUMMARY:
                summary = cheapest_summary(price, removed, now)[0]
                options.append((cost + summary + pinned + write * (after - spans.pinned), (*cuts, call)))
        if options:
            stayed[call] = min(options)
        best = stayed
    return list(min(best.values())[1])


def _with_cuts(spans: _Spans, price: Price, cuts: Sequence[int], size: int, *, ledger: bool) -> list[Request]:
    run, made, requests = spans.run, set(cuts), list[Request]()
    last: int | None = None
    head = [run.static, *run.items[: spans.first]]
    item = Item(size, role="user")
    for call, at in enumerate(run.calls):
        summaries: list[tuple[int, bool, int]] = []
        if call in made:
            now = spans.context(last, call, size)
            removed = now - spans.context(call, call, size) + size
            if not ledger:
                summaries.append((removed, cheapest_summary(price, removed, now)[1], now))
            entries = _ledger(run, spans.first, spans.tail[call]) if ledger else None
            item, last = Item(size, entries=entries, role="user"), call
        items = [*head, *run.items[spans.first : at]] if last is None else _cut(head, item, run, spans.tail[last], at)
        marks = (min(spans.first, len(items) - 1), len(items) - 1)
        requests.append(Request(items, marks, summaries, "cut" if call in made else ""))
    return requests


def _cut(head: list[Item], item: Item, run: Run, start: int, at: int) -> list[Item]:
    return [*head, item, *run.items[start:at]]


def _ledger(run: Run, start: int, stop: int) -> frozenset[str]:
    """Values by how often they were an argument (3) and how many messages hold them (1), then by recency, as many as fit."""
    score: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for position in range(start, stop):
        message = run.messages[position]
        used = [v for call in message.get("tool_calls") or [] for v in values_of(call["function"]["arguments"])]
        held = {value for value in atoms(message_text(message)) if len(value) <= _LONGEST} | set(used)
        for value in held:
            score[value] += 1
            latest[value] = position
        for value in used:
            score[value] += _USE
    left, entries = _LEDGER, set[str]()
    for value in sorted(score, key=lambda value: (-score[value], -latest[value], value)):
        cost = max(2, len(value) / 3)
        if cost <= left:
            entries.add(value)
            left -= cost
    return frozenset(entries)


def mask_by_rent(keep: int) -> Strategy:
    """Replace the tool results before the tail by a few words, once re-reading them has cost what rewriting the rest will."""

    def strategy(run: Run, price: Price) -> list[Request]:
        spans, rent, boundary = _Spans.of(run, keep), 0.0, 0
        items, requests = list(run.items), list[Request]()
        boundaries = (0,)
        for call, at in enumerate(run.calls):
            tail, why = spans.tail[call], ""
            found = [
                i for i in range(boundary, tail) if run.messages[i]["role"] == "tool" and items[i].tokens > _MASKED
            ]
            saved = sum(items[i].tokens - _MASKED for i in found)
            rest = sum(item.tokens for item in items[max(boundary, spans.first) : at]) - saved
            if call and saved and rent >= (price.write - price.read) * rest / 1e6:
                for i in found:
                    items[i] = Item(_MASKED, role="tool")
                rent, boundary, saved, why = 0.0, tail, 0, "masked"
                boundaries = (0, boundary)
            rent += saved * price.read / 1e6
            requests.append(Request([run.static, *items[:at]], (*boundaries, min(spans.first, at), at), cut=why))
        return requests

    return strategy
