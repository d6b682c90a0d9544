"""`governor policy check`: what is not enforced yet, what can never act, what a reviewer should know."""

from pathlib import Path

import pytest

from governor.policy import Finding, check, load
from governor.policy.not_yet import NOT_YET_ENFORCED

HEAD = "governor: 1\nname: test\nlimits: {steps: 5, time: 1m}\nbudgets: [{id: run, scope: run, limit: {usd: 1}}]\n"


def codes(text: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.path) for finding in check(load(HEAD + text))]


def rules(*written: str) -> str:
    return "tools:\n  rules:\n" + "".join(f"    - {rule}\n" for rule in written)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (rules("{id: a, tool: x, decide: allow, when: args.x < 5}"), "tools.rules.0.when.cel"),
        ("trace: {redact: [email]}", "trace.redact"),
        ("trace: {content: redacted}", "trace.content"),
        ("trace: {content: full}", "trace.content"),
        ("exceptions: [{id: e, rules: run, owner: o, reason: r, expires: 2030-01-01}]", "exceptions"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_part_without_an_engine_is_reported_where_it_is_used(text: str, path: str) -> None:
    assert ("not-yet-enforced", path) in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "routing: {estimator: off}",
        "routing: {estimator: hashed, frontier_share: 20%, quality: {max_loss: 2%}}",
        "context: {compact: {strategy: ledger}, order: auto, cache: {ttl: 1h}, tool_results: {cap: 2k}}",
        "context: {compact: {strategy: mask}}",
        "context: {compact: {strategy: summarise}}",
        "loops: {respond: [nudge, stop], nudge_at: 2}",
        "on_exhausted: stop",
        rules("{id: a, tool: x, decide: allow, when: {after: {tool: y}}}"),
        "trace: {content: none}",
    ],
    ids=repr,
)
def test_a_part_that_is_enforced_is_not_reported(text: str) -> None:
    assert "not-yet-enforced" not in [code for code, _ in codes(text)]


def test_every_line_of_the_table_is_a_path_of_the_schema() -> None:
    from governor.policy.schema import Policy

    for pattern in NOT_YET_ENFORCED:
        assert pattern.split(".")[0] in Policy.model_fields


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        (
            rules("{id: a, tool: get_x, decide: allow}", "{id: b, tool: 'get_*', decide: deny}"),
            "shadowed-rule",
            "tools.rules.0",
        ),
        (
            rules("{id: b, tool: 'get_*', decide: deny}", "{id: a, tool: get_x, decide: ask, expires: 5m}"),
            "shadowed-rule",
            "tools.rules.1",
        ),
        (
            rules("{id: a, tool: ['get_*', x], decide: allow}", "{id: b, tool: [x, y], decide: deny}"),
            "overlap",
            "tools.rules.1",
        ),
        (rules("{id: a, tool: '*', decide: allow}"), "allow-everything", "tools.rules.0.tool"),
        (rules("{id: a, tool: x, decide: nudge}"), "nudge-without-words", "tools.rules.0"),
        (rules("{id: a, tool: x, decide: ask}"), "ask-without-end", "tools.rules.0"),
        (rules("{id: a, tool: x, decide: deny, mode: observe}"), "observe", "tools.rules.0.mode"),
        ("tools: {default: allow, rules: [{id: a, tool: x, decide: allow}]}", "rule-without-effect", "tools.rules.0"),
        ("tools: {default: allow}", "default-allow", "tools.default"),
        ("loops: {mode: observe}", "observe", "loops.mode"),
        ("loops: {tools: [{tool: x, as: off}, {tool: [y, 'get_*'], as: off}]}", "loops-off", "loops.tools.1"),
        ("loops: {tools: [{tool: 'get_*', as: poll, every: 5s}]}", "loops-off", "loops.tools.0"),
        ("tiers: {a: {model: 'openai:nobody-knows'}}", "unknown-price", "tiers.a.model"),
        ("tiers: {a: {model: 'opnai:gpt-4o'}}", "unknown-provider", "tiers.a.model"),
        (
            rules("{id: a, tool: x, decide: deny, when: {args.n: {above: 5, below: 1}}}"),
            "never-matches",
            "tools.rules.0.when.args.n",
        ),
        ("mode: observe", "observe", "mode"),
        (
            "tiers: {a: {model: 'x:y'}}\nrouting:\n  rules:\n    - {id: r, when: {node: 'p*'}, tier: a}\n"
            "    - {id: s, when: {node: plan}, tier: a}\n",
            "shadowed-rule",
            "routing.rules.1",
        ),
        (
            "tiers: {a: {model: 'x:y'}}\nrouting: {escalate: {after: loop}}",
            "nowhere-to-escalate",
            "tiers",
        ),
        ("routing: {quality: {max_loss: 2%, shadow: 1%}}", "no-outcomes", "routing.quality.shadow"),
        ("routing: {quality: {max_loss: 2%, shadow_per_day: 5}}", "no-shadow", "routing.quality.shadow_per_day"),
        (
            "tiers: {a: {model: 'x:y'}, b: {model: 'x:z'}}\nrouting: {escalate: {after: low_score}}",
            "nothing-scored",
            "routing.escalate.after",
        ),
        (
            "tiers: {a: {model: 'x:y'}, b: {model: 'x:z'}}\nrouting: {escalate: {after: disagreement}}",
            "nothing-compared",
            "routing.escalate.after",
        ),
        (
            "tiers: {a: {model: 'x:y', headers: {Authorization: Bearer abc}}}",
            "secret-in-policy",
            "tiers.a.headers",
        ),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_policy_that_may_not_do_what_it_says_is_remarked_on(text: str, code: str, path: str) -> None:
    assert (code, path) in codes(text)


def test_rules_that_complete_each_other_are_not_remarked_on() -> None:
    text = rules(
        "{id: small, tool: refund, when: {args.n: {at_most: 5}}, decide: allow}",
        "{id: big, tool: refund, when: {args.n: {above: 5}}, decide: ask, expires: 5m}",
        "{id: seen, tool: 'get_*', decide: deny, mode: observe}",
        "{id: reads, tool: get_x, decide: allow}",
    )

    assert {("observe", "tools.rules.2.mode")} == {each for each in codes(text) if each[0] != "overlap"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("mode: observe\nloops: {mode: observe}", "observe"),
        ("loops: {tools: [{tool: heartbeat, as: off}, {tool: '*_status', as: poll, for_at_most: 5m}]}", "loops-off"),
        ("tiers: {a: {model: 'openai:gpt-4o'}, b: {model: 'ollama:x', price: {input: 0, output: 0}}}", "unknown-price"),
        ("tiers: {a: {model: 'openai:gpt-4o'}, b: {model: 'bedrock_converse:x'}}", "unknown-provider"),
        (rules("{id: a, tool: x, decide: deny, when: {args.n: {at_least: 5, at_most: 5}}}"), "never-matches"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_in_order_is_not_remarked_on(text: str, code: str) -> None:
    found = codes(text)

    assert (code, "loops.mode") not in found
    assert code not in [each for each, path in found if path != "mode"]


def test_a_tier_that_no_money_limit_could_hold_is_an_error_with_its_remedy() -> None:
    text = "tiers:\n  a: {model: 'openai:gpt-4o'}\n  b: {model: 'openai:nobody-knows'}\n"

    (finding,) = [each for each in check(load(HEAD + text)) if each.code == "unknown-price"]

    assert (
        "<text>:7:7: error: tier b (openai:nobody-knows) has no known price, and budget run limits money: no run would start. "
        "Add `price: {input: ..., output: ...}` to tiers.b, in dollars per million tokens, or, where the name is an alias, "
        "`serves: [provider:model]`: the models that may answer under it. [unknown-price]"
    ) == str(finding)


@pytest.mark.parametrize(
    "budget",
    ["{tokens: 5k}}", "{usd: 1}, tool: x, fee: 0.1}", "{usd: 1}, scope: tool, fee: 0.1, tool: x}"],
    ids=["tokens", "tool", "scope"],
)
def test_without_a_limit_on_what_models_cost_a_price_is_not_needed(budget: str) -> None:
    scope = "" if "scope" in budget else "scope: run, "
    text = f"governor: 1\nname: t\ntiers: {{a: {{model: 'openai:nobody-knows'}}}}\nbudgets: [{{id: b, {scope}limit: {budget}]\n"

    assert "unknown-price" not in [finding.code for finding in check(load(text))]


@pytest.mark.parametrize(
    ("model", "remedy"),
    [("opnai:x", "Did you mean `openai`?"), ("qqqq:x", "It works only where a package of that provider is installed.")],
    ids=["near", "far"],
)
def test_a_provider_nobody_knows_is_a_warning_with_the_nearest_known_one(model: str, remedy: str) -> None:
    (finding,) = [each for each in check(load(f"{HEAD}tiers: {{a: {{model: '{model}'}}}}\n")) if "prov" in each.code]

    assert ("warning", True) == (finding.severity, finding.message.endswith(remedy))


def test_every_provider_with_a_price_list_or_a_client_of_our_own_is_known() -> None:
    import governor_anthropic
    import governor_bedrock
    import governor_openai
    from governor import prices
    from governor.policy.providers import KNOWN_PROVIDERS

    ours = {*governor_anthropic.PROVIDERS, *governor_bedrock.PROVIDERS, *governor_openai.PROVIDERS}

    assert set() == (ours | set(prices._PROVIDERS)) - KNOWN_PROVIDERS


SHADOWED = [
    rules("{id: a, tool: get_x, decide: allow}", "{id: b, tool: 'get_*', decide: deny}"),
    "tiers: {t: {model: 'openai:gpt-4o'}}\nrouting: {rules: [{id: r, when: {node: '*'}, tier: t}, {id: s, when: {node: p}, tier: t}]}",
]


@pytest.mark.parametrize("text", SHADOWED, ids=["tools", "routing"])
def test_a_rule_that_never_decides_is_an_error(text: str) -> None:
    assert ["error"] == [each.severity for each in check(load(HEAD + text)) if each.code == "shadowed-rule"]


@pytest.mark.parametrize(
    ("parent", "child", "severity", "path"),
    [
        ("{id: a, tool: get_x, decide: allow}", "{id: b, tool: 'get_*', decide: deny}", "info", "tools.rules.0"),
        ("{id: b, tool: 'get_*', decide: deny}", "{id: a, tool: get_x, decide: allow}", "error", "tools.rules.1"),
        ("{id: a, tool: get_x, decide: allow}", "{id: a, tool: get_x, decide: deny}", None, None),
    ],
    ids=["child over parent", "parent over child", "same rule"],
)
def test_a_child_may_overrule_its_parent_and_is_told_where_it_could_not(
    tmp_path: Path, parent: str, child: str, severity: str | None, path: str | None
) -> None:
    (tmp_path / "p.yaml").write_text("governor: 1\nname: p\n" + rules(parent), encoding="utf-8")
    (tmp_path / "c.yaml").write_text("governor: 1\nname: c\nextends: ./p.yaml\n" + rules(child), encoding="utf-8")

    found = [each for each in check(load(tmp_path / "c.yaml")) if each.code == "shadowed-rule"]

    assert ([(severity, path)] if severity else []) == [(each.severity, each.path) for each in found]


def test_a_header_that_reads_the_environment_is_no_secret() -> None:
    assert [] == [
        c for c, _ in codes("tiers: {a: {model: 'x:y', headers: {Authorization: '${KEY}'}}}") if c.startswith("secret")
    ]


def test_a_policy_without_bounds_is_remarked_on() -> None:
    findings = check(load("governor: 1\nname: test\nbudgets: [{id: u, scope: user, limit: {usd: 1}, hard: false}]\n"))

    assert {"no-hard-budget", "no-step-limit", "no-time-limit", "no-tools", "scope-without-name"} == {
        finding.code for finding in findings
    }


def test_a_finding_has_a_place_and_reads_like_a_compiler_message() -> None:
    (finding,) = [each for each in check(load(HEAD + "mode: observe\n")) if each.code == "observe"]

    assert "<text>:5:1: warning: this policy only observes: every call goes through [observe]" == str(finding)


def test_warnings_of_a_loaded_policy_leave_out_what_is_only_for_reading() -> None:
    loaded = load(HEAD + "mode: observe\n")

    assert {"info"} == {finding.severity for finding in check(loaded)} - {each.severity for each in loaded.warnings}
    assert all(isinstance(finding, Finding) for finding in loaded.warnings)


def test_what_a_parent_uses_is_reported_in_the_parent(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("governor: 1\nname: p\ntrace: {redact: [email]}\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("governor: 1\nname: c\nextends: ./p.yaml\nlimits: {steps: 5}\n", encoding="utf-8")

    (finding,) = [each for each in load(tmp_path / "c.yaml").warnings if each.code == "not-yet-enforced"]

    assert ("p.yaml", 3, 9) == (Path(finding.file).name, finding.line, finding.column)


@pytest.mark.parametrize("recall", [True, False])
def test_masking_what_nothing_reads_back_is_pointed_out(recall: bool) -> None:
    found = codes(f"context: {{compact: {{strategy: mask}}, tool_results: {{recall: {str(recall).lower()}}}}}")

    assert recall != (("mask-without-recall", "context.tool_results.recall") in found)
