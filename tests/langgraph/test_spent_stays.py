"""Going back in time, forking a thread or resuming it never lowers what was spent: ledgers are in the store, not in the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from governor import RunStopped
from governor.stores.contract import Store
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, policy, times

GIVEN: Any = {"messages": [("user", "x")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}


def agent() -> Any:
    model = Streaming(rule=times("search", 2, lambda n: {"q": str(n)}), max_tokens=10)
    return graphs.agent(model, checkpointer=InMemorySaver())


def rules(calls: int, scope: str = "tenant", **more: Any) -> dict[str, Any]:
    budgets = [{"id": "b", "scope": scope, "limit": {"model_calls": calls}, **more}]
    return policy(on_exhausted="stop", budgets=budgets, identity={"tenant": "acme"})


def opened(kind: str, folder: Path) -> Store:
    return MemoryStore() if kind == "memory" else SqliteStore(folder / "s.db")


def spent(store: Store) -> int:
    return sum(each.spent for each in store.balances("b/"))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("more", [{}, {"per": "rolling 24h"}, {"per": "month in Europe/Berlin"}])
def test_each_replay_from_an_old_checkpoint_is_paid_again(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    store = opened(kind, tmp_path)
    app = govern(agent(), rules(100, **more), store=store)
    app.invoke(GIVEN, THREAD)
    history = list(app.get_state_history(THREAD))

    known = [spent(store)]
    for snapshot in history[1:]:
        app.invoke(None, snapshot.config)
        known.append(spent(store))

    assert 3 == known[0]
    assert sorted(known) == known
    assert known[-1] > known[0]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_fork_of_a_thread_has_what_its_thread_has_left_and_no_more(kind: str, tmp_path: Path) -> None:
    store = opened(kind, tmp_path)
    app = govern(agent(), rules(4, scope="thread"), store=store)
    app.invoke(GIVEN, THREAD)
    first = list(app.get_state_history(THREAD))[-2]
    fork = app.update_state(first.config, {"messages": [("user", "otherwise")]})

    with pytest.raises(RunStopped) as caught:
        app.invoke(None, fork)

    assert ("budget.exhausted", 4) == (caught.value.reason.code, spent(store))
