"""Policies as authors might write them, for properties. Every mapping drawn here is a valid policy by itself."""

from typing import Any

from hypothesis import strategies as st

from governor.policy.schema import Policy

Mapping = dict[str, Any]

counts = st.integers(1, 1_000)
durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 99), st.sampled_from(["ms", "s", "m", "h", "d"]))
dollars = st.decimals("0.01", "100", places=2)
tokens = st.one_of(st.integers(1, 10**6), st.integers(1, 999).map(lambda n: f"{n}k"))
globs = st.sampled_from(["get_*", "search_*", "issue_refund", "run_sql", "*", "send_email"])
modes = st.sampled_from(["enforce", "observe"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Mapping]:
    """A mapping with any part of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


limits = some(steps=counts, depth=counts, fan_out=counts, time=durations)
amounts = some(usd=dollars, tokens=tokens, model_calls=counts, tool_calls=counts).filter(bool)
contexts = some(
    max_input_tokens=st.integers(20_000, 10**6),
    order=st.sampled_from(["auto", "off"]),
    cache=st.sampled_from([{"ttl": "5m"}, {"ttl": "1h"}, "off"]),
    tool_results=st.builds(lambda cap: {"cap": cap}, st.integers(1, 9_000)),
)
loops = st.builds(
    lambda rising, respond: dict(zip(("nudge_at", "block_at", "stop_at"), sorted(rising), strict=False)) | respond,
    st.sets(st.integers(1, 50), min_size=3, max_size=3),
    some(
        respond=st.permutations(["nudge", "block", "stop"]),
        mode=modes,
        tools=st.lists(
            st.fixed_dictionaries({"tool": globs, "as": st.sampled_from(["off", "poll", "batch", "strict"])}),
            max_size=2,
        ),
    ),
)
tiers = st.dictionaries(
    st.sampled_from(["big", "small"]),
    st.fixed_dictionaries(
        {"model": st.sampled_from(["openai:gpt-4o", "anthropic:claude-sonnet-4-5"])},
        optional={
            "price": st.builds(lambda n: {"input": n, "output": n}, st.integers(0, 9)),
            "base_url": st.sampled_from(["https://a", "https://b"]),
            "args": st.dictionaries(st.sampled_from(["region", "temperature"]), st.integers(0, 1)),
            "max_output_tokens": st.integers(1, 4_000),
        },
    ),
)


shares = st.integers(1, 100).map(lambda n: f"{n}%")
splits = st.one_of(
    st.sampled_from(["shared", "even"]),
    st.dictionaries(st.sampled_from(["a", "b*", "*"]), shares, min_size=1).map(lambda weights: {"weighted": weights}),
)


@st.composite
def budgets(draw: st.DrawFn) -> list[Mapping]:
    names = draw(st.lists(st.sampled_from(["b1", "b2", "b3"]), unique=True))
    return [
        {"id": name, "scope": "run", "limit": draw(amounts)} | draw(some(hard=st.booleans(), mode=modes, split=splits))
        for name in names
    ]


@st.composite
def tool_rules(draw: st.DrawFn) -> list[Mapping]:
    names = draw(st.lists(st.sampled_from(["t1", "t2", "t3", "t4"]), unique=True))
    decisions = st.sampled_from(["allow", "nudge", "ask", "deny"])
    bound = st.builds(lambda n: {"args.amount": {"at_most": n}}, st.integers(-5, 500))
    return [
        {"id": name, "tool": draw(globs), "decide": draw(decisions)} | draw(some(when=bound, mode=modes))
        for name in names
    ]


@st.composite
def mappings(draw: st.DrawFn) -> Mapping:
    parts = some(
        limits=limits,
        tiers=tiers,
        budgets=budgets(),
        context=contexts,
        loops=loops,
        mode=modes,
        on_exhausted=st.sampled_from(["finish", "stop", "ask"]),
        on_store_loss=st.sampled_from(["refuse", "open"]),
        tools=st.builds(
            lambda rules, default: {"rules": rules} | default,
            tool_rules(),
            some(default=st.sampled_from(["deny", "allow"])),
        ),
        trace=some(content=st.sampled_from(["none", "redacted", "full"])),
    )
    return {"governor": 1, "name": draw(st.sampled_from(["a", "b"]))} | draw(parts)


policies = mappings().map(Policy.model_validate)
