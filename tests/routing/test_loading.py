"""The snapshot that a policy names is loaded once, and refused with the policy's place when it does not fit."""

from pathlib import Path

import pytest

from governor.errors import PolicyError
from governor.policy.load import load
from governor.routing.estimate import StepFeatures
from governor.routing.guard import upper_bound
from governor.routing.loading import knowledge_of
from governor.routing.snapshot import ANY_NODE, Guarded, Snapshot, Trained, write_snapshot
from governor.routing.table import Cell
from governor.runtime import Runtime

POLICY = """
governor: 1
name: routed
tiers:
  frontier: {model: "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"}
  student: {model: "bedrock_converse:amazon.nova-pro-v1:0"}
routing:
  default: student
  estimator: hashed
  frontier_share: 20%
  quality: {max_loss: 2%}
  snapshot: learned/routing.json
"""
CELL = Cell(key=("agent",), n=400, both=340, gain=20, weak_only=10, neither=30, graded=10_000_000)
STEP = StepFeatures(node="agent", path="agent")


def snapshot(**fields: object) -> Snapshot:
    parts: dict[str, object] = {
        "weak": "student",
        "strong": "frontier",
        "table": (Cell(key=(), n=400, both=340, gain=20, weak_only=10, neither=30, graded=10_000_000), CELL),
        "quantiles": tuple(range(0, 510_000, 10_000)),
        "threshold": 60_000,
        "guard": (
            Guarded(key=("agent", "student"), n=400, sent=390, regrets=1),
            Guarded(key=("planner", "student"), n=40, sent=30, regrets=1),
            Guarded(key=(ANY_NODE, "student"), n=440, sent=420, regrets=2),
        ),
        "trained": Trained(records=880, calibration=440, strong_right=396),
        **fields,
    }
    return Snapshot(**parts)  # pyright: ignore[reportArgumentType] - fields of a snapshot


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "learned").mkdir()
    (tmp_path / "policy.yaml").write_text(POLICY)
    write_snapshot(tmp_path / "learned" / "routing.json", snapshot())
    return tmp_path


def test_a_snapshot_lies_beside_the_policy_that_names_it(written: Path) -> None:
    known = knowledge_of(load(written / "policy.yaml"))

    assert known is not None
    assert ("student", "frontier", 0.06) == (known.weak, known.strong, known.proven)
    assert known.threshold(0.2) == pytest.approx(0.4)
    agent, planner = known.bounds["agent"], known.bounds["planner"]
    assert (True, False, {"agent", "planner"}) == (agent.open, planner.open, set(known.bounds))
    assert agent.upper == upper_bound(1, 400, 0.95)
    assert agent.target == pytest.approx(0.02 * snapshot().accuracy)
    assert snapshot().accuracy < 396 / 440  # it may have been luck


def test_a_run_that_is_pinned_to_a_policy_finds_the_snapshot_beside_the_file_it_came_from(written: Path) -> None:
    runtime = Runtime(load(written / "policy.yaml"))
    kept = load(runtime.policy.policy)

    with pytest.raises(PolicyError, match="cannot be read"):
        Runtime(kept)
    assert written == runtime.under(kept).folder


def test_a_node_without_records_is_unknown(written: Path) -> None:
    known = knowledge_of(load(written / "policy.yaml"))

    assert known is not None
    assert known.estimate(STEP) is not None
    assert known.estimate(StepFeatures(node="other", path="other")) is None
    assert (known.bound(StepFeatures(node="other", path="other")), known.bounds["agent"]) == (None, known.bound(STEP))


def test_what_is_promised_of_nothing_is_open_to_nobody(written: Path) -> None:
    (written / "policy.yaml").write_text(POLICY.replace("max_loss: 2%", "max_loss: 2%, confidence: 100%"))
    known = knowledge_of(load(written / "policy.yaml"))

    assert known is not None
    assert {} == known.bounds


@pytest.mark.parametrize("change", [("hashed", "off"), ("  snapshot: learned/routing.json\n", "")])
def test_a_policy_without_an_estimator_or_a_snapshot_knows_nothing(written: Path, change: tuple[str, str]) -> None:
    (written / "policy.yaml").write_text(POLICY.replace(*change))

    assert knowledge_of(load(written / "policy.yaml")) is None


def _missing(folder: Path) -> None:
    (folder / "learned" / "routing.json").unlink()


def _edited(folder: Path) -> None:
    path = folder / "learned" / "routing.json"
    path.write_text(path.read_text().replace('"n":400', '"n":401', 1))


def _others(folder: Path) -> None:
    write_snapshot(folder / "learned" / "routing.json", snapshot(weak="mini"))


def _turned(folder: Path) -> None:
    write_snapshot(folder / "learned" / "routing.json", snapshot(weak="frontier", strong="student"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_missing, "cannot be read"),
        (_edited, "not what this id was made of"),
        (_others, "no tier mini"),
        (_turned, "the other way round"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_an_error_of_the_policy_when_a_graph_is_governed(
    written: Path, harm: object, told: str
) -> None:
    harm(written)  # pyright: ignore[reportCallIssue] - one of the four above
    loaded = load(written / "policy.yaml")

    with pytest.raises(PolicyError, match=told) as raised:
        Runtime(loaded)

    assert (str(written / "policy.yaml"), 12) == (raised.value.file, raised.value.line)
    assert raised.value.remedy
