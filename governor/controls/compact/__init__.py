"""Compaction: what the model gets to read of a long history. A view; the graph's own state keeps everything.

Between two cuts a request extends the bytes of the one before, so that the provider's cache hits. A cut is made when re-reading has
cost as much as the cut will (`rent`; the first waits for twice that), when the cache is cold anyway, or when the prompt would
not fit. It keeps the instructions, the task, the latest user message, a ledger of identifiers and the latest messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from governor.calls import View
from governor.controls.compact.ledger import build
from governor.controls.compact.plan import Limit, fitting, plan_cut, tightest, too_long
from governor.controls.compact.rent import FIRST_CUT, cache_lifetime_ms, tariff
from governor.controls.compact.show import RECALL_TOOL, handle_of, page, place_of, shorten
from governor.controls.compact.span import NO_CUT, Standing, cut_view, has_open_call, newest_cut
from governor.decisions import ALLOWED, Decision, Reason, Verdict
from governor.models import facts
from governor.plans import Viewed
from governor.runs import Cut, Lane
from governor.tokens import REQUEST_FRAMING, TOOLS_PREAMBLE, estimate
from governor.values import cheap, copier, maker, replace

if TYPE_CHECKING:
    from governor.calls import Message, ModelCall
    from governor.controls.compact.plan import Plan
    from governor.controls.compact.rent import Tariff
    from governor.models import ModelFacts
    from governor.plans import Routed
    from governor.policy.schema import Policy
    from governor.prices import Rates
    from governor.runs import RunState

__all__ = ["RECALL_TOOL", "Compact", "place_of"]

_shown, _used = maker(Viewed), copier(Lane)

_SHORTEST_LEDGER = 24
"""Tokens that a ledger needs to say that something was left out."""
_CUTS_KEPT = 16
"""Cuts remembered per lane: a fork goes back to an older one."""
_PAGE = 2_000
"""Longest page of the recall tool, tokens: its results are never shortened, so it must not read everything back at once."""
_SHORTEST_PAGE = 16


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """Everything that the choice of a view looks at."""

    call: ModelCall
    routed: Routed
    time: int
    lane: Lane
    standing: Standing
    view: View
    """The view under the cut in force."""
    tools: int
    tokens: int
    """Tokens of that view with the tools."""
    limit: Limit | None
    harder: bool = False

    @property
    def forced(self) -> bool:
        """Whether the prompt is too long as it stands."""
        return self.limit is not None and self.tokens > self.limit.force


_moment = maker(_Now)


class Compact:
    """Chooses what the model sees. Pure: the same history, lane and policy give the same bytes."""

    def __init__(self, policy: Policy) -> None:
        """Read `context` of the policy. `mask` and `summarise` are answered by the ledger, which needs no model call."""
        context = policy.context
        self._tiers = policy.tiers
        self._off = context.compact.strategy == "off"
        self._keep = int(context.compact.keep_tail)
        self._ledger = int(context.compact.ledger)
        self._cap = context.tool_results.cap
        self._recall = context.tool_results.recall
        self._ttl: Literal["5m", "1h", "off"] = context.cache.ttl
        maximum = context.max_input_tokens
        self._bound = (None, "") if maximum is None else (int(maximum), maximum.written)
        self._observed = policy.mode == "observe"
        self._latest: tuple[Rates | None, ModelFacts, Tariff] | None = None

    def show(self, message: Message, *, recall: bool = True) -> tuple[Message, str | None]:
        """The form in which a message is shown, from its first appearance on, and the handle of what that leaves out.

        Depends on the message alone, so that the cached prefix never changes. Only long tool results are shortened, and unless the
        policy says `recall: false` only where the graph can answer the recall tool (`recall`): what cannot be read back would be lost.
        """
        cap = self._cap
        if cap is None or message.tokens <= cap or message.role != "tool" or message.opaque or self._observed:
            return message, None
        if message.name == RECALL_TOOL or (self._recall and not recall):
            return message, None
        handle = handle_of(message.text) if self._recall else None
        framing = max(0, message.tokens - estimate(message.text))
        text = shorten(message.text, max(1, cap - framing), handle=handle)
        if text is None:
            return message, None
        return replace(message, text=text, tokens=framing + estimate(text), blocks=1, edited=True), handle

    @staticmethod
    def recall_page(text: str, offset: int = 0, size: int = _PAGE, *, handle: str) -> str:
        """One page of a kept text for the recall tool: `size` tokens, at most 2,000, from character `offset` on."""
        return page(text, offset, min(max(size, _SHORTEST_PAGE), _PAGE), handle)

    def view(
        self, state: RunState, call: ModelCall, routed: Routed, now: int, *, ratio: int = 1_000, harder: bool = False
    ) -> Viewed:
        """What the model sees in this call, and the lane after it. `now` is milliseconds since the epoch.

        `ratio` is the upper bound of real tokens per 1,000 estimated ones, by which the prompt is held against its limits.

        `harder`: a budget runs out, so that a cut is made for half the tail and without waiting until it pays for itself.

        Between cuts the work grows with what is new, not with the history; a cut reads what it removes once.
        """
        lane = state.lanes.get(call.lane) or Lane()
        standing = NO_CUT if self._off else newest_cut(lane.cuts, call.history)
        view = cut_view(call.history, standing)
        tools = sum([tool.tokens for tool in call.tools])
        moment = _moment(
            call=call,
            routed=routed,
            time=now,
            lane=lane,
            standing=standing,
            view=view,
            tools=tools,
            tokens=view.tokens + tools,
            limit=self._limit(call, routed, ratio),
            harder=harder,
        )
        return self._stay(moment, 0) if self._off else self._choose(moment)

    def _choose(self, now: _Now) -> Viewed:
        history = now.call.history
        if now.forced and now.limit is not None:
            room = now.limit.force - now.tools
            plan = fitting(history, now.standing, keep=self._keep, ledger=self._ledger, room=room)
            return self._cut(now, plan, now.limit.rule, self._price(now, plan)) if plan else self._stay(now, 0)
        if now.harder:
            short = plan_cut(history, now.standing, keep=self._keep // 2, ledger=self._ledger)
            saved = now.view.tokens - short.tokens if short else 0
            if short and saved >= self._keep // 2 and not has_open_call(history):
                return self._cut(now, short, "a budget runs out", self._price(now, short))
        plan = plan_cut(history, now.standing, keep=self._keep, ledger=self._ledger, exact=False)
        if plan is None:
            return self._stay(now, 0)
        if self._cause(now, plan, self._price(now, plan)) is not None:
            exact = plan_cut(history, now.standing, keep=self._keep, ledger=self._ledger)
            price = self._price(now, exact) if exact else 0
            cause = self._cause(now, exact, price) if exact else None
            if exact is not None and cause is not None:
                return self._cut(now, exact, cause, price)
        charges = self._tariff(now)
        return self._stay(now, max(0, charges.reading(now.tokens) - charges.reading(plan.tokens + now.tools)))

    def _tariff(self, now: _Now) -> Tariff:
        """The tariff of the model that answers, kept for the next call: mostly the same model answers it."""
        rates, known = now.routed.rates, facts(now.routed.model)
        latest = self._latest
        if latest is None or latest[0] is not rates or latest[1] is not known:
            latest = self._latest = rates, known, tariff(rates, known, self._ttl)
        return latest[2]

    def _price(self, now: _Now, plan: Plan) -> int:
        """What the cut costs: rewriting what follows the head, nano-USD."""
        return self._tariff(now).rewriting(plan.tokens + now.tools, plan.prefix + now.tools)

    def _cause(self, now: _Now, plan: Plan, price: int) -> str | None:
        """Why a cut pays now, or None. `price` is what it costs, nano-USD."""
        saved = now.view.tokens - plan.tokens
        if now.tokens < self._tariff(now).floor or saved < self._keep or has_open_call(now.call.history):
            return None
        lane, model = now.lane, now.routed.model
        if lane.model is not None and lane.model != str(model):
            return "the model changed and its cache is cold"
        if lane.calls and now.time - lane.last_at_ms > cache_lifetime_ms(facts(model), self._ttl):
            return "the cache has expired"
        due = price if lane.cuts else FIRST_CUT * price
        return "re-reading cost as much" if 0 < lane.rent >= due else None

    def _stay(self, now: _Now, rent: int) -> Viewed:
        """Keep the view as it is; `rent` is what this call pays for what a cut would have removed, nano-USD."""
        lane = _used(now.lane, calls=now.lane.calls + 1, rent=now.lane.rent + rent)
        refused = too_long(now.limit, now.tokens, observed=self._observed, off=self._off)
        return self._viewed(now, now.view, lane, refused or ALLOWED)

    def _cut(self, now: _Now, plan: Plan, cause: str, price: int) -> Viewed:
        history, standing = now.call.history, now.standing
        messages = history.messages
        pinned = {*plan.head, *plan.kept}
        room = self._ledger
        if now.limit is not None:
            room = min(room, now.limit.refuse - now.tools - (plan.tokens - self._ledger))
        if room < _SHORTEST_LEDGER:
            return self._stay(now, 0)
        text, tokens = build(
            removed=[messages[position] for position in range(plan.start) if position not in pinned],
            visible=[messages[position] for position in (*sorted(pinned), *range(plan.start, len(messages)))],
            previous=standing.cut.text if standing.cut else None,
            tokens=room,
        )
        cut = Cut(
            first=messages[plan.start].key,
            text=text,
            tokens=tokens,
            at_call=now.lane.calls,
            kept=tuple(messages[position].key for position in plan.kept),
        )
        view = cut_view(history, Standing(cut=cut, start=plan.start, kept=plan.kept))
        if view.tokens >= now.view.tokens:  # little was left out, and the ledger is longer
            return self._stay(now, 0)
        lane = replace(now.lane, calls=now.lane.calls + 1, rent=0, cuts=(*now.lane.cuts, cut)[-_CUTS_KEPT:])
        decision = self._reported(now, view, cause, price)
        refused = too_long(now.limit, view.tokens + now.tools, observed=self._observed, off=False)
        return self._viewed(now, view, lane, refused or decision)

    def _reported(self, now: _Now, view: View, cause: str, price: int) -> Decision:
        after = view.tokens + now.tools
        reason = Reason(
            code="context.cut",
            rule="context.compact",
            text=f"Cut the history from about {now.tokens:,} to {after:,} tokens: {cause}.",
            seen=str(now.tokens),
            evidence={
                "tokens_before": now.tokens,
                "tokens_after": after,
                "rent_nano_usd": now.lane.rent,
                "cost_nano_usd": price,
                "cause": cause,
            },
        )
        return Decision(control="compact", verdict=Verdict.MODIFY, reason=reason, observed=self._observed)

    def _viewed(self, now: _Now, view: View, lane: Lane, decision: Decision) -> Viewed:
        """In observe mode the cuts are remembered, so that their effect can be reported, and the model sees everything."""
        shown = View(history=now.call.history) if self._observed else view
        return _shown(view=shown, lane=lane, decision=decision)

    def _limit(self, call: ModelCall, routed: Routed, ratio: int) -> Limit | None:
        """The tighter of the policy's bound and the model's window, if either is known."""
        window = self._window(routed)
        answer = routed.max_output_tokens or call.max_output_tokens or 4_096
        framing = REQUEST_FRAMING + (TOOLS_PREAMBLE if call.tools else 0)
        return tightest(*self._bound, window, answer, ratio=ratio, framing=framing)

    def _window(self, routed: Routed) -> int | None:
        """Tokens the model reads, or None when nobody knows, and where nothing may be cut: the provider then refuses, free of charge."""
        tier = self._tiers.get(routed.tier) if routed.tier is not None else None
        if self._off:
            return None
        if tier is not None and tier.context_window is not None:
            return int(tier.context_window)
        known = facts(routed.model)
        return None if known.family == "unknown" else known.context_window
