"""The ways of answering the same queue: bare, with LangChain's stock prompt caching, governed without routing, and governed.

Each has a sandbox of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from langchain_aws.middleware import BedrockPromptCachingMiddleware

from examples.support_desk.app import FRONTIER, build_desk, frontier
from examples.support_desk.database import Database
from examples.support_desk.scenario import Desk, Ticket
from governor_langgraph import GovernorReport, govern
from governor_sandbox import Record, Sandbox, Scenario

__all__ = [
    "FRONTIER",
    "POLICY",
    "STOCK_CACHING",
    "Way",
    "bare",
    "frontier",
    "governed",
    "provider",
    "stock",
    "unrouted",
]

POLICY = Path(__file__).parents[2] / "policies" / "support.yaml"
STOCK_CACHING: Mapping[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
"""What ChatBedrockConverse itself takes to place cache points, for calls outside of `create_agent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way's outcome: what the provider metered, and what became of the database."""

    name: str
    records: tuple[Record, ...]
    end_state: str
    reports: tuple[GovernorReport, ...] = ()

    @property
    def nano_usd(self) -> int:
        """The provider's bill."""
        return sum(record.nano_usd for record in self.records)


@contextmanager
def provider(scenario: Scenario) -> Iterator[Sandbox]:
    """A sandbox that this process's AWS clients find by the standard environment variables."""
    with Sandbox(scenario) as box:
        before = {name: os.environ.get(name) for name in box.env()}
        os.environ.update(box.env())
        try:
            yield box
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def bare(tickets: Sequence[Ticket], advance: Callable[[], None]) -> Way:
    """The desk as it is."""
    return _answer("bare", tickets, lambda database, _: build_desk(frontier(), database), advance)


def stock(tickets: Sequence[Ticket], advance: Callable[[], None]) -> Way:
    """The desk with LangChain's prompt-caching middleware, and with the client's own caching where no middleware reaches."""
    return _answer(
        "stock caching",
        tickets,
        lambda database, _: build_desk(
            frontier(), database, middleware=[BedrockPromptCachingMiddleware()], caching=dict(STOCK_CACHING)
        ),
        advance,
    )


def governed(
    tickets: Sequence[Ticket],
    advance: Callable[[], None],
    policy: Path | Mapping[str, Any] = POLICY,
    name: str = "governed",
) -> Way:
    """The desk behind one line: `govern(desk, policy=...)`."""

    def build(database: Database, reports: list[GovernorReport]) -> Any:
        return govern(build_desk(frontier(), database), policy=policy, on_report=reports.append)

    return _answer(name, tickets, build, advance)


def unrouted(tickets: Sequence[Ticket], advance: Callable[[], None]) -> Way:
    """The same policy with its best tier alone: caching and compaction are left, and the frontier answers everything."""
    policy = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    best = next(iter(policy["tiers"]))
    policy["tiers"], policy["routing"] = {best: policy["tiers"][best]}, {"default": best}
    policy["loops"]["respond"] = [word for word in policy["loops"]["respond"] if word != "escalate"]
    return governed(tickets, advance, policy, name="governed, not routed")


def _answer(
    name: str,
    tickets: Sequence[Ticket],
    build: Callable[[Database, list[GovernorReport]], Any],
    advance: Callable[[], None],
) -> Way:
    database, reports = Database(), list[GovernorReport]()
    with provider(Scenario.from_callable(Desk(tickets))) as box:
        desk = build(database, reports)
        for ticket in tickets:
            config = {"configurable": {"tenant": "harbour-shop", "user": ticket.customer, "thread_id": ticket.id}}
            desk.invoke({"ticket": ticket.message}, config)
            advance()
        records = box.meter.records
    way = Way(name=name, records=records, end_state=database.digest(), reports=tuple(reports))
    database.close()
    return way
