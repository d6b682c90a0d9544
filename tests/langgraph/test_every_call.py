"""Every model call of every kind of graph, in every mode, is governed once and made once."""

from __future__ import annotations

from typing import Any

import pytest

from governor_langgraph import govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import OPEN, Runs, Streaming, Whole, once

GIVEN: dict[str, Any] = {"messages": [("user", "what is x?")]}
MATRIX = [(name, mode) for name in graphs.SYNC for mode in modes.ALL_MODES] + [
    (name, mode) for name in graphs.ASYNC for mode in modes.ASYNC_MODES
]


def build(name: str, model: Any) -> Any:
    return {**graphs.SYNC, **graphs.ASYNC}[name](model)


def rule_for(name: str) -> Any:
    return once("search", {"q": "x"}) if name in ("tool_loop", "agent", "react") else lambda messages: "an answer"


@pytest.mark.parametrize(("name", "mode"), MATRIX)
@pytest.mark.parametrize("kind", [Whole, Streaming])
async def test_a_governed_graph_answers_as_the_ungoverned_one_and_counts_every_provider_call(
    name: str, mode: str, kind: type[Whole]
) -> None:
    bare, model = kind(rule=rule_for(name)), kind(rule=rule_for(name))
    expected = await modes.ALL_MODES[mode](build(name, bare), GIVEN, {"callbacks": [Runs()]})

    seen = Runs()
    with watch() as runs:
        actual = await modes.ALL_MODES[mode](govern(build(name, model), OPEN), GIVEN, {"callbacks": [seen]})

    assert expected == actual
    assert len(bare.calls) == len(model.calls) > 0
    assert len(model.calls) == len(seen.starts) == seen.ends
    assert len(model.calls) == sum(report.state.model_calls for report in runs)


@pytest.mark.parametrize("mode", list(modes.ALL_MODES))
async def test_every_branch_of_a_fan_out_counts_to_the_one_run(mode: str) -> None:
    model = Streaming(rule=lambda messages: f"about {messages[0].text}")
    app = govern(graphs.fan_out(model), OPEN)

    with watch() as runs:
        await modes.ALL_MODES[mode](app, {"topics": ["a", "b", "c"], "notes": []}, {})

    assert all(report.state.model_calls == 3 for report in runs)
    assert len(model.calls) == 3 * len(runs)
