"""Compaction: what the model gets to read of a long history. A view; the graph's own state keeps everything.

Between two cuts a request extends the bytes of the one before, so that the provider's cache hits. A cut is made when re-reading has
cost as much as the cut will (`rent`; the first waits for twice that), when the cache is cold anyway, or when the prompt would
not fit. It keeps the instructions, the task, the latest user message, a ledger of identifiers and the latest messages.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from governor.calls import View
from governor.controls.compact.handing import Handing, cheaper
from governor.controls.compact.ledger import build
from governor.controls.compact.mask import Masks, dropping, masking
from governor.controls.compact.moment import Bounds, Moment, reported
from governor.controls.compact.plan import fitting, plan_cut, too_long
from governor.controls.compact.rent import FIRST_CUT, tariff
from governor.controls.compact.show import RECALL_TOOL, handle_of, page, place_of, shorten
from governor.controls.compact.span import NO_CUT, Standing, cut_view, has_open_call, newest_cut
from governor.controls.compact.summary import EXPECTED, Summaries, told, untold
from governor.controls.compact.superseded import superseded
from governor.decisions import ALLOWED, Decision
from governor.models import cache_lifetime_ms, facts
from governor.plans import Viewed
from governor.runs import Cut, Lane
from governor.tokens import estimate
from governor.values import copier, maker, replace

if TYPE_CHECKING:
    from governor.calls import Message, ModelCall, ModelResponse
    from governor.controls.compact.plan import Plan
    from governor.controls.compact.rent import Tariff
    from governor.models import ModelFacts
    from governor.plans import Asking, Routed
    from governor.policy.schema import Policy
    from governor.prices import PriceBook, Rates
    from governor.runs import RunState

__all__ = ["RECALL_TOOL", "Compact", "place_of"]

_shown, _used, _moment = maker(Viewed), copier(Lane), maker(Moment)

_SHORTEST_LEDGER = 24
"""Tokens that a ledger needs to say that something was left out."""
_CUTS_KEPT = 16
"""Cuts remembered per lane: a fork goes back to an older one."""
_PAGE = 2_000
"""Longest page of the recall tool, tokens: its results are never shortened, so it must not read everything back at once."""
_SHORTEST_PAGE = 16
_PAID = "re-reading cost as much"


class Compact:
    """Chooses what the model sees. Pure: the same history, lane and policy give the same bytes."""

    def __init__(self, policy: Policy, prices: PriceBook | None = None) -> None:
        """Read `context` of the policy. `prices` are for those who may be asked for summaries."""
        context = policy.context
        self._off = context.compact.strategy == "off"
        self._masking = context.compact.strategy == "mask"
        self._keep = int(context.compact.keep_tail)
        self._ledger = int(context.compact.ledger)
        self._summaries = Summaries(policy, prices)
        self._inserted = self._ledger + (EXPECTED if self._summaries.on else 0)
        self._cap = context.tool_results.cap
        self._recall = context.tool_results.recall
        self._ttl: Literal["5m", "1h", "off"] = context.cache.ttl
        self._bounds = Bounds(policy)
        self._observed = policy.mode == "observe"
        self._latest: tuple[Rates | None, ModelFacts, Tariff] | None = None
        self._masks = Masks()
        self._handing = Handing(prices)

    def show(self, message: Message, *, recall: bool = True) -> tuple[Message, str | None]:
        """The form in which a message is shown, from its first appearance on, and the handle of what that leaves out.

        Depends on the message alone, so that the cached prefix never changes. Only long tool results are shortened, and unless the
        policy says `recall: false` only where the graph can answer the recall tool (`recall`): what cannot be read back would be lost.
        """
        cap = self._cap
        if cap is None or message.tokens <= cap or message.role != "tool" or self._observed:
            return message, None
        if message.opaque or message.pinned:
            return message, None
        if message.name == RECALL_TOOL or (self._recall and not recall):
            return message, None
        handle = handle_of(message.text) if self._recall else None
        framing = max(0, message.tokens - estimate(message.text))
        text = shorten(message.text, max(1, cap - framing), handle=handle)
        if text is None:
            return message, None
        tokens = framing + estimate(text)
        return replace(message, text=text, tokens=tokens, blocks=1, edited=True, handle=handle), handle

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
        recall = self._recall and call.recall
        masked = self._masks.shown(call.lane, call.history, standing, recall=recall)
        view = cut_view(masked.history, standing, masked.altered)
        tools = sum([tool.tokens for tool in call.tools])
        moment = _moment(
            call=call,
            routed=routed,
            time=now,
            lane=lane,
            standing=standing,
            masked=masked,
            view=view,
            tools=tools,
            tokens=view.tokens + tools,
            limit=self._bounds.limit(call, routed, view, ratio),
            recall=recall,
            ratio=ratio,
            harder=harder,
        )
        return self._stay(moment, 0) if self._off else self._choose(moment)

    def _choose(self, now: Moment) -> Viewed:
        if now.forced and now.limit is not None:
            plan = self._fitting(now)
            return self._cut(now, plan, now.limit.rule, self._price(now, plan)) if plan else self._stay(now, 0)
        if now.harder:
            short = self._plan(now, self._keep // 2)
            saved = now.view.tokens - short.tokens if short else 0
            if short and saved >= self._keep // 2 and not has_open_call(now.call.history):
                return self._cut(now, short, "a budget runs out", self._price(now, short))
        if now.routed.escalated and (handed := self._handed_over(now)) is not None:
            return handed
        plan = self._plan(now, self._keep, exact=False)
        if plan is None:
            return self._stay(now, 0)
        if self._cause(now, plan, self._price(now, plan)) is not None:
            exact = self._plan(now, self._keep)
            price = self._price(now, exact) if exact else 0
            cause = self._cause(now, exact, price) if exact else None
            if exact is not None and cause is not None:
                return self._cut(now, exact, cause, price)
        charges = self._tariff(now)
        return self._stay(now, max(0, charges.reading(now.tokens) - charges.reading(plan.tokens + now.tools)))

    def _handed_over(self, now: Moment) -> Viewed | None:
        """The cut with which a better tier takes over, where its cache is cold and that is cheaper; None where it is not."""
        if now.lane.model in (None, str(now.routed.model)) or has_open_call(now.call.history):
            return None
        plan = self._plan(now, self._keep)
        if plan is None or now.view.tokens - plan.tokens < self._keep:
            return None
        charges, price = self._tariff(now), self._price(now, plan)
        before = self._handing.tariff_of(now.lane.model, self._ttl)
        summary = price - charges.rewriting(plan.tokens + now.tools, plan.prefix + now.tools)
        if not cheaper(charges, before, now.tokens, plan.tokens + now.tools, summary):
            return None
        return self._cut(now, plan, "a better tier takes over, whose cache is cold", price)

    def _plan(self, now: Moment, keep: int, *, exact: bool = True) -> Plan | None:
        """What a cut that keeps a tail of `keep` tokens would leave, by the policy's strategy."""
        if not self._masking:
            return plan_cut(now.masked.history, now.standing, keep=keep, ledger=self._inserted, exact=exact)
        return masking(
            now.call.history,
            now.masked,
            now.standing,
            now.view.tokens,
            keep=keep,
            recall=now.recall,
            exact=exact,
        )

    def _fitting(self, now: Moment) -> Plan | None:
        """The mildest cut after which the prompt fits and has room to grow in. Where masking is not enough, history is removed."""
        for share in (1, 2, 4, 8) if self._masking else ():
            plan = self._plan(now, self._keep // share)
            if plan is not None and plan.tokens <= self._bounds.room(now, plan) * 3 // 4:
                return plan
        history, room = now.masked.history, partial(self._bounds.room, now)
        return fitting(history, now.standing, keep=self._keep, ledger=self._inserted, room=room)

    def _tariff(self, now: Moment) -> Tariff:
        """The tariff of the model that answers, kept for the next call: mostly the same model answers it."""
        rates, known = now.routed.rates, facts(now.routed.model)
        latest = self._latest
        if latest is None or latest[0] is not rates or latest[1] is not known:
            latest = self._latest = rates, known, tariff(rates, known, self._ttl)
        return latest[2]

    def _price(self, now: Moment, plan: Plan) -> int:
        """What the cut costs: rewriting what follows the head, and a summary of what is removed, nano-USD."""
        charges = self._tariff(now)
        summary = 0 if plan.masks else self._summaries.cost(now, plan, charges, self._inserted)
        return summary + charges.rewriting(plan.tokens + now.tools, plan.prefix + now.tools)

    def _cause(self, now: Moment, plan: Plan, price: int) -> str | None:
        """Why a cut pays now, or None. `price` is what it costs, nano-USD."""
        saved = now.view.tokens - plan.tokens
        if now.tokens < self._tariff(now).floor or saved < self._keep or has_open_call(now.call.history):
            return None
        lane, model = now.lane, now.routed.model
        if lane.model is not None and lane.model != str(model):
            return "the model changed and its cache is cold"
        if lane.calls and now.time - lane.last_at_ms > cache_lifetime_ms(facts(model), self._ttl):
            return "the cache has expired"
        return _PAID if self._due(now, price) else None

    @staticmethod
    def _due(now: Moment, price: int) -> bool:
        """Whether re-reading has cost as much as a cut of this price by now."""
        return 0 < now.lane.rent >= (price if now.lane.cuts else FIRST_CUT * price)

    def _stay(self, now: Moment, rent: int) -> Viewed:
        """Keep the view as it is; `rent` is what this call pays for what a cut would have removed, nano-USD."""
        lane = _used(now.lane, calls=now.lane.calls + 1, rent=now.lane.rent + rent)
        refused = too_long(now.limit, now.tokens, observed=self._observed, off=self._off)
        run = now.call.step.run.id
        return self._viewed(
            now, now.view, lane, refused or ALLOWED, now.masked.elided if now.lane.kept_in != run else ()
        )

    def _cut(self, now: Moment, plan: Plan, cause: str, price: int) -> Viewed:
        """Make a cut: what was read again later goes first, and alone where that is most of what the cut would save."""
        repeated = None if plan.masks else self._repeated(now, plan, cause)
        if repeated is not None:
            return self._masked(now, repeated, f"{cause}; only results that were read again later are left out")
        return self._masked(now, plan, cause, price) if plan.masks else self._removed(now, plan, cause, price)

    def _repeated(self, now: Moment, plan: Plan, cause: str) -> Plan | None:
        """The cut that leaves out what was read again later, where that saves at least half as much and pays as well; else None."""
        history, standing = now.call.history, now.standing
        positions = superseded(history.messages, standing.start, plan.start)
        positions = tuple(sorted({*positions, *standing.dropped}))
        less = dropping(history, now.masked, standing, now.view.tokens, positions, recall=now.recall)
        if less is None or 2 * (now.view.tokens - less.tokens) < now.view.tokens - plan.tokens:
            return None
        if now.forced and now.limit is not None:
            return less if less.tokens <= (now.limit.force - now.tools) * 3 // 4 else None
        if cause != _PAID:
            return less
        return less if self._due(now, self._price(now, less)) else None

    def _masked(self, now: Moment, plan: Plan, cause: str, price: int | None = None) -> Viewed:
        """Show results of tools as placeholders and remove nothing."""
        history, before = now.call.history, now.standing
        messages, dropped = history.messages, plan.kept
        base = before.cut or Cut(first="", text="", tokens=0, at_call=0)
        cut = replace(
            base,
            at_call=now.lane.calls,
            masked=base.masked if dropped else messages[plan.start].key,
            dropped=tuple(messages[position].key for position in dropped),
            seen=messages[-1].key if dropped else "",
        )
        standing = newest_cut((cut,), history)
        masked = self._masks.shown(now.call.lane, history, standing, recall=now.recall)
        view = cut_view(masked.history, standing, masked.altered, before.verbatim)
        if standing is NO_CUT or view.tokens >= now.view.tokens:
            return self._stay(now, 0)
        price = self._price(now, plan) if price is None else price
        known = now.masked.elided if now.lane.kept_in == now.call.step.run.id else ()
        elided = tuple(pair for pair in masked.elided if pair not in known)
        return self._made(now, cut, view, cause, price, elided)

    def _removed(self, now: Moment, plan: Plan, cause: str, price: int) -> Viewed:
        """Leave old history out, and list its identifiers."""
        history, standing = now.call.history, now.standing
        messages = history.messages
        pinned = {*plan.head, *plan.kept}
        room = self._ledger
        limit = self._bounds.after(now, plan)
        if limit is not None:
            room = min(room, limit.refuse - now.tools - (plan.tokens - self._inserted))
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
        made = self._made(now, cut, view, cause, price)
        room = now.view.tokens - view.tokens - 1
        if limit is not None:
            room = min(room, limit.refuse - now.tools - view.tokens)
        if not self._summaries.on or made.decision.refuses:
            return made
        asking = self._summaries.asking(now, plan, self._tariff(now), self._inserted, room)
        return (
            replace(made, asking=asking)
            if asking
            else self.untold(made, "no model may read what is removed in one prompt")
        )

    @staticmethod
    def told(call: ModelCall, viewed: Viewed, asking: Asking, response: ModelResponse) -> Viewed | str:
        """The view with the summary that was asked for, beside the ledger; why it is of no use, where it is not."""
        return told(call.history, viewed, asking, response)

    @staticmethod
    def untold(viewed: Viewed, why: str) -> Viewed:
        """The view without a summary, where the policy asks for one: the ledger alone stands for what is removed, and says so."""
        return untold(viewed, why)

    def _made(
        self, now: Moment, cut: Cut, view: View, cause: str, price: int, elided: tuple[tuple[str, str], ...] = ()
    ) -> Viewed:
        """A new cut: the lane with it, and what is said of it."""
        lane = replace(now.lane, calls=now.lane.calls + 1, rent=0, cuts=(*now.lane.cuts, cut)[-_CUTS_KEPT:])
        if view.altered:
            lane = replace(lane, previous_last=None)  # the prefix up to there is another one now
        decision = reported(now, view, cause, price, observed=self._observed)
        limit = self._bounds.limit(now.call, now.routed, view, now.ratio)
        refused = too_long(limit, view.tokens + now.tools, observed=self._observed, off=False)
        return self._viewed(now, view, lane, refused or decision, elided)

    def _viewed(
        self, now: Moment, view: View, lane: Lane, decision: Decision, elided: tuple[tuple[str, str], ...] = ()
    ) -> Viewed:
        """In observe mode the cuts are remembered, so that their effect can be reported, and the model sees everything.

        `elided`: what placeholders leave out and is not stored in this run yet; a lane outlives a run, the recall tool reads by run.
        """
        if self._observed:
            return _shown(view=View(history=now.call.history), lane=lane, decision=decision)
        if view.altered and lane.kept_in != now.call.step.run.id:
            lane = replace(lane, kept_in=now.call.step.run.id)
        return _shown(view=view, lane=lane, decision=decision, elided=elided)
