"""What is shipped beside the code: policies, their copies in the package, the schema for editors, the guide."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from governor.policy import bundled_policies, json_schema, load

POLICIES = Path(__file__).parents[2] / "policies"
FILES = sorted(POLICIES.glob("*.yaml"))
BLOCKS = re.findall(r"```yaml\n(.*?)```", (POLICIES / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_policy_loads_without_a_warning_and_denies_by_default(path: Path) -> None:
    loaded = load(path)

    assert () == loaded.warnings
    assert ("deny", "enforce") == (loaded.policy.tools.default, loaded.policy.mode)


@pytest.mark.parametrize("name", bundled_policies())
def test_a_bundled_policy_is_the_one_people_read(name: str) -> None:
    packaged = (resources.files("governor.policy") / "bundled" / f"{name}.yaml").read_text(encoding="utf-8")

    assert (POLICIES / f"{name}.yaml").read_text(encoding="utf-8") == packaged


def test_the_demo_policy_has_three_tiers_and_asks_for_big_refunds() -> None:
    policy = load(POLICIES / "support.yaml").policy

    assert ["frontier", "student", "commodity"] == list(policy.tiers)
    assert {"bedrock_converse"} == {tier.provider for tier in policy.tiers.values()}
    assert "ask" == {rule.id: rule.decide for rule in policy.tools.rules}["big-refunds"]


def test_the_schema_for_editors_is_fresh() -> None:
    written = json.loads((POLICIES / "schema.json").read_text(encoding="utf-8"))

    assert json_schema() == written, "write it anew: governor.policy.json_schema() to policies/schema.json"


def test_authors_are_told_that_a_duration_is_a_fixed_window_and_how_to_let_one_roll() -> None:
    told = json.dumps(json_schema()["$defs"]["Budget"]["properties"]["per"])

    assert "fixed windows" in told
    assert "rolling 24h" in told


def test_every_part_of_the_schema_says_what_it_is() -> None:
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]

    missing = [
        f"{section.get('title')}.{name}"
        for section in sections
        for name, part in section.get("properties", {}).items()
        if "description" not in part and "$ref" not in part
    ]
    assert [] == missing


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{index}" for index in range(len(BLOCKS))])
def test_every_example_in_the_guide_loads(block: str) -> None:
    head = "" if block.startswith("governor:") else "governor: 1\nname: example\n"

    loaded = load(head + block)

    assert [] == [finding for finding in loaded.warnings if finding.code == "not-yet-enforced"]


def test_the_guide_names_every_shipped_policy() -> None:
    guide = (POLICIES / "README.md").read_text(encoding="utf-8")

    assert [] == [path.name for path in FILES if f"`{path.name}`" not in guide]


JSON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """JSON Schema, as far as our own schema uses it."""
    if "$ref" in schema:
        return valid(value, root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    for word in ("anyOf", "oneOf"):
        if word in schema and not any(valid(value, each, root) for each in schema[word]):
            return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if kinds and not any(
        isinstance(value, JSON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ):
        return False
    if isinstance(value, dict):
        return valid_object(cast("dict[str, Any]", value), schema, root)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return len(items) >= schema.get("minItems", 0) and all(valid(i, schema.get("items", {}), root) for i in items)
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    return not isinstance(value, (int, float)) or value > schema.get("exclusiveMinimum", float("-inf"))


def valid_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    known: dict[str, Any] = schema.get("properties", {})
    patterns: dict[str, Any] = schema.get("patternProperties", {})
    if any(key not in value for key in schema.get("required", [])):
        return False
    for key, item in value.items():
        rest = next(
            (part for pattern, part in patterns.items() if re.search(pattern, key)),
            schema.get("additionalProperties", {}),
        )
        part = known.get(key, rest)
        if part is False or not (part is True or valid(item, part, root)):
            return False
    return True


@pytest.mark.parametrize("path", [*FILES, Path(__file__).with_name("example.yaml")], ids=lambda path: path.name)
def test_an_editor_with_the_schema_accepts_every_shipped_policy(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert valid(data, json_schema(), json_schema())


@pytest.mark.parametrize(
    "part",
    [
        {"limts": {}},
        {"limits": {"steps": 0}},
        {"limits": {"steps": "many"}},
        {"limits": {"time": 30}},
        {"mode": "on"},
        {"tools": {"rules": [{"id": "a", "tool": "x", "decide": "block"}]}},
        {"tools": {"rules": [{"id": "a", "tool": "x", "decide": "deny", "when": {"arg.x": 1}}]}},
        {"tools": {"rules": [{"tool": "x", "decide": "deny"}]}},
        {"budgets": [{"id": "a", "scope": "run", "limit": {"usd": "ten"}}]},
        {"context": {"cache": "on"}},
    ],
    ids=repr,
)
def test_an_editor_with_the_schema_marks_a_mistake(part: dict[str, Any]) -> None:
    schema = json_schema()

    assert valid({"governor": 1, "name": "a"}, schema, schema)
    assert not valid({"governor": 1, "name": "a"} | part, schema, schema)


@pytest.mark.parametrize(
    "part", [{"context": {"cache": "off", "compact": "off"}}, {"routing": {"estimator": "hashed"}}], ids=repr
)
def test_short_spellings_are_known_to_editors_and_to_the_loader(part: dict[str, Any]) -> None:
    source = {"governor": 1, "name": "a"} | part

    assert valid(source, json_schema(), json_schema())
    assert load(source).policy.context.cache.ttl == "off"
