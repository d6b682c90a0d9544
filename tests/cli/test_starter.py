"""`governor init` writes a policy that always loads, whatever a graph's names and descriptions are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.lint import check
from governor.policy.load import LoadedPolicy, load
from governor.policy.matchers import matches_glob
from governor.policy.starter import starter

NASTY = st.text(max_size=40) | st.sampled_from(
    [
        "null",
        "a: b",
        "x # y",
        "- [",
        "{",
        "'",
        '"',
        "\n",
        "\x85",
        "\u2028",
        "\ud800",
        "😀",
        "get_*",
        "[ab]",
        "true",
        "12",
    ]
)
NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    ["null", "a: b", "x # y", '"', "\\", "get_*", "[ab]", "😀", "12", "\x85"]
)
PRICED = ("anthropic:claude-sonnet-4-5", "openai:gpt-5-mini")
MODELS = st.lists(
    st.sampled_from([*PRICED, "x:y#z", "no-provider"]) | NASTY,
    unique=True,
    max_size=5,
)
NODES = st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=8)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, object]:
    """What `describe` could say of a graph, with names nobody would choose."""
    models, nodes = draw(MODELS), draw(NODES)
    return {
        "name": draw(NASTY),
        "nodes": nodes,
        "tools": draw(st.dictionaries(NAMES, NASTY, max_size=6)),
        "models": models,
        "unpriced": [model for model in models if model not in PRICED or draw(st.booleans())],
        "cycles": draw(st.lists(st.lists(st.sampled_from(nodes), min_size=1, max_size=3), max_size=3)) if nodes else [],
    }


def written(graph: dict[str, object]) -> str:
    return starter(**graph)  # type: ignore[arg-type]


def errors_of(loaded: LoadedPolicy) -> Sequence[str]:
    return [str(finding) for finding in check(loaded) if finding.severity == "error"]


def allowing(text: str) -> str:
    """The text with the lines of its tools taken out of their comments, as its reader is told to do."""
    head, _, rules = text.partition("  # rules:\n")
    return head + "  rules:\n" + re.sub(r"^  # ", "  ", rules, flags=re.MULTILINE)


@given(graphs())
def test_the_text_loads_without_an_error_and_denies_every_tool(graph: dict[str, object]) -> None:
    loaded = load(written(graph))

    assert [] == errors_of(loaded)
    assert "deny" == loaded.policy.tools.default
    assert () == loaded.policy.tools.rules


@given(graphs())
def test_with_its_tools_taken_out_of_the_comments_exactly_they_are_allowed(graph: dict[str, object]) -> None:
    tools: dict[str, str] = graph["tools"]  # type: ignore[assignment]
    text = written(graph)

    policy = load(allowing(text)).policy

    if tools:
        assert list(tools) == [
            tool for tool, rule in zip(tools, policy.tools.rules, strict=True) if matches_glob(rule.tool, tool)
        ]
        assert not any(
            matches_glob(rule.tool, f"{tool}x") for tool, rule in zip(tools, policy.tools.rules, strict=True)
        )
    else:
        assert ("read-only",) == tuple(rule.id for rule in policy.tools.rules)


@given(graphs())
def test_money_is_limited_only_where_every_model_has_a_price(graph: dict[str, object]) -> None:
    policy = load(written(graph)).policy
    (budget,) = policy.budgets

    priced = bool(policy.tiers) and not graph["unpriced"]
    assert priced == (budget.limit.usd is not None)


def test_limits_grow_with_the_nodes_that_can_lead_back_to_themselves() -> None:
    straight = load(starter(name="g", nodes=["a", "b"])).policy
    looping = load(starter(name="g", nodes=["a", "b"], cycles=[["a", "b"]])).policy
    nested = load(starter(name="g", nodes=["a", "a/b", "a/b/c"])).policy

    assert (20, 70) == (straight.limits.steps, looping.limits.steps)
    assert (1, 3) == (straight.limits.depth, nested.limits.depth)
    assert 70 == looping.budgets[0].limit.model_calls


def test_a_description_stands_beside_its_tool_as_a_comment() -> None:
    text = starter(name="g", tools={"search": "Finds\n  things. " + "x" * 200})

    assert re.search(r"^  #   - \{id: search, tool: search, decide: allow\}  # Finds things\. x+…$", text, re.MULTILINE)
