"""One lane whose requests are compared as the path compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from governor.calls import History, Message, ModelRef, ModelRequest, ToolSpec
from governor.controls.compact import Compact
from governor.controls.order import Order
from governor.controls.prefix import Compared, Prefix
from governor.history import HistoryMemo
from governor.policy.schema import Policy
from governor.prefix import Remembered
from governor.runs import Lane, RunState, Steady
from governor.usage import Usage
from tests.controls.histories import LANE, RATES, SONNET, model_call, policy, routed, system, tool, turns, words

PLAIN = policy(context={"cache": {"ttl": "5m"}})
MINUTE = 60_000
OFFERED = (tool("ask", 40), tool("read", 60))


class Line:
    """One lane: requests in the order in which they are answered, compared as the path compares them."""

    def __init__(self, rules: Policy = PLAIN, *, forgetful: bool = False) -> None:
        self.compact, self.order, self.prefix = Compact(rules), Order(rules), Prefix(rules)
        self.lane, self.now = Lane(), 0
        self.memo = HistoryMemo(render=None)
        self.forgetful = forgetful
        self.before: Remembered | None = None
        self.requests: list[ModelRequest] = []

    def history(self, messages: Sequence[Message]) -> History:
        return self.memo.extend(list(messages), lambda source: source, self.compact.show)[0]  # pyright: ignore[reportArgumentType] - sources are messages

    def answered(
        self,
        messages: Sequence[Message],
        model: ModelRef = SONNET,
        tools: tuple[ToolSpec, ...] = OFFERED,
        gap_ms: int = 1_000,
        note: str | None = None,
        choice: str = "",
        steady: tuple[Steady, ...] = (),
    ) -> Compared:
        self.now += gap_ms
        call = replace(model_call(self.history(messages), model, tools=tools, choice=choice), steady=steady)
        state = RunState(lanes={LANE: self.lane})
        viewed = self.compact.view(state, call, routed(model), self.now)
        request = self.order.arrange(state, call, routed(model), viewed, note=note)
        self.requests.append(request)
        remembered = self.prefix.remember(request)
        usage = self.metered(request, model)
        compared = self.prefix.compare(
            request, viewed, usage, RATES.get(model), self.now, remembered=remembered, before=self.before
        )
        self.before = None if self.forgetful else remembered
        self.lane = replace(
            viewed.lane,
            sent=compared.sent,
            prefix_tokens=usage.prompt,
            last_at_ms=self.now,
            model=str(model),
            previous_last=messages[-1].key,
            steady=steady,
        )
        return compared

    def metered(self, request: ModelRequest, model: ModelRef) -> Usage:
        """All of it uncached: what was really read is the provider's to say."""
        del model
        return Usage(input=request.view.tokens + sum(each.tokens for each in request.call.tools), output=10)


def cause(compared: Compared) -> str | None:
    return compared.move.cause if compared.move else None


LONG = [system(words(400)), *turns(6, 400)[1:]]
