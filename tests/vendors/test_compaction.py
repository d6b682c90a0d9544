"""Masked and summarised histories on the wire: every provider takes them, caches hit up to the cut, and the ledger is what was billed."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from governor.controls.compact.summary import ALONE, APPENDED
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_sandbox import Conversation, Record, Reply, Sandbox, Scenario, ScriptedCall
from tests.langgraph import graphs
from tests.vendors.clients import CLIENTS, FAMILIES, MODELS
from tests.vendors.test_foreign import ORIGIN

PAGES = 10
SUMMARY = "All pages were dull."
GIVEN: Any = {"messages": [HumanMessage("Read the book.")]}


@tool
def chapter(page: int) -> str:
    """Fetch a page that is like no other."""
    return "\n".join(f"page {page}, line {n}: nothing to see here" for n in range(100))


class Book:
    """A model that reads page after page, and writes summaries where it is asked to."""

    def __init__(self) -> None:
        self.pages = iter(range(PAGES))
        self.calls = 0
        self.asked: dict[int, str] = {}
        """Number of the request to its question."""

    def __call__(self, talk: Conversation) -> Reply | str:
        self.calls += 1
        if talk.last.text.endswith(APPENDED) or talk.system == ALONE:
            self.asked[self.calls - 1] = talk.last.text
            return SUMMARY
        page = next(self.pages, None)
        if page is None:
            return "the end"
        return Reply(text=f"Page {page}.", tool_calls=(ScriptedCall(name="chapter", args={"page": page}),))


def read(box: Sandbox, family: str, **parts: Any) -> tuple[list[Record], dict[str, int]]:
    """Run the graph; what the provider saw, and what the ledger says."""
    store = MemoryStore()
    policy = {
        "governor": 1,
        "name": "p",
        "tools": {"default": "allow"},
        "loops": {"mode": "observe"},
        "budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 90, "tokens": "9M"}}],
        **parts,
    }
    clients = {name: CLIENTS[name](box, max_tokens=1_000) for name in FAMILIES if name in parts.get("tiers", {})}
    app = govern(
        graphs.tool_loop(CLIENTS[family](box, max_tokens=1_000), [chapter]), policy, store=store, clients=clients
    )

    result = app.invoke(GIVEN, {"recursion_limit": 99})

    assert "the end" == result["messages"][-1].text
    assert 2 * PAGES + 2 == len(result["messages"])
    spent = {str(each.unit): each.spent for each in store.balances()}
    assert not any(each.reserved for each in store.balances())
    return list(box.meter.records), spent


def billed(records: list[Record]) -> dict[str, int]:
    tokens = sum(r.usage.uncached + r.usage.cache_read + r.usage.cache_write_5m + r.usage.output for r in records)
    return {"model_calls": len(records), "tokens": tokens}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_masked_history_is_taken_and_what_comes_before_the_masks_is_read_from_the_cache(family: str) -> None:
    context = {
        "compact": {"strategy": "mask", "keep_tail": "2k"},
        "max_input_tokens": "14k",
        "cache": {"ttl": "5m"},
        "order": "auto",
    }
    with Sandbox(Scenario.from_callable(Book())) as box:
        records, spent = read(box, family, context=context)

    assert {200} == {record.status for record in records}
    assert billed(records) == spent
    prompts = [r.usage.uncached + r.usage.cache_read + r.usage.cache_write_5m for r in records]
    cut = next(i for i in range(1, len(prompts)) if prompts[i] < prompts[i - 1])
    assert prompts[cut] < prompts[cut - 1] / 2
    assert max(prompts) <= 14_000
    later = [
        record for before, record, size in zip(prompts, records[1:], prompts[1:], strict=False) if size > before > 2_500
    ]
    assert all(record.usage.cache_read > 0 for record in later)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_summary_asked_of_the_conversations_own_model_reads_its_cache(family: str) -> None:
    tiers = {
        family: {
            "model": f"{ORIGIN[family]}:{MODELS[family]}",
            "context_window": "22k",
            "max_output_tokens": "8k",
        }
    }
    context = {"compact": {"strategy": "summarise", "keep_tail": "2k"}, "cache": {"ttl": "5m"}, "order": "auto"}
    book = Book()
    with Sandbox(Scenario.from_callable(book)) as box:
        records, spent = read(box, family, context=context, tiers=tiers, routing={"default": family})

    assert {200} == {record.status for record in records}
    assert billed(records) == spent
    assert book.asked
    assert all(text.endswith(APPENDED) for text in book.asked.values())
    asked = min(book.asked)
    usage, before = records[asked].usage, records[asked - 1].usage
    assert usage.cache_read >= 0.9 * (before.cache_read + before.cache_write_5m + before.uncached) - 128


@pytest.mark.parametrize(("here", "there"), list(zip(FAMILIES, (*FAMILIES[1:], FAMILIES[0]), strict=True)))
def test_a_summary_is_asked_of_a_cheaper_tier_of_another_provider_by_its_own_client(here: str, there: str) -> None:
    price = {"input": 0.01, "output": 0.02}
    tiers = {
        here: {"model": f"{ORIGIN[here]}:{MODELS[here]}", "context_window": "14k", "max_output_tokens": "1k"},
        there: {"model": f"{ORIGIN[there]}:{MODELS[there]}", "price": price},
    }
    context = {"compact": {"strategy": "summarise", "keep_tail": "2k"}}
    book = Book()
    with Sandbox(Scenario.from_callable(book)) as box:
        records, spent = read(box, here, context=context, tiers=tiers, routing={"default": here})

    assert {200} == {record.status for record in records}
    assert billed(records) == spent
    asked = [record for record in records if record.model == MODELS[there]]
    assert asked
    assert len(book.asked) == len(asked)
    assert "page 0, line 99" in book.asked[min(book.asked)]
    assert not any(record.stream for record in asked)
