"""A snapshot for `estimator: encoder`: learned of one part of the records, and promised by what the encoder says of the other."""

from pathlib import Path
from typing import Any

import pytest

from governor.policy import load
from governor.routing.estimate import StepFeatures
from governor.routing.estimators import estimator_of, teaching
from governor.routing.guard import Promise
from governor.routing.loading import knowledge_of
from governor.routing.records import PairedOutcome, Side
from governor.routing.snapshot import dump_snapshot, write_snapshot
from governor.routing.training import evaluate, parted, scored, train
from governor.runtime import Runtime
from tests.encoder import tiny

POLICY = """
governor: 1
name: encoded
tiers:
  big: {{model: "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"}}
  small: {{model: "bedrock_converse:amazon.nova-pro-v1:0"}}
routing:
  default: big
  estimator: {{kind: encoder, settings: {{model: model.onnx, tokenizer: tokenizer.json, method: {method}, when: always}}}}
  frontier_share: 20%
  snapshot: routing.json
"""


def pair(number: int) -> PairedOutcome:
    """Proofs gain in nine of ten, whatever the node's name says; lists never."""
    hard = number % 2
    return PairedOutcome(
        id=f"{number:04}",
        step=StepFeatures(
            node="agent", path="agent", delta=("prove why " if hard else "list count ") * (1 + number % 5)
        ),
        strong=Side(tier="big", score=1.0),
        weak=Side(tier="small", score=0.0 if hard and number % 20 != 1 else 1.0),
        source="replay",
        at_ms=number,
    )


PAIRS = [pair(number) for number in range(600)]


def policy(tmp_path: Path, method: str = "clusters") -> Any:
    tiny.files(tmp_path)
    (tmp_path / "p.yaml").write_text(POLICY.format(method=method), encoding="utf-8")
    return load(tmp_path / "p.yaml")


@pytest.mark.parametrize("method", ["clusters", "knn", "mean", "failures"])
def test_figures_and_promise_are_the_encoders_own_on_records_that_it_has_not_seen(tmp_path: Path, method: str) -> None:
    loaded = policy(tmp_path, method)
    promise = Promise(max_loss=0.05, confidence=0.95, accuracy=1.0)

    found = train(PAIRS, weak="small", strong="big", created_ms=1, promise=promise, teach=teaching(loaded))

    _, kept = parted(PAIRS)
    told = scored(found, kept, estimator_of(loaded)(found))
    assert evaluate(told) == found.evaluation
    assert found.evaluation["apgr"] > 0.7
    assert found.encoder is not None
    assert ("points" in found.encoder) is (method in ("knn", "mean"))
    (whole,) = [row for row in found.guard if row.key[0] == "*"]
    at = (found.threshold or 0) / 1_000_000
    assert whole.sent == len([each for each in told if each.gain is not None and each.gain <= at])
    assert "prove" not in dump_snapshot(found)


def test_the_snapshot_decides_in_a_governed_graph_by_the_encoder(tmp_path: Path) -> None:
    loaded = policy(tmp_path)
    write_snapshot(
        tmp_path / "routing.json", train(PAIRS, weak="small", strong="big", created_ms=1, teach=teaching(loaded))
    )

    runtime = Runtime(loaded)
    known = knowledge_of(loaded, estimator=estimator_of(loaded))

    assert runtime.controls.route is not None
    assert known is not None
    hard = known.estimate(StepFeatures(node="agent", path="agent", delta="prove why"))
    assert hard is not None
    assert hard.layer.startswith("encoder cluster")
    assert hard.gain > 0.7
    assert known.estimate(StepFeatures(node="unseen", path="unseen", delta="prove why")) is None


def test_only_an_encoder_learns_more_than_the_snapshot_itself(tmp_path: Path) -> None:
    assert teaching(load({"governor": 1, "name": "p", "routing": {"estimator": "hashed"}})) is None
