"""One run under one strategy and one price model, charged and judged; and sums over many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.bench.context.accounting import Bill, Cache, Price, Request
from tests.bench.context.corpus import Item, Run
from tests.bench.context.provenance import Use, retained

__all__ = ["charged", "faults_of"]


def charged(
    run: Run,
    price: Price,
    requests: Sequence[Request],
    uses: Sequence[Use],
    *,
    cached: bool = True,
    ttl: float | None = None,
) -> Bill:
    """The bill of a run's prompts, with what became of the values that its tool calls used."""
    bill, cache = Bill(output=run.output * price.output / 1e6), Cache(price, ttl)
    by_call: dict[int, list[Use]] = {}
    for use in uses:
        by_call.setdefault(use.at, []).append(use)
    for call, (at, request) in enumerate(zip(run.calls, requests, strict=True)):
        tokens = sum(item.tokens for item in request.items)
        now = run.times[call] if ttl is not None and run.times else 0.0
        bill.add(price, cache.send(request.items, request.marks, now) if cached else (tokens, 0, 0))
        bill.cuts += bool(request.cut)
        for summary in request.summaries:
            bill.summarise(price, *summary)
        if at in by_call:
            shown = {item.source for item in request.items}
            for use in by_call[at]:
                _judge(bill, price, use, request.items, shown, tokens)
    return bill


def _judge(bill: Bill, price: Price, use: Use, items: Sequence[Item], shown: set[int], tokens: int) -> None:
    kept = retained(use, items, shown)
    bill.values[0] += kept
    bill.values[1] += len(use.sources)
    bill.calls[0] += kept == len(use.sources)
    bill.calls[1] += 1
    if kept < len(use.sources):
        bill.lose(price, tokens)


def faults_of(run: Run, requests: Sequence[Request]) -> Counter[str]:
    """What no request may have: tool results without their call, no task, a prefix that moved for no reason given."""
    found: Counter[str] = Counter()
    before: Sequence[Item] = ()
    for request in requests:
        items = request.items
        called: set[str] = set()
        for item in items:
            message = run.messages[item.source] if item.source >= 0 else {}
            called |= {call["id"] for call in message.get("tool_calls") or []}
            found["orphaned tool messages"] += message.get("role") == "tool" and message["tool_call_id"] not in called
        found["tasks lost"] += all(item.source != run.task for item in items)
        found["prefix moved"] += list(items[: len(before)]) != list(before) and not request.cut
        before = items[: len(items) - request.notes]
    return found
