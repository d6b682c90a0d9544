"""Loading: every mistake at its place with a remedy, all of them at once, and nothing but PolicyError."""

import contextlib
import copy
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from governor.errors import PolicyError, PolicyErrors
from governor.policy import bundled_policies, load, policy_hash
from governor.policy.schema import Policy
from tests.policy.strategies import mappings

EXAMPLE = Path(__file__).with_name("example.yaml")
HEAD = "governor: 1\nname: test\n"


def errors_of(text: str) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        load(HEAD + text)
    return [str(error) for error in caught.value.errors]


def test_everything_in_the_example_is_accepted() -> None:
    policy = load(EXAMPLE).policy

    assert "support-fleet" == policy.name
    assert ["frontier", "student", "commodity"] == list(policy.tiers)
    assert "anthropic.claude-sonnet-4-5-20250929-v1:0" == policy.tiers["frontier"].model_name
    assert 8_750_000 == (policy.tiers["commodity"].price.cache_read if policy.tiers["commodity"].price else None)
    assert ("planner", "replan*") == policy.routing.rules[0].when.node
    assert policy.routing.rules[2].lock
    assert (
        (6, 2) == (policy.routing.escalate.for_, policy.routing.escalate.at_most) if policy.routing.escalate else False
    )
    assert 500_000_000 == policy.budgets[0].limit.usd
    assert [86_400_000, "month"] == [policy.budgets[1].per, policy.budgets[2].per]
    assert Decimal("0.6") == policy.ladder[0].at
    assert 20_000 == policy.rates[0].when_full.wait
    assert "poll" == policy.loops.tools[0].as_


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limts: {}", "<text>:3:1: unknown key `limts`. Did you mean `limits`?"),
        ("limits: {step: 3}", "<text>:3:10: unknown key `step`. Did you mean `steps`?"),
        ("limits: {steps: 0}", "<text>:3:17: `limits.steps`: 0 is not above 0: expected a whole number above 0. Write it"),
        ("limits: {steps: -1}", "<text>:3:17: `limits.steps`: -1 is not above 0"),
        ("limits: {steps: true}", "<text>:3:17: `limits.steps`: true is a truth value"),
        ("limits: {steps: .nan}", "<text>:3:17: `limits.steps`: NaN is not a number"),
        ("limits: {steps: .inf}", "<text>:3:17: `limits.steps`: Infinity is not a number"),
        ("limits: {time: 30}", "<text>:3:16: `limits.time`: 30 has no unit: expected a duration above 0. Write it like"),
        ("limits: {steps: }", "<text>:3:16: `steps` has no value. Give it one, or remove the key."),
        ("limits: 5", "<text>:3:9: `limits`: expected keys and values."),
        ("name: again", "<text>:3:1: the key `name` is here twice, first in line 2. Remove one."),
        ("mode: on", "<text>:3:7: `mode`: unknown word `on`. Use one of enforce, observe."),
        ("mode: enforced", "<text>:3:7: `mode`: unknown word `enforced`. Did you mean `enforce`?"),
        ("tools: {default: no}", "<text>:3:18: `tools.default`: unknown word `no`."),
        ("tools: {rules: [{tool: x, decide: deny}]}", "<text>:3:17: the key `id` is missing in `tools.rules.0`. Add"),
        (
            "tools: {rules: [{id: a, tool: x, decide: block}]}",
            "<text>:3:42: `tools.rules.0.decide`: unknown word `block` (rule a). Use one of allow, ask, deny, nudge.",
        ),
        ("tools: {rules: [{id: a, tool: [], decide: deny}]}", "<text>:3:31: `tools.rules.0.tool`: this list is empty"),
        ("tools: {rules: [{id: a b, tool: x, decide: deny}]}", "<text>:3:22: `tools.rules.0.id`: `a b` has the wrong form"),
        (
            "tools: {rules: [{id: a, tool: x, decide: deny}, {id: a, tool: y, decide: deny}]}",
            "<text>:3:54: the id `a` is already used by `tools.rules.0` (rule a). Give each rule an id of its own.",
        ),
        (
            "tools: {rules: [{id: a, tool: x, decide: allow, when: {arg.amount: 5}}]}",
            "<text>:3:68: no call has a fact `arg.amount`, so this rule could never match (rule a). Did you mean `args`?",
        ),
        (
            "tools: {rules: [{id: a, tool: x, decide: allow, when: {args.n: {atmost: 5}}}]}",
            "<text>:3:65: unknown key `atmost` (rule a). Did you mean `at_most`?",
        ),
        (
            "tools: {rules: [{id: a, tool: x, decide: allow, when: {args.n: {at_most: '5'}}}]}",
            "<text>:3:74: `tools.rules.0.when.args.n.at_most`: expected a number, as in 100 or 99.5 (rule a).",
        ),
        ("tools: {rules: [{id: a, tool: x, decide: allow, when: {}}]}", "<text>:3:55: `tools.rules.0.when`: this `when` has no"),
        ("tools: {rules: [{id: a, tool: x, decide: deny, when: {args.q: {matches: (a+)+}}}]}", "<text>:3:73: `tools.rules.0.when"),
        ("tools: {rules: [{id: a, tool: x, decide: deny, expires: 5m}]}", "<text>:3:57: `expires` goes with `decide: ask`"),
        ("tools: {rules: [{id: a, tool: x, decide: allow, tell: hi}]}", "<text>:3:55: an allowed call has nobody to tell"),
        ("routing: {default: studnet}\ntiers: {student: {model: 'a:b'}}", "<text>:3:20: there is no tier `studnet`. Did you mean"),
        ("routing: {default: x}", "<text>:3:20: there is no tier `x`. There is none to name yet."),
        ("rates: [{tier: x, requests_per_minute: 5}]", "<text>:3:16: there is no tier `x`."),
        ("rates: [{tier: x}]", "<text>:3:9: `rates.0`: this rate limits nothing. Add"),
        ("tiers: {a: {model: nova}}", "<text>:3:20: `tiers.a.model`: `nova` has the wrong form. Write it as `provider:model`"),
        (
            "tiers: {a: {model: 'a:b', max_output_tokens: 8k, context_window: 8k}}",
            "<text>:3:46: 8k tokens of output leave nothing of a window of 8k.",
        ),
        ("tiers: {a: {model: 'a:b', base_url: x, gateway: {base_url: y}}}", "<text>:3:12: `tiers.a`: `gateway` and `base_url`"),
        ("tiers: {a: {model: 'anthropic:b', serves: ['openai:c']}}", "<text>:3:12: `tiers.a`: `serves` names openai:c"),
        ("budgets: [{id: a, scope: run, limit: {}}]", "<text>:3:38: `budgets.0.limit`: this budget limits nothing (rule a)."),
        ("budgets: [{id: a, scope: runs, limit: {usd: 1}}]", "<text>:3:26: `budgets.0.scope`: unknown word `runs` (rule a)."),
        ("budgets: [{id: a, scope: run, limit: {usd: 1}, hard: yes}]", "<text>:3:54: `budgets.0.hard`: expected true or false"),
        ("budgets: [{id: a, scope: run, limit: {usd: 10 apples}}]", "<text>:3:44: `budgets.0.limit.usd`: '10 apples' is not"),
        ("budgets: [{id: a, scope: run, limit: {tokens: 5m}}]", "<text>:3:47: `budgets.0.limit.tokens`: '5m' is not understood"),
        ("budgets: [{id: a, scope: run, per: 1d, limit: {usd: 1}}]", "<text>:3:36: a run has no window (rule a). Remove `per`"),
        ("budgets: [{id: a, scope: org, per: year, limit: {usd: 1}}]", "<text>:3:36: `budgets.0.per`: 'year' is not understood"),
        ("budgets: [{id: a, scope: run, limit: {usd: 1}, fee: 1}]", "<text>:3:53: `fee` is what a tool costs, but no `tool`"),
        ("ladder: [{at: 50%, do: compact}, {at: 50%, do: last_call}]", "<text>:3:39: the ladder does not rise: 50% follows 50%."),
        ("ladder: [{at: 50%, do: panic}]", "<text>:3:24: `ladder.0.do`: unknown word `panic`."),
        ("loops: {nudge_at: 5, stop_at: 5}", "<text>:3:31: `stop_at` is 5, not above `nudge_at` (5). Let them rise"),
        ("loops: {tools: [{tool: x, as: batch, every: 5s}]}", "<text>:3:17: `loops.tools.0`: `every` and `for_at_most` go with"),
        ("loops: {tools: [{tool: x, as: poll, every: 5m, for_at_most: 5s}]}", "<text>:3:44: `every` is longer than"),
        ("loops: {respond: []}", "<text>:3:18: `loops.respond`: this list is empty."),
        (
            "context: {compact: {keep_tail: 9k}, max_input_tokens: 10k}",
            "<text>:3:32: `keep_tail` and `ledger` together reach `max_input_tokens` (10k).",
        ),
        ("context: {tool_results: {cap: 9k}, max_input_tokens: 9k}", "<text>:3:31: a result of 9k fills `max_input_tokens` (9k)."),
        ("identity: {user: config.}", "<text>:3:18: `config.` names no key."),
        ("trace: {content: ful}", "<text>:3:18: `trace.content`: unknown word `ful`. Did you mean `full`?"),
        ("exceptions: [{id: e, rules: a, owner: o, reason: r, expires: soon}]", "<text>:3:62: `exceptions.0.expires`: expected a"),
        ("extends: basline", "<text>:3:10: there is no bundled policy `basline`. Did you mean `baseline`?"),
        ("extends: ./missing.yaml", "<text>:3:10: `missing.yaml`: there is no such policy file."),
        ("as_: 1", "<text>:3:1: unknown key `as_`."),
        ("loops: {tools: [{tool: x, as_: off}]}", "<text>:3:17: the key `as` is missing in `loops.tools.0`."),
    ],
    ids=lambda value: repr(value)[:48],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place_with_a_remedy(text: str, expected: str) -> None:
    errors = errors_of(text)

    assert any(error.startswith(expected) for error in errors), errors


def test_an_unknown_format_version_is_refused() -> None:
    for version in ("2", "true", "'1'", "1.5"):
        with pytest.raises(PolicyErrors, match="unknown format version"):
            load(f"governor: {version}\nname: x\n")
    with pytest.raises(PolicyErrors, match="the key `governor` is missing"):
        load("name: x\nmode: enforce\n")


def test_all_mistakes_are_reported_in_file_order() -> None:
    errors = errors_of("limits: {steps: 0, depth: x}\nmode: maybe\nname: two\nbudgets: [{id: 1}]\n")

    assert 7 == len(errors)
    assert errors == sorted(errors, key=lambda text: [int(part) for part in text.split(":")[1:3]])


def test_an_error_carries_its_parts() -> None:
    with pytest.raises(PolicyErrors) as caught:
        load(HEAD + "budgets: [{id: day, scope: run, limit: {usd: 0}}]\n")

    (error,) = caught.value.errors
    assert ("<text>", 3, 46, "day") == (error.file, error.line, error.column, error.rule)
    assert "Write it like 0.50 or 25." == error.remedy


def test_a_file_that_cannot_be_read_is_a_policy_error(tmp_path: Path) -> None:
    utf16 = tmp_path / "utf16.yaml"
    utf16.write_bytes("governor: 1".encode("utf-16"))
    # Opening a named pipe without a writer would wait for ever; the devices of a machine can be plain files in a container.
    os.mkfifo(tmp_path / "pipe.yaml")
    cases = [
        (tmp_path / "none.yaml", "there is no such policy file"),
        (tmp_path, "this is a folder"),
        (utf16, "not UTF-8"),
        (tmp_path / "pipe.yaml", "not an ordinary file"),
        ("a\0b", "cannot be read"),
        ("", "this is a folder"),
        ("basline", "Did you mean `baseline`"),
    ]

    for source, message in cases:
        with pytest.raises(PolicyError, match=message):
            load(source)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.encode())

    assert "test" == load(path).policy.name


def test_an_empty_section_of_a_policy_fails_closed() -> None:
    policy = load(HEAD).policy

    assert ("deny", "enforce", "none") == (policy.tools.default, policy.mode, policy.trace.content)
    assert ("nudge", "block", "stop") == policy.loops.respond
    assert {} == policy.tiers


def test_a_policy_is_frozen() -> None:
    policy = load(EXAMPLE).policy

    with pytest.raises(ValueError, match="frozen"):
        policy.limits.steps = None


def test_a_path_has_a_line_and_so_has_a_rule_by_its_id() -> None:
    loaded = load(EXAMPLE)
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()

    assert lines[loaded.line_of("limits.steps")[0] - 1].startswith("limits:")
    assert "no-writes" in lines[loaded.line_of("tools.rules.no-writes")[0] - 1]
    assert loaded.line_of(("tools", "rules", 3)) == loaded.line_of("tools.rules.3")
    assert loaded.line_of("tools.rules.no-writes.nothing") == loaded.line_of("tools.rules.no-writes")
    assert (1, 1) != loaded.line_of("mode")
    assert (str(EXAMPLE), 5, 1) == loaded.place_of("nothing.at.all")


def test_a_mapping_and_a_policy_load_like_the_file() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    from_file = load(EXAMPLE)

    assert from_file.hash == load(text).hash
    assert from_file.hash == load(str(EXAMPLE)).hash
    assert from_file.hash == load(from_file.policy).hash
    assert load({"governor": 1, "name": "a", "budgets": [{"id": "b", "scope": "run", "limit": {"usd": 0.1}}]}).hash == (
        load("governor: 1\nname: a\nbudgets: [{id: b, scope: run, limit: {usd: 0.10}}]\n").hash
    )


def test_a_mapping_with_a_mistake_has_no_line_but_all_else() -> None:
    with pytest.raises(PolicyErrors) as caught:
        load({"governor": 1, "name": "a", "limits": {"steps": 0}})

    assert "<mapping>: `limits.steps`: 0 is not above 0: expected a whole number above 0. Write it like 20." == str(
        caught.value
    )


@given(st.text(max_size=200))
def test_loading_any_text_raises_nothing_but_a_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        load(text + "\n")


EXAMPLE_LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()


@given(st.data())
def test_damage_to_a_policy_raises_nothing_but_a_policy_error(data: st.DataObject) -> None:
    lines = list(EXAMPLE_LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[row])))
        patch = data.draw(
            st.sampled_from(["", " ", "\t", ":", "-", "[", "}", "0", "*x", "&x ", "'", "null", "true", "é", "%"])
        )
        cut = data.draw(st.integers(0, 6))
        lines[row] = lines[row][:column] + patch + lines[row][column + cut :]
    with contextlib.suppress(PolicyError):
        load("\n".join(lines))


junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=2), st.decimals()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*Policy.model_fields, "id"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Policy.model_fields]), junk))
def test_loading_any_mapping_raises_nothing_but_a_policy_error(source: dict[str, Any]) -> None:
    with contextlib.suppress(PolicyError):
        load(source)


def shuffled(value: Any, draw: Any, *, ordered: bool = False) -> Any:
    """The same data with the keys of every mapping in another order, but for the tiers: theirs says which is best."""
    if isinstance(value, dict):
        items = list(cast("dict[str, Any]", value).items())
        items = items if ordered else draw(st.permutations(items))
        return {key: shuffled(item, draw, ordered=key == "tiers") for key, item in items}
    return [shuffled(item, draw) for item in cast("list[Any]", value)] if isinstance(value, list) else value


@given(mappings(), st.data())
def test_the_hash_ignores_key_order_comments_and_layout(source: dict[str, Any], data: st.DataObject) -> None:
    plain = json.loads(json.dumps(source, default=str))
    block = yaml.safe_dump(plain, sort_keys=False)
    flow = yaml.safe_dump(shuffled(plain, data.draw), default_flow_style=True, sort_keys=False)

    assert load(block).hash == load(f"# a remark\n\n{flow}").hash


def with_lists_moved(source: dict[str, Any], draw: Any) -> dict[str, Any]:
    """The same policy with the rules of the lists that have no order in another one."""
    moved = dict(source)
    if "budgets" in moved:
        moved["budgets"] = draw(st.permutations(moved["budgets"]))
    if "tools" in moved:
        moved["tools"] = moved["tools"] | {"rules": draw(st.permutations(moved["tools"]["rules"]))}
    return moved


@given(mappings(), st.data())
def test_the_hash_ignores_the_order_of_rules_all_of_which_are_looked_at(
    source: dict[str, Any], data: st.DataObject
) -> None:
    assert load(source).hash == load(with_lists_moved(source, data.draw)).hash


@pytest.mark.parametrize(
    ("head", "one", "other", "ordered"),
    [
        ("tools: {rules: [%s]}", "{id: a, tool: x, decide: deny}", "{id: b, tool: y, decide: allow}", False),
        ("budgets: [%s]", "{id: a, scope: run, limit: {usd: 1}}", "{id: b, scope: org, limit: {usd: 1}}", False),
        ("rates: [%s]", "{tier: t, requests_per_minute: 1}", "{tier: u, requests_per_minute: 1}", False),
        (
            "exceptions: [%s]",
            "{id: a, rules: r, owner: o, reason: r, expires: 2030-01-01}",
            "{id: b, rules: r, owner: o, reason: r, expires: 2030-01-01}",
            False,
        ),
        ("routing: {rules: [%s]}", "{id: a, when: {node: x}, tier: t}", "{id: b, when: {node: y}, tier: t}", True),
        ("loops: {tools: [%s]}", "{tool: x, as: off}", "{tool: y, as: off}", True),
    ],
    ids=["tools", "budgets", "rates", "exceptions", "routing", "loops"],
)
def test_the_hash_knows_which_lists_have_an_order(head: str, one: str, other: str, ordered: bool) -> None:
    text = HEAD + "tiers: {t: {model: 'x:y'}, u: {model: 'x:z'}}\n" + head + "\n"

    assert ordered is (load(text % f"{one}, {other}").hash != load(text % f"{other}, {one}").hash)


CHANGES = [
    ("steps: 200", "steps: 199"),
    ("usd: 0.50", "usd: 0.51"),
    ("5000}, hard: false", "5000}, hard: true"),
    ("keep_tail: 4k", "keep_tail: 5k"),
    ("lock: true", "lock: false"),
    ("at_most: 100", "at_most: 101"),
    ("at_most: 100", "at_least: 100"),
    ("above: 100", "above: 100.5"),
    ("drop|alter", "alter|drop"),
    ("decide: allow}", "decide: ask}"),
    ("fee: 0.01", "fee: 0.02"),
    ("temperature: 0", "temperature: 0.1"),
    ("read_customer_*", "read_customers_*"),
    ("redact: [email,", "redact: [phone,"),
    ("wait 20s", "shed"),
    ("max_output_tokens: 2048", "max_output_tokens: 2047"),
    ("name: support-fleet", "name: support-fleets"),
    ("for: 6 steps", "for: 7 steps"),
    ("[planner,", "[planer,"),
    ("at: 60%", "at: 61%"),
]


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=[after for _, after in CHANGES])
def test_the_hash_changes_with_every_value(before: str, after: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")

    assert before in text
    assert load(text).hash != load(text.replace(before, after, 1)).hash


def test_the_hash_tells_a_number_from_a_text_and_one_order_of_tiers_from_another() -> None:
    rule = HEAD + "tools: {rules: [{id: a, tool: x, decide: allow, when: {args.n: {equals: %s}}}]}\n"
    tiers = HEAD + "tiers: {%s}\n"

    assert load(HEAD + "trace: {content: none}\n").hash == load(HEAD).hash
    assert load(HEAD + "trace: {content: redacted}\n").hash != load(HEAD).hash
    assert load(rule % "100").hash == load(rule % "100.0").hash
    assert load(rule % "100").hash != load(rule % "'100'").hash
    assert load(rule % "1").hash != load(rule % "true").hash
    assert (
        load(tiers % "a: {model: 'x:y'}, b: {model: 'x:z'}").hash
        != load(tiers % "b: {model: 'x:z'}, a: {model: 'x:y'}").hash
    )


@given(mappings())
def test_the_hash_is_a_function_of_what_the_policy_means(source: dict[str, Any]) -> None:
    first, second = load(source), load(copy.deepcopy(source))

    assert first.hash == second.hash == policy_hash(second.policy) == load(first.policy).hash
    assert first.hash.startswith("sha256:")
    assert 71 == len(first.hash)


def test_bundled_policies_load_by_name() -> None:
    assert ("baseline", "frugal", "starter", "strict", "support") == bundled_policies()
    for name in bundled_policies():
        loaded = load(name)
        assert f"bundled:{name}" == loaded.file
        assert "deny" == loaded.policy.tools.default
