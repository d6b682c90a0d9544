"""governor's compaction, ordering and result cap over a recorded run, driven call by call as the path drives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from governor.calls import Message, ModelCall, ModelRef, RunRef, StepRef, ToolSpec, ToolUse
from governor.controls.compact import Compact
from governor.controls.compact.ledger import listed
from governor.controls.order import Order
from governor.decisions import Decision, Verdict
from governor.history import HistoryMemo
from governor.plans import Routed
from governor.policy.schema import Policy
from governor.prices import Rates
from governor.runs import RunState
from governor.tokens import estimate_message, estimate_tool
from governor.values import replace
from tests.bench.context.accounting import Price, Request
from tests.bench.context.corpus import Item, Run, Sizes
from tests.bench.context.stub import stubbed
from tests.bench.context.tokens import Count

__all__ = ["MODELS", "RECALL", "Ours", "moments", "policy_of"]

MODELS = {
    "sonnet": ModelRef(provider="anthropic", model="claude-sonnet-4-5"),
    "gpt 0.1x": ModelRef(provider="openai", model="gpt-5"),
    "gpt 0.5x": ModelRef(provider="openai", model="gpt-4o"),
    "nova pro": ModelRef(provider="bedrock_converse", model="amazon.nova-pro-v1:0"),
}
"""A model by price model: governor takes its cache rules from its name, its prices from the price model."""
_GAP_MS = 5_000
"""Between two calls, where the run has no times."""
RECALL = {
    "type": "function",
    "function": {
        "name": "recall",
        "description": "Reads cut text.",
        "parameters": {"type": "object", "properties": {"handle": {"type": "string"}}},
    },
}
"""The recall tool, offered from the first call on where results may be shortened: it is paid for."""
_STEP = StepRef(run=RunRef(id="bench"), node="agent", path="agent", ns="agent:1")


def policy_of(
    *, cap: str | None = "2k", ttl: str = "5m", tiers: Mapping[str, Any] | None = None, **compact: Any
) -> dict[str, Any]:
    """The policy of a replay, as `Ours` takes it apart."""
    context: dict[str, Any] = {
        "cache": {"ttl": ttl},
        "order": "auto",
        "compact": {"strategy": "ledger", **compact},
    }
    if cap is not None:
        context["tool_results"] = {"cap": cap, "recall": True}
    return {"governor": 1, "name": "bench", "context": context, "tiers": tiers or {}}


def moments(run: Run) -> list[int]:
    """When each call is made, in milliseconds: as noted, or at even gaps."""
    if run.times:
        return [round(seconds * 1_000) for seconds in run.times]
    return [(call + 1) * _GAP_MS for call in range(len(run.calls))]


class Ours:
    """A strategy: the prompts that governor makes of a run."""

    def __init__(
        self,
        count: Count,
        *,
        sizes: Sizes | None = None,
        model: ModelRef | None = None,
        cap: str | None = "2k",
        ttl: str = "5m",
        tiers: Mapping[str, Any] | None = None,
        **compact: Any,
    ) -> None:
        """`sizes`: what the parts of a prompt count, when not what the design notes say; `model`: in place of the price
        model's own; `cap`: the policy's `context.tool_results.cap`; `compact`: keys of `context.compact` that differ from its defaults.

        `tiers`: those who may be asked for summaries beside the model of the run.
        """
        policy = Policy.model_validate(policy_of(cap=cap, ttl=ttl, tiers=tiers, **compact))
        self.model = model
        self._sizes, self._recall = sizes or Sizes(count), cap is not None or compact.get("strategy") == "mask"
        self._compact, self._order = Compact(policy), Order(policy)

    def __call__(self, run: Run, price: Price) -> list[Request]:
        """Every prompt of the run. Raises AssertionError when governor refuses one."""
        return _Driven(self, run, price).requests()

    def tools(self, run: Run) -> list[Mapping[str, Any]]:
        """The tools that are offered, in the order in which they are sent."""
        tools = [*run.tools, RECALL] if self._recall and run.tools else list(run.tools)
        specs = [_spec(tool) for tool in tools]
        return [tools[i] for i in self._order.sort_tools(specs)]

    @property
    def parts(self) -> tuple[Compact, Order, Sizes, bool]:
        """What drives a run."""
        return self._compact, self._order, self._sizes, self._recall


def _spec(tool: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec(name=tool["function"]["name"], tokens=estimate_tool(json.dumps(tool)))


class _Driven:
    """One run under governor's controls."""

    def __init__(self, ours: Ours, run: Run, price: Price) -> None:
        self._compact, self._order, self._sizes, recall = ours.parts
        self._run, self._recall = run, recall and bool(run.tools)
        offered = ours.tools(run)
        self._tools = tuple(_spec(tool) for tool in offered)
        self._static = run.static if offered == list(run.tools) else Item(self._sizes.static(run.system, offered))
        self._routed = Routed(
            tier=None,
            model=ours.model or MODELS[price.name],
            rates=_rates(price),
            max_output_tokens=None,
            decision=Decision(control="route", verdict=Verdict.ALLOW),
        )
        self._items: dict[tuple[str, str], Item] = {}
        self._state = RunState()
        self._now = 0

    def requests(self) -> list[Request]:
        run, memo = self._run, HistoryMemo()
        sources: list[Any] = [_Source({"role": "system", "content": run.system}, -1)] if run.system else []
        found: list[Request] = []
        done = 0
        for (call, at), self._now in zip(enumerate(run.calls), moments(run), strict=True):
            sources += [_Source(run.messages[i], i) for i in range(done, at)]
            done = at
            found.append(self._request(memo, sources, call))
        return found

    def _request(self, memo: HistoryMemo, sources: list[Any], ordinal: int) -> Request:
        history, elided = memo.extend(sources, _convert, self._shown)
        call = ModelCall(
            step=_STEP,
            ordinal=ordinal,
            history=history,
            model=self._routed.model,
            tools=self._tools,
            lane="agent",
            recall=self._recall,
            elided=elided,
        )
        viewed = self._compact.view(self._state, call, self._routed, self._now)
        viewed, summaries = stubbed(self._compact, call, viewed)
        assert not viewed.decision.refuses, viewed.decision
        request = self._order.arrange(self._state, call, self._routed, viewed, note=None)
        lane = replace(
            viewed.lane,
            last_at_ms=self._now,
            model=str(request.model),
            prefix_tokens=viewed.view.tokens,
            previous_last=history.messages[-1].key if history.messages else None,
        )
        self._state = replace(self._state, lanes={"agent": lane})
        view, offset = request.view, 0 if self._run.system else 1
        messages = view.history.messages
        shown = [*(messages[i] for i in view.pinned), *view.inserted, *messages[view.start :]]
        items = [self._static, *(self._item(m) for m in shown if m.role != "system")]
        items += [Item(self._sizes.message(note, []), text=note, role="user") for note in view.notes]
        marks = [each.position + offset for each in request.cache.messages]
        if request.cache.system or request.cache.tools:
            marks.append(0)
        reason = viewed.decision.reason
        cut = str(reason.evidence.get("cause")) if reason else ""
        return Request(items, marks, summaries, cut=cut, notes=len(view.notes))

    def _shown(self, message: Message) -> tuple[Message, str | None]:
        if message.role == "system":  # one text for the whole run: nothing of it is seen to change
            return self._order.steady(message, None)[0], None
        return self._compact.show(message, recall=self._recall)

    def _item(self, message: Message) -> Item:
        known = self._items.get((message.key, message.text))
        if known is None:
            known = self._items[message.key, message.text] = self._made(message)
        return known

    def _made(self, message: Message) -> Item:
        if isinstance(message.source, _Source) and not message.edited:
            return self._run.items[message.source.position]
        tokens = self._sizes.message(message.text, [])
        if message.source is None:
            return Item(tokens, entries=frozenset(listed(message.text)), role="user")
        return Item(tokens, text=message.text, role=message.role)


class _Source:
    """A recorded message as a history's source: the same object at every call."""

    def __init__(self, message: Mapping[str, Any], position: int) -> None:
        self.content = message.get("content") or ""
        self.message, self.position = message, position


def _convert(source: object) -> Message:
    assert isinstance(source, _Source)
    message = source.message
    uses = tuple(
        ToolUse(id=call["id"], name=call["function"]["name"], args=_arguments(call["function"]["arguments"]))
        for call in message.get("tool_calls") or []
    )
    return Message(
        key=f"m{source.position}",
        role=message["role"],
        text=source.content,
        tokens=estimate_message(source.content, uses),
        blocks=1 + len(uses),
        tool_uses=uses,
        answers=message.get("tool_call_id"),
        name=message.get("name"),
        source=source,
    )


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _rates(price: Price) -> Rates:
    def nano(dollars: float) -> int:
        return round(dollars * 1_000_000_000)

    return Rates(
        input=nano(price.input),
        output=nano(price.output),
        cache_read=nano(price.read),
        cache_write_5m=nano(price.write),
        cache_write_1h=nano(2 * price.input if price.write > price.input else price.write),
    )
