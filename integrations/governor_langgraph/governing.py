"""One policy at work around one graph: its runtime, its tiers' clients, and how a run of it is opened and closed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import get_current
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from governor.calls import RunRef
from governor.drive import drive, drive_async
from governor.errors import ConfigurationError, StoreError
from governor.policy.kept import written_policy
from governor.policy.load import LoadedPolicy, load
from governor.report import GovernorReport
from governor.runs import RunState
from governor.runtime import Runtime
from governor_langgraph.context import GovernedRun, within
from governor_langgraph.langgraph_internals import control_of, is_resuming
from governor_langgraph.losing import opened, pinned, steady_of, with_loss
from governor_langgraph.resuming import Taken, at_root, take_up
from governor_langgraph.second_line import SECOND_LINE
from governor_langgraph.stops import publish, watched
from governor_langgraph.toolspec import CannotCarry, carry_over
from governor_langgraph.vendors import vendor_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from opentelemetry.trace import Span

    from governor.effects import Flow
    from governor.ledger import Balance
    from governor.stores.contract import Store
    from governor_langgraph.context import GovernedStep
    from governor_langgraph.offer import Known

__all__ = ["Governor", "ready"]

T = TypeVar("T")

CARRIES = 256
"""Sets of bound arguments for which it is remembered whether the tiers can take them over."""
AMBIENT_RUNS = 1024
"""Runs remembered that no governed root opened (middleware alone); a fresh run starts when one of more is forgotten."""


class Governor:
    """What every governed node of a graph holds. Safe to share between threads and runs."""

    def __init__(
        self,
        policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy,
        *,
        store: Store | str | None = None,
        runtime: Runtime | None = None,
        name: str = "graph",
        on_report: Callable[[GovernorReport], None] | None = None,
        clients: Mapping[str, BaseChatModel] | None = None,
    ) -> None:
        """Load the policy, unless a `runtime` that already has one is given. Raises PolicyError.

        `clients` are ready-made clients of tiers by name; the others are built from the policy when first needed.
        """
        self.runtime = runtime or Runtime(_loaded(policy), store=store)
        self.policy = self.runtime.policy
        self.controls = self.runtime.controls
        context = self.policy.policy.context
        results = context.tool_results
        shortens = results.cap is not None or context.compact.strategy == "mask"
        self.caps_results = shortens and results.recall and self.policy.policy.mode == "enforce"
        """Whether long or old tool results are left out and a recall tool has to be offered for them."""
        rules, mode_of = self.policy.policy.tools.rules, self.policy.policy.mode_of
        self.asks = any(rule.decide == "ask" and mode_of(rule.mode) == "enforce" for rule in rules)
        """Whether a person may be asked about a tool call."""
        self.name = name
        self.on_report = on_report
        self._given: Mapping[str, BaseChatModel] = dict(clients or {})
        self._clients: dict[str, BaseChatModel] = dict(self._given)
        self._pinned: dict[str, Governor] = {}
        self._ambient: OrderedDict[int | str, tuple[object, GovernedRun]] = OrderedDict()
        self.second_line = SECOND_LINE
        self.offers: dict[str, Known] = {}
        """What each node's model was offered last, by the node's path."""
        self._carries: dict[tuple[type[Any], str], bool] = {}
        self._lock = threading.Lock()

    def equals(self, other: Governor) -> bool:
        """Whether a call that goes through this governor has gone through `other` as well: same policy, same ledgers."""
        return self.policy.hash == other.policy.hash and self.runtime.store.same_as(other.runtime.store)

    def client(self, tier: str) -> BaseChatModel:
        """The client of a tier, built when first needed and kept. Raises ConfigurationError when it cannot be built."""
        with self._lock:
            client = self._clients.get(tier)
            if client is None:
                settings = self.policy.policy.tiers[tier]
                client = self._clients[tier] = vendor_named(settings.provider).build(settings)
            return client

    def can_carry(self, model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
        """Whether every tier could take over a call with these bound arguments. If not, the call stays with its own model.

        Asked before a tier is chosen, because once the money is held for a tier it is too late to find out.
        """
        tiers = self.policy.policy.tiers
        if not tiers or not kwargs:
            return True
        key = (type(model), repr(sorted(kwargs.items(), key=lambda item: item[0])))
        known = self._carries.get(key)
        if known is None:
            known = all(self._takes_over(tier, model, kwargs) for tier in tiers)
            if len(self._carries) < CARRIES:
                self._carries[key] = known
        return known

    def _takes_over(self, tier: str, model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
        try:
            client = self.client(tier)
        except ConfigurationError:
            return True  # it says so itself, with its remedy, when the tier is chosen
        try:
            carry_over(kwargs, model, client)
        except CannotCarry:
            return False
        return True

    # --- flows --------------------------------------------------------------------------------------------------------

    def drive(self, flow: Flow[T], span: Span, invoke: Callable[[Any], Any] | None = None) -> T:
        """Run a flow of the path, blocking."""
        return drive(flow, self.runtime.performer(span, invoke or _nothing_to_invoke))

    async def drive_async(self, flow: Flow[T], span: Span, invoke: Callable[[Any], Any] | None = None) -> T:
        """Run a flow of the path on the event loop."""
        perform, inside = self.runtime.perform_async, invoke or _nothing_to_invoke
        return await drive_async(flow, lambda effect: perform(effect, span, inside))

    # --- runs ---------------------------------------------------------------------------------------------------------

    def open(
        self,
        config: Mapping[str, Any],
        *,
        resume: bool,
        nested: bool,
        outer: GovernedStep | None = None,
        given: Any = None,
    ) -> tuple[GovernedRun, Any]:
        """Begin a run, or take up the one that `config`'s thread was interrupted in. Answers it with the graph's input.

        `given` is that input; an answer in it to what the run asked is governor's, and taken out.
        """
        conf = within(config)
        thread = conf.get("thread_id")
        fresh = self.runtime.new_id()
        key = self._key(config, nested=nested)
        identifier = opened(self.runtime, key, fresh, resume=resume)
        taken = Taken(governor=self, given=given) if identifier == fresh else take_up(self, identifier, given)
        if identifier == fresh and key is not None and self.policy.policy.on_policy_change == "pin":
            pinned(self.runtime, fresh, written_policy(self.policy))
        ref = RunRef(
            id=identifier,
            thread=None if thread is None else str(thread),
            scopes=taken.governor.scopes(config),
            policy_hash=taken.governor.policy.hash,
            started_ms=self.runtime.clock(),
        )
        telemetry = taken.governor.runtime.telemetry
        telemetry.look()
        span = telemetry.run(ref, self.name) if telemetry.traces else INVALID_SPAN
        for decision in taken.decisions:
            telemetry.decided(span, at_root(ref), decision)
        run = GovernedRun(
            ref=ref,
            governor=taken.governor,
            outer=outer,
            otel=set_span_in_context(span) if telemetry.traces else None,
            span=span,
            stopped=taken.held,
            held=taken.held is not None,
            ends=taken.ends,
            void=taken.void,
            stands_for=self,
            steady={} if key is None else steady_of(taken.governor.runtime, identifier),
        )
        return run, taken.given

    def under(self, policy: LoadedPolicy) -> Governor:
        """This graph's governor for a run that is pinned to another policy. Same store, same clock; made once per policy."""
        with self._lock:
            pinned = self._pinned.get(policy.hash)
            if pinned is None:
                pinned = self._pinned[policy.hash] = Governor(
                    policy,
                    runtime=self.runtime.under(policy),
                    name=self.name,
                    on_report=self.on_report,
                    clients=self._given,
                )
            return pinned

    def _key(self, config: Mapping[str, Any], *, nested: bool = False) -> str | None:
        """What the store knows this graph's conversation by; None without a thread."""
        conf = within(config)
        thread = conf.get("thread_id")
        if thread is None:
            return None
        key = f"{self.name}/{thread}"
        return f"{key}/{_without_ids(conf.get('checkpoint_ns') or '')}" if nested else key

    def ambient(self, config: Mapping[str, Any]) -> GovernedRun:
        """The run of code that no governed root opened.

        In a graph that is one per LangGraph run, told apart by its `RunControl`; elsewhere one per thread that the config names, or one
        for this governor's whole life.
        """
        conf = within(config)
        control = control_of(conf)
        key = id(control) if control is not None else f"thread {conf.get('thread_id')}"
        with self._lock:
            known = self._ambient.get(key)
            if known is not None:
                self._ambient.move_to_end(key)
                self.runtime.telemetry.look()
                if known[1].otel is None and self.runtime.telemetry.traces:  # such a run may be older than the tracing
                    known[1].otel = get_current()
                return known[1]
            run, _ = self.open(config, resume=is_resuming(conf), nested=False)
            run.span.end()  # nobody will tell when this run ends; its steps and calls have spans of their own
            self._ambient[key] = (control, run)  # holding the control keeps its id from being given again
            while len(self._ambient) > AMBIENT_RUNS:
                self._ambient.popitem(last=False)
            return run

    def scopes(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Whom a run works for, by the policy's `identity`: `config.<key>` from the run's config, other text as it stands."""
        conf = within(config)
        metadata: Mapping[str, Any] = config.get("metadata") or {}
        identity = self.policy.policy.identity
        found: dict[str, str] = {"agent": self.name}
        for scope in ("org", "tenant", "user", "agent"):
            written: str | None = getattr(identity, scope)
            if written is None:
                continue
            if written.startswith("config."):
                key = written.removeprefix("config.")
                value = conf.get(key, metadata.get(key))
                if value is None:
                    found.pop(scope, None)
                    continue
                written = str(value)
            found[scope] = written
        return found

    def report_of(self, run: RunRef) -> GovernorReport:
        """What the store knows of a run by now."""
        store, ledgers = self.runtime.store, self.controls.budget.ledgers(run, self.runtime.clock())
        state = store.change(run.id, _read)
        return _report(run, state, [store.balances(ledger) for ledger in ledgers])

    async def areport_of(self, run: RunRef) -> GovernorReport:
        """The async twin of `report_of`."""
        store, ledgers = self.runtime.store, self.controls.budget.ledgers(run, self.runtime.clock())
        state = await store.achange(run.id, _read)
        return _report(run, state, [await store.abalances(ledger) for ledger in ledgers])

    def report_on(self, run: GovernedRun) -> GovernorReport:
        """What became of a run of this process; of what this process knows alone when the store does not answer."""
        try:
            return with_loss(run, self.report_of(run.ref))
        except StoreError:
            return with_loss(run, GovernorReport(run=run.ref, state=RunState()))

    async def areport_on(self, run: GovernedRun) -> GovernorReport:
        """The async twin of `report_on`."""
        try:
            return with_loss(run, await self.areport_of(run.ref))
        except StoreError:
            return with_loss(run, GovernorReport(run=run.ref, state=RunState()))

    def latest_report(self, config: Mapping[str, Any]) -> GovernorReport | None:
        """The report of the latest run of `config`'s thread; None when there is none. Asked in any process."""
        key = self._key(config)
        run = None if key is None else self.runtime.store.latest_run(key)
        if run is None:
            return None
        state, thread = self.runtime.store.change(run, _read), str(within(config)["thread_id"])
        hash_ = state.policy or self.policy.hash
        return self.report_of(RunRef(id=run, thread=thread, scopes=self.scopes(config), policy_hash=hash_))

    def report(self, run: GovernedRun) -> None:
        """Tell who asked what became of a run, from the store."""
        if self.on_report is not None or watched():
            self._tell(self.report_on(run))

    async def areport(self, run: GovernedRun) -> None:
        """The async twin of `report`."""
        if self.on_report is not None or watched():
            self._tell(await self.areport_on(run))

    def _tell(self, report: GovernorReport) -> None:
        publish(report)
        if self.on_report is not None:
            self.on_report(report)


def ready(
    policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | Governor,
    *,
    store: Store | str | None = None,
    runtime: Runtime | None = None,
    name: str = "graph",
    on_report: Callable[[GovernorReport], None] | None = None,
    clients: Mapping[str, BaseChatModel] | None = None,
) -> Governor:
    """A governor for a policy, or the one that is given."""
    if isinstance(policy, Governor):
        return policy
    return Governor(policy, store=store, runtime=runtime, name=name, on_report=on_report, clients=clients)


def _loaded(policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy) -> LoadedPolicy:
    if isinstance(policy, LoadedPolicy):
        return policy
    return load(Path(policy) if isinstance(policy, PathLike) else policy)


def _report(run: RunRef, state: RunState, balances: Sequence[Sequence[Balance]]) -> GovernorReport:
    return GovernorReport(run=run, state=state, budgets=tuple(each for found in balances for each in found))


def _read(state: RunState) -> tuple[RunState, RunState]:
    return state, state


def _without_ids(ns: str) -> str:
    return "|".join(part.partition(":")[0] for part in ns.split("|"))


def _nothing_to_invoke(effect: object) -> Any:
    message = f"{type(effect).__name__} outside of a call"
    raise TypeError(message)
