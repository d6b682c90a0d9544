"""`estimator: encoder` from paired outcomes to an estimate, and what switches it off."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from governor.errors import ConfigurationError, RoutingError
from governor.routing.estimate import Estimate, StepFeatures
from governor.routing.estimators import Asked, build
from governor.routing.records import PairedOutcome, Side
from governor_encoder import learned_section, load_encoder, opened
from tests.encoder import tiny


def pair(number: int, text: str, strong: float, weak: float) -> PairedOutcome:
    return PairedOutcome(
        id=f"{number:04}",
        step=StepFeatures(node="agent", path="agent", delta=text),
        strong=Side(tier="big", score=strong),
        weak=Side(tier="small", score=weak),
        source="replay",
    )


PAIRS = [
    pair(at, "prove why" if at % 2 else "list count", 1.0, 0.0 if at % 2 and at % 10 != 1 else 1.0) for at in range(400)
]
"""Where something is to be proved the better tier gains in four of five; elsewhere in none."""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    tiny.files(tmp_path)
    return {"model": "model.onnx", "tokenizer": "tokenizer.json"}


def section(tmp_path: Path, **options: Any) -> dict[str, object]:
    encoder = load_encoder(tmp_path / "model.onnx", tmp_path / "tokenizer.json")
    return learned_section(PAIRS, encoder, k=2, **options)


def step(text: str) -> StepFeatures:
    return StepFeatures(node="agent", path="agent", delta=text)


def estimated(tmp_path: Path, settings: Mapping[str, Any], made: dict[str, object], text: str) -> Estimate:
    estimator = build("encoder", settings, {"encoder": made}, tmp_path)
    found = estimator.estimate(step(text)) if estimator else None
    assert found is not None
    return found


@pytest.mark.parametrize("method", ["clusters", "knn", "mean"])
def test_a_step_is_given_the_gain_of_what_was_recorded_near_it(
    tmp_path: Path, settings: dict[str, Any], method: str
) -> None:
    made = section(tmp_path, neighbours=True)

    hard = estimated(tmp_path, {**settings, "method": method}, made, "prove why prove")
    easy = estimated(tmp_path, {**settings, "method": method}, made, "count list list")

    assert hard.gain == pytest.approx(0.8, abs=0.1)
    assert easy.gain == pytest.approx(0.0, abs=0.1)
    assert hard.low < hard.gain < hard.high
    assert easy.high < hard.low
    assert hard.layer.startswith("encoder ")


def test_failures_are_told_by_their_upper_bound(tmp_path: Path, settings: dict[str, Any]) -> None:
    hard = estimated(tmp_path, {**settings, "method": "failures"}, section(tmp_path), "prove why")

    assert hard.facts["weak_fails"] == "0.800"
    assert hard.low < 0.8 < hard.gain == hard.high < 0.9


def test_the_same_records_and_files_make_the_same_section_in_any_order(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    encoder = load_encoder(tmp_path / "model.onnx", tmp_path / "tokenizer.json")

    assert learned_section(PAIRS, encoder) == learned_section(reversed(PAIRS), encoder)


def test_a_section_holds_no_text(tmp_path: Path, settings: dict[str, Any]) -> None:
    told = str(section(tmp_path, neighbours=True))

    assert [] == [word for word in ("prove", "why", "list", "count") if word in told]


@pytest.mark.parametrize("change", ["model_sha256", "tokenizer_sha256", "max_tokens", "dim"])
def test_files_that_the_snapshot_was_not_learned_with_switch_it_off_aloud(
    tmp_path: Path, settings: dict[str, Any], change: str
) -> None:
    made: dict[str, Any] = section(tmp_path)
    made[change] = {"max_tokens": 128, "dim": 2}.get(change, "0" * 64)
    if change == "dim":
        made["clusters"] = made["clusters"] * 2
    said: list[str] = []
    asked = Asked(settings=settings, sections={"encoder": made}, base_dir=tmp_path, warn=said.append)

    assert opened(asked) is None
    assert ["off" in said[0], 1] == [True, len(said)]


def test_without_a_section_the_snapshots_own_estimator_speaks(
    tmp_path: Path, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Own:
        def estimate(self, step: StepFeatures) -> Estimate | None:
            return None

    own = Own()

    assert own is build("encoder", settings, None, tmp_path, default=own)
    assert build("encoder", settings, {}, tmp_path) is None
    assert "no `encoder` section" in caplog.text


def test_neighbours_that_were_not_kept_are_an_error_with_its_remedy(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"method: knn.*with neighbours"):
        build("encoder", {**settings, "method": "knn"}, {"encoder": section(tmp_path)}, tmp_path)


def test_records_without_text_teach_an_encoder_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    encoder = load_encoder(tmp_path / "model.onnx", tmp_path / "tokenizer.json")

    with pytest.raises(RoutingError, match="no record has the text"):
        learned_section([pair(1, " ", 1, 0)], encoder)


def test_a_step_without_a_delta_is_left_to_others(tmp_path: Path, settings: dict[str, Any]) -> None:
    estimator = build("encoder", settings, {"encoder": section(tmp_path)}, tmp_path)

    assert estimator is not None
    assert estimator.estimate(step(" ")) is None


def test_a_missing_model_file_is_the_policy_authors_to_put_right(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"settings\.model: there is no file .*gone"):
        build("encoder", {**settings, "model": "gone.onnx"}, {"encoder": section(tmp_path)}, tmp_path)


def test_without_its_extra_the_error_says_what_to_install(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "governor_encoder"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=r"pip install 'langgraph-governor\[encoder\]'"):
        build("encoder", settings, {}, tmp_path)
