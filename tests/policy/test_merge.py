"""`extends`: a child may tighten and never loosen."""

from pathlib import Path

import pytest

from governor.errors import PolicyError, PolicyErrors
from governor.policy import load
from governor.policy.merge import tighten
from governor.policy.schema import Policy

PARENT = """governor: 1
name: parent
mode: enforce
tiers: {big: {model: "a:b", max_output_tokens: 4k, price: {input: 3, output: 15}}, own: {model: "a:d", args: {region: eu}}}
routing:
  rules: [{id: pinned, when: {node: legal}, tier: big, lock: true}]
  escalate: {after: [loop], for: 6 steps, at_most: 2 per run}
  frontier_share: 20%
context: {max_input_tokens: 100k, tool_results: {cap: 2k}}
loops: {respond: [nudge, stop], nudge_at: 3, stop_at: 8, mode: enforce}
limits: {steps: 200, time: 15m}
budgets:
  - {id: run, scope: run, limit: {usd: 0.50}, fee: 0.02, tool: search}
  - {id: day, scope: org, per: 1d, limit: {usd: 25}}
ladder: [{at: 60%, do: compact}]
on_exhausted: finish
rates: [{tier: big, requests_per_minute: 100}]
identity: {tenant: config.tenant}
tools:
  default: deny
  rules:
    - {id: reads, tool: "get_*", decide: allow}
    - {id: no-sql, tool: run_sql, decide: deny}
    - {id: refunds, tool: issue_refund, decide: ask, expires: 15m}
trace: {content: redacted}
"""
HEAD = "governor: 1\nname: child\nextends: ./parent.yaml\n"


@pytest.fixture
def child(tmp_path: Path) -> Path:
    (tmp_path / "parent.yaml").write_text(PARENT, encoding="utf-8")
    return tmp_path / "child.yaml"


def errors_of(path: Path, text: str) -> list[PolicyError]:
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(PolicyErrors) as caught:
        load(path)
    return list(caught.value.errors)


@pytest.mark.parametrize(
    ("text", "message", "parent_line"),
    [
        ("mode: observe", "`mode` is `observe`, weaker than `enforce`", 3),
        ("limits: {steps: 300}", "`limits.steps` is 300, above the 200 it may only lower", 11),
        ("limits: {time: 1h}", "`limits.time` is 1h, above the 15m", 11),
        ("budgets: [{id: day, scope: org, per: 1d, limit: {usd: 26}}]", "`budgets.0.limit.usd` is 26, above the 25", 14),
        ("budgets: [{id: day, scope: org, per: 2d, limit: {usd: 5}}]", "budget `day` must keep its `scope`, `per` and", 14),
        ("budgets: [{id: day, scope: org, per: 1d, limit: {usd: 5}, hard: false}]", "is hard and cannot become soft", 14),
        ("budgets: [{id: day, scope: org, per: 1d, limit: {usd: 5}, mode: observe}]", "cannot become `observe`", 14),
        ("budgets: [{id: run, scope: run, limit: {usd: 0.5}, tool: search, fee: 0.01}]", "the fee of `run` is 0.02", 13),
        ("routing: {rules: [{id: pinned, when: {node: legal}, tier: big}]}", "is locked and cannot be changed", 6),
        ("routing: {escalate: {after: [loop, refusal]}}", "`after` adds refusal", 7),
        ("routing: {escalate: {after: loop, at_most: 3 per run}}", "is 3 per run, above the 2 per run", 7),
        ("routing: {frontier_share: 30%}", "`routing.frontier_share` is 30%, above the 20%", 8),
        ("tiers: {big: {model: 'a:c'}}", "`tiers.big.model` is set by the policy this one extends", 4),
        ("tiers: {big: {model: 'a:b', max_output_tokens: 8k}}", "`tiers.big.max_output_tokens` is 8k, above the 4k", 4),
        ("tiers: {big: {model: 'a:b', price: {input: 1, output: 1}}}", "`tiers.big.price` is set by", 4),
        ("tiers: {own: {model: 'a:d', price: {input: 1, output: 1}}}", "`tiers.own.price` is left out by the policy", 4),
        ("tiers: {own: {model: 'a:d', base_url: 'https://x'}}", "`tiers.own.base_url` is left out by the policy", 4),
        ("tiers: {own: {model: 'a:d', headers: {x: y}}}", "`tiers.own.headers` is left out by the policy", 4),
        ("tiers: {own: {model: 'a:d', gateway: {base_url: 'https://x'}}}", "`tiers.own.gateway` is left out by", 4),
        ("tiers: {own: {model: 'a:d', serves: ['a:e', 'a:f']}}", "`tiers.own.serves` is left out by", 4),
        ("tiers: {own: {model: 'a:d', args: {region: us, base_url: x}}}", "`tiers.own.args` changes region, base_url of", 4),
        ("tiers: {new: {model: 'a:d', serves: ['a:e']}}", "`tiers.new.serves` is not that of tier `own` of", 4),
        ("tiers: {new: {model: 'a:d', price: {input: 1, output: 1}}}", "would also price tier `own` of the policy", 4),
        ("context: {max_input_tokens: 200k}", "`context.max_input_tokens` is 200k, above the 100k", 9),
        ("context: {tool_results: {cap: 3k}}", "`context.tool_results.cap` is 3k, above the 2k", 9),
        ("loops: {respond: [nudge]}", "`respond` drops stop", 10),
        ("loops: {stop_at: 9}", "`loops.stop_at` is 9, above the 8", 10),
        ("loops: {mode: observe}", "would switch off loop protection", 10),
        ("loops: {tools: [{tool: '*', as: off}]}", "`*` as `off` would switch off loop protection that is enforced, for", 10),
        ("loops: {tools: [{tool: [x, 'get_*'], as: off}]}", "`x, get_*` as `off` would switch off loop protection", 10),
        ("loops: {tools: [{tool: 'get_*', as: poll}]}", "`get_*` as `poll` would switch off loop protection", 10),
        ("loops: {tools: [{tool: '*', as: batch}]}", "`*` as `batch` would slow loop protection", 10),
        ("ladder: [{at: 70%, do: compact}]", "leaves out `compact` at 60% or earlier", 15),
        ("on_exhausted: ask", "`on_exhausted` is `ask`, weaker than `finish`", 16),
        ("rates: [{tier: big, requests_per_minute: 200}]", "`rates.0.requests_per_minute` is 200, above the 100", 17),
        ("identity: {tenant: me}", "`identity.tenant` is set by", 18),
        ("tools: {default: allow}", "`tools.default` is `allow`, weaker than `deny`", 20),
        ("tools: {rules: [{id: no-sql, tool: run_sql, decide: allow}]}", "is `allow` here, weaker than `deny`", 23),
        ("tools: {rules: [{id: no-sql, tool: other, decide: deny}]}", "would no longer hold for the same calls", 23),
        ("tools: {rules: [{id: reads, tool: '*', decide: allow}]}", "would no longer hold for the same calls", 22),
        ("tools: {rules: [{id: no-sql, tool: run_sql, decide: deny, mode: observe}]}", "cannot become `observe`", 23),
        ("tools: {rules: [{id: refunds, tool: issue_refund, decide: ask, expires: 1h}]}", "expire after 15m", 24),
        ("trace: {content: full}", "`trace.content` is `full`, weaker than `redacted`", 25),
        ("exceptions: [{id: e, rules: no-sql, owner: o, reason: r, expires: 2030-01-01}]", "lifts no-sql", 1),
    ],
    ids=lambda value: repr(value)[:60],
)  # fmt: skip
def test_an_attempt_to_loosen_names_both_lines(child: Path, text: str, message: str, parent_line: int) -> None:
    (error,) = errors_of(child, text)

    assert message in error.message
    assert (str(child), 4) == (error.file, error.line)
    assert f"parent.yaml:{parent_line}." in str(error)


def test_limits_merge_by_minimum_and_the_rest_is_inherited(child: Path) -> None:
    child.write_text(
        HEAD
        + """limits: {steps: 100, depth: 3}
budgets: [{id: day, scope: org, per: 1d, limit: {usd: 5, tokens: 1M}}, {id: own, scope: user, limit: {usd: 1}}]
loops: {block_at: 5, respond: [nudge, block, stop]}
tools: {rules: [{id: reads, tool: get_order, decide: allow}, {id: mail, tool: send_email, decide: allow}]}
on_exhausted: stop
trace: {content: none}
""",
        encoding="utf-8",
    )

    policy = load(child).policy

    assert (100, 3, 900_000) == (policy.limits.steps, policy.limits.depth, policy.limits.time)
    assert ["run", "day", "own"] == [budget.id for budget in policy.budgets]
    assert (5_000_000_000, 1_000_000) == (policy.budgets[1].limit.usd, policy.budgets[1].limit.tokens)
    assert (3, 5, 8) == (policy.loops.nudge_at, policy.loops.block_at, policy.loops.stop_at)
    assert ["reads", "no-sql", "refunds", "mail"] == [rule.id for rule in policy.tools.rules]
    assert ("get_order",) == policy.tools.rules[0].tool
    assert ("child", "stop", "none", "big") == (
        policy.name,
        policy.on_exhausted,
        policy.trace.content,
        next(iter(policy.tiers)),
    )


def test_what_the_parent_leaves_unset_binds_at_its_default(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("governor: 1\nname: parent\nmode: enforce\n", encoding="utf-8")

    for text, message in (
        ("loops: {mode: observe}", "would switch off loop protection"),
        ("loops: {tools: [{tool: '*', as: off}]}", "would switch off loop protection"),
        ("trace: {content: full}", "`trace.content` is `full`, weaker than `none`"),
        ("trace: {content: redacted}", "`trace.content` is `redacted`, weaker than `none`"),
    ):
        (error,) = errors_of(tmp_path / "child.yaml", text)
        assert message in error.message
        assert (4, "parent.yaml:3." if "loop" in message else "parent.yaml:1.") == (
            error.line,
            str(error)[-len("parent.yaml:3.") :],
        )


def test_baseline_holds_loops_and_the_text_in_traces_for_whoever_extends_it() -> None:
    head = "governor: 1\nname: child\nextends: baseline\n"

    for text in ("trace: {content: full}\n", "loops: {mode: observe}\n", "loops: {tools: [{tool: '*', as: off}]}\n"):
        with pytest.raises(PolicyErrors, match="may only tighten what it extends; see bundled:baseline"):
            load(head + text)


def test_a_child_says_which_of_its_own_tools_repeat_for_good_reason(child: Path) -> None:
    child.write_text(
        HEAD
        + """loops:
  tools:
    - {tool: heartbeat, as: off}
    - {tool: [wait, sleep], as: poll}
    - {tool: "*_status", as: poll, for_at_most: 10m}
    - {tool: "list_*", as: paging}
    - {tool: "send_*", as: batch}
    - {tool: "*", as: strict}
""",
        encoding="utf-8",
    )

    assert ["off", "poll", "poll", "paging", "batch", "strict"] == [tool.as_ for tool in load(child).policy.loops.tools]


def test_a_pattern_that_the_parent_exempts_already_may_be_exempted_again(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(
        "governor: 1\nname: parent\nloops: {tools: [{tool: 'get_*', as: off}]}\n", encoding="utf-8"
    )
    path = tmp_path / "child.yaml"
    path.write_text(HEAD + "loops: {tools: [{tool: ['get_*', get_a], as: off}]}\n", encoding="utf-8")

    assert 2 == len(load(path).policy.loops.tools)


def test_under_a_parent_that_only_observes_loops_a_child_is_free(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("governor: 1\nname: parent\nmode: observe\n", encoding="utf-8")
    path = tmp_path / "child.yaml"
    path.write_text(HEAD + "mode: enforce\nloops: {mode: observe, tools: [{tool: '*', as: off}]}\n", encoding="utf-8")

    policy = load(path).policy
    assert ("enforce", "observe", 1) == (policy.mode, policy.loops.mode, len(policy.loops.tools))


def test_a_child_may_price_a_model_of_its_own_and_restate_a_tier_of_the_parent(child: Path) -> None:
    child.write_text(
        HEAD
        + """tiers:
  mine: {model: "a:e", base_url: "https://x", price: {input: 1, output: 1}}
  own: {model: "a:d", args: {region: eu}, max_output_tokens: 1k}
""",
        encoding="utf-8",
    )

    tiers = load(child).policy.tiers
    assert (["mine", "own", "big"], 1_000, {"region": "eu"}) == (
        list(tiers),
        tiers["own"].max_output_tokens,
        tiers["own"].args,
    )


def test_a_place_of_the_merged_policy_is_in_the_file_that_wrote_it(child: Path) -> None:
    child.write_text(HEAD + "tools:\n  rules:\n    - {id: mail, tool: m, decide: allow}\n", encoding="utf-8")
    loaded = load(child)

    assert (str(child), 6) == loaded.place_of("tools.rules.mail")[:2]
    assert ("parent.yaml", 23) == (
        Path(loaded.place_of("tools.rules.no-sql")[0]).name,
        loaded.line_of("tools.rules.no-sql")[0],
    )
    assert 11 == loaded.line_of("limits.steps")[0]


def test_what_a_parent_brings_is_checked_against_the_child(child: Path) -> None:
    (error,) = errors_of(child, "loops: {block_at: 9}")
    assert "`stop_at` is 8, not above `block_at` (9)" in error.message

    (error,) = errors_of(child, "tools: {rules: [{id: day, tool: x, decide: deny}]}")
    assert "already used" in error.message


def test_a_rule_of_the_child_may_name_a_tier_of_the_parent(child: Path) -> None:
    child.write_text(HEAD + "routing: {default: big}\n", encoding="utf-8")

    assert "big" == load(child).policy.routing.default
    (error,) = errors_of(child, "routing: {default: bigg}")
    assert (4, "Did you mean `big`?") == (error.line, error.remedy)


def test_policies_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{one}.yaml").write_text(f"governor: 1\nname: {one}\nextends: ./{other}.yaml\n", encoding="utf-8")
    (tmp_path / "self.yaml").write_text("governor: 1\nname: s\nextends: ./self.yaml\n", encoding="utf-8")

    for name in ("a", "self"):
        with pytest.raises(PolicyErrors, match="extends itself in a circle"):
            load(tmp_path / f"{name}.yaml")


def test_a_long_chain_is_refused_and_a_short_one_tightens_all_the_way(tmp_path: Path) -> None:
    for level in range(12):
        extends = f"extends: ./p{level - 1}.yaml\n" if level else ""
        text = f"governor: 1\nname: p{level}\n{extends}limits: {{steps: {100 - level}}}\n"
        (tmp_path / f"p{level}.yaml").write_text(text, encoding="utf-8")

    assert 95 == load(tmp_path / "p5.yaml").policy.limits.steps
    with pytest.raises(PolicyErrors, match="more than 8 policies"):
        load(tmp_path / "p11.yaml")


def test_a_mistake_in_a_parent_is_shown_in_the_parent(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("governor: 1\nname: p\nlimits: {steps: 0}\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("governor: 1\nname: c\nextends: ./p.yaml\n", encoding="utf-8")

    with pytest.raises(PolicyErrors) as caught:
        load(tmp_path / "c.yaml")
    assert (str(tmp_path / "p.yaml"), 3) == (caught.value.errors[0].file, caught.value.errors[0].line)


def test_the_hash_of_an_extending_policy_covers_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("governor: 1\nname: c\nextends: ./p.yaml\n", encoding="utf-8")
    hashes: set[str] = set()
    for steps in (10, 11):
        (tmp_path / "p.yaml").write_text(f"governor: 1\nname: p\nlimits: {{steps: {steps}}}\n", encoding="utf-8")
        hashes.add(load(path).hash)

    assert 2 == len(hashes)


def test_a_child_may_let_tokens_weigh_more_and_never_less() -> None:
    weighed = "budgets: [{id: b, scope: org, limit: {tokens: 1M}, weights: {cached: 0.5, output: 4}}]"
    heavier = "budgets: [{id: b, scope: org, limit: {tokens: 1M}, weights: {cached: 0.5, output: 5}}]"
    lighter = "budgets: [{id: b, scope: org, limit: {tokens: 1M}, weights: {cached: 0.1, output: 5}}]"
    parent = load(f"governor: 1\nname: parent\n{weighed}\n").policy

    merged, loosened = tighten(parent, load(f"governor: 1\nname: child\n{heavier}\n").policy)
    kept, refused = tighten(parent, load(f"governor: 1\nname: child\n{lighter}\n").policy)

    assert (5, ()) == (merged.budgets[0].weights and merged.budgets[0].weights.output, loosened)
    assert parent.budgets[0].weights == kept.budgets[0].weights
    assert [("budgets", 0, "weights")] == [each.path for each in refused]


RATED = "tiers: {big: {model: 'openai:gpt-4o'}}\nrates: [{tier: big, tokens_per_minute: 100k, burndown: {output: 2}%s}]"


@pytest.mark.parametrize(
    ("theirs", "path"),
    [
        ("tokens_per_minute: 200k", ("rates", 0, "tokens_per_minute")),
        ("tokens_per_minute: 100k, burndown: {output: 1}", ("rates", 0, "burndown")),
        ("tokens_per_minute: 100k, scope: tenant", ("rates", 0, "scope")),
        ("tokens_per_minute: 100k, fair: tenant 50%", ("rates", 0, "fair")),
    ],
)
def test_a_child_cannot_let_more_through_a_rate(theirs: str, path: tuple[str | int, ...]) -> None:
    ours = ", fair: tenant 25%" if "scope" not in theirs else ""
    parent = load("governor: 1\nname: parent\n" + RATED % ours).policy
    child = load(
        f"governor: 1\nname: child\ntiers: {{big: {{model: 'openai:gpt-4o'}}}}\nrates: [{{tier: big, {theirs}}}]"
    ).policy

    merged, refused = tighten(parent, child)

    assert [path] == [each.path for each in refused]
    assert parent.rates[0] == merged.rates[0]


def test_a_child_may_let_less_through_a_rate_and_share_it() -> None:
    parent = load("governor: 1\nname: parent\n" + RATED % "").policy
    lower = RATED.replace("100k", "50k") % ", fair: tenant 25%, when_full: wait 5s"

    merged, refused = tighten(parent, load("governor: 1\nname: child\n" + lower).policy)

    assert ((), 50_000, "25%", "wait") == (
        refused,
        merged.rates[0].tokens_per_minute,
        merged.rates[0].fair and merged.rates[0].fair.share.written,
        merged.rates[0].when_full.action,
    )


@pytest.mark.parametrize(
    ("parent", "child", "merged"), [("open", "refuse", "refuse"), (None, None, "refuse"), ("open", None, "open")]
)
def test_refusing_without_a_store_is_the_tighter_word(parent: str | None, child: str | None, merged: str) -> None:
    ours, theirs = (
        load({"governor": 1, "name": "p", **({"on_store_loss": word} if word else {})}).policy
        for word in (parent, child)
    )

    found, loosened = tighten(ours, theirs)

    assert (merged, ()) == (found.on_store_loss, loosened)


@pytest.mark.parametrize("parent", [{}, {"on_store_loss": "refuse"}])
def test_a_child_may_not_let_calls_go_on_without_a_store(parent: dict[str, str]) -> None:
    ours = load({"governor": 1, "name": "p", **parent}).policy
    theirs = load({"governor": 1, "name": "p", "on_store_loss": "open"}).policy

    found, loosened = tighten(ours, theirs)

    assert "refuse" == found.on_store_loss or "on_store_loss" not in found.model_fields_set
    assert [("on_store_loss",)] == [each.path for each in loosened]


def test_a_tool_that_may_not_be_left_unjudged_is_not_in_the_merged_policy() -> None:
    parent = Policy.model_validate({"governor": 1, "name": "parent"})
    child = Policy.model_validate(
        {"governor": 1, "name": "child", "loops": {"tools": [{"tool": "get_*", "as": "off"}]}}
    )

    merged, loosenings = tighten(parent, child)

    assert 1 == len(loosenings)
    assert () == merged.loops.tools


def test_a_child_may_not_spend_more_on_shadow_calls(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(
        "governor: 1\nname: parent\nrouting: {quality: {max_loss: 2%, shadow: 1%, shadow_per_day: 5}}\n",
        encoding="utf-8",
    )
    child = tmp_path / "child.yaml"

    def given(amount: int) -> None:
        quality = f"{{max_loss: 1%, shadow: 3%, shadow_per_day: {amount}}}"
        child.write_text(f"{HEAD}routing: {{quality: {quality}}}\n", encoding="utf-8")

    given(4)
    quality = load(child).policy.routing.quality
    assert quality is not None
    assert quality.shadow_per_day == 4_000_000_000
    given(6)
    with pytest.raises(PolicyError, match="shadow_per_day"):
        load(child)
