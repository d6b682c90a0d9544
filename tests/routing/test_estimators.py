"""`build`: the one place where a policy's estimator is made, and estimators that other packages bring."""

from pathlib import Path
from typing import Any

import pytest

from governor.errors import ConfigurationError, PolicyError
from governor.policy import load
from governor.routing.estimate import Estimate, StepFeatures
from governor.routing.estimators import GROUP, Asked, InBand, _OnlyRaises, build, estimator_of
from governor.routing.judge import Judge, Rating, Ratings, key_of
from governor.routing.learned import SnapshotEstimator
from governor.routing.snapshot import Snapshot

STEP = StepFeatures(node="agent", path="agent", delta="prove it")


class Says:
    """An estimator with one answer."""

    def __init__(self, low: float | None, high: float = 1.0, layer: str = "says") -> None:
        self.answer = None
        self.asked = 0
        if low is not None:
            gain = (low + high) / 2
            self.answer = Estimate(gain=gain, low=low, high=high, records=100, layer=layer, facts={})

    def estimate(self, step: StepFeatures) -> Estimate | None:
        self.asked += 1
        return self.answer


def length(asked: Asked) -> Any:
    """A custom estimator: longer deltas gain more."""
    longest = float(str(asked.settings["longest"]))

    class Length:
        def estimate(self, step: StepFeatures) -> Estimate | None:
            gain = min(1.0, len(step.delta) / longest)
            return Estimate(gain=gain, low=gain, high=gain, records=0, layer="length", facts={}) if step.delta else None

    return Length()


def no_estimator(asked: Asked) -> Any:
    return "a string"


def nothing(asked: Asked) -> Any:
    asked.warn("nothing was learned yet")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is installed that brings estimators."""
    metadata = tmp_path / "some_estimators-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-estimators\nVersion: 1.0\n")
    names = {"length": "length", "wrong": "no_estimator", "gone": "not_there", "nothing": "nothing"}
    lines = [f"{name} = {__name__}:{made}" for name, made in names.items()]
    lines.append("absent = no_such_package:made")
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)


def custom(name: str, default: Any = None, **settings: Any) -> Any:
    return build("custom", {"name": name, **settings}, None, Path(), default=default)


@pytest.mark.usefixtures("package")
def test_an_installed_package_brings_an_estimator_by_its_name() -> None:
    found = custom("length", longest=16).estimate(STEP)

    assert (0.5, "length") == (found.gain, found.layer)


@pytest.mark.usefixtures("package")
def test_where_it_abstains_the_snapshots_own_speaks() -> None:
    own = Says(0.1)
    made = custom("length", own, longest=16)

    assert made.estimate(StepFeatures(node="a", path="a")) is own.answer
    assert made.estimate(STEP).layer == "length"


@pytest.mark.usefixtures("package")
def test_one_that_has_nothing_to_say_leaves_all_to_the_snapshots_own(caplog: pytest.LogCaptureFixture) -> None:
    own = Says(0.1)

    assert custom("nothing", own) is own
    assert "nothing was learned yet" in caplog.text


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenght", r"no installed package offers an estimator `lenght`.*there are .*length.*Install the one"),
        ("absent", r"`absent`: No module named 'no_such_package'"),
        ("gone", r"`gone`: .*not_there"),
        ("wrong", r"no_estimator .*made no estimator \(str\)"),
    ],
)
def test_one_that_is_not_there_is_an_error_that_says_so(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        custom(name)


def test_off_asks_nobody_and_hashed_is_the_snapshots_own() -> None:
    own = Says(0.1)

    assert build("off", {}, None, Path(), default=own) is None
    assert build("hashed", {}, None, Path(), default=own) is own
    assert build("hashed", {}, None, Path()) is None


def test_a_kind_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="there is no kind `best`"):
        build("best", {}, None, Path())


@pytest.mark.parametrize(
    ("quick", "slow", "asked", "told"),
    [
        (Says(0.1, 0.4, "quick"), Says(0.5, layer="slow"), 0, "quick"),
        (Says(-0.4, 0.0, "quick"), Says(0.5, layer="slow"), 0, "quick"),
        (Says(-0.1, 0.4, "quick"), Says(0.5, layer="slow"), 1, "slow"),
        (Says(-0.1, 0.4, "quick"), Says(None), 1, "quick"),
        (Says(None), Says(0.5, layer="slow"), 1, "slow"),
        (Says(None), Says(None), 1, None),
    ],
    ids=["surely a gain", "surely none", "cannot tell", "neither can", "abstains", "both abstain"],
)
def test_the_slow_one_is_asked_only_where_the_quick_one_cannot_tell(
    quick: Says, slow: Says, asked: int, told: str | None
) -> None:
    found = InBand(quick, slow).estimate(STEP)

    assert told == (found.layer if found else None)
    assert asked == slow.asked


def test_a_judge_reads_the_ratings_of_the_path_and_the_weights_of_the_snapshot() -> None:
    ratings = Ratings()
    ratings.answer(key_of(STEP.node, STEP.delta), Rating(logic_depth=3, math=3, ambiguity=0, precision=0))
    weights = {"bias": -3.0, "logic_depth": 1.0, "math": 0.5, "ambiguity": 0.0, "precision": 0.0}
    section: dict[str, object] = {"model": "a:b", "rubric": 1, "records": 500, "weights": weights}
    own = Says(-0.1, 0.1, "own")

    inline = build(
        "judge", {"tier": "small", "mode": "inline"}, {"judge": section}, Path(), default=own, ratings=ratings
    )
    shadow = build("judge", {"tier": "small"}, {"judge": section}, Path(), default=own, ratings=ratings)

    assert isinstance(inline, Judge)
    assert isinstance(shadow, Judge)
    told = inline.estimate(STEP)
    assert told is not None
    assert told.gain == pytest.approx(1 / (1 + 2.718281828 ** -(-3 + 3 + 1.5)))
    assert (500, "judge", "3") == (told.records, told.layer, told.facts["judge_math"])
    assert shadow.estimate(STEP) is own.answer


def policy(tmp_path: Path, estimator: str) -> Any:
    file = tmp_path / "policies" / "p.yaml"
    file.parent.mkdir()
    tiers = 'tiers: {big: {model: "a:b"}, small: {model: "a:c"}}'
    file.write_text(f"governor: 1\nname: p\n{tiers}\nrouting:\n  estimator: {estimator}\n", encoding="utf-8")
    return load(file)


SNAPSHOT = Snapshot(weak="small", strong="big")


def test_a_policys_estimator_is_made_from_its_snapshot(tmp_path: Path) -> None:
    made = estimator_of(policy(tmp_path, "hashed"))(SNAPSHOT)

    assert isinstance(made, SnapshotEstimator)


def test_a_policys_judge_reads_the_ratings_of_its_path(tmp_path: Path) -> None:
    ratings = Ratings()
    ratings.answer(key_of(STEP.node, STEP.delta), Rating(logic_depth=3, math=3, ambiguity=3, precision=3))

    made = estimator_of(policy(tmp_path, "{kind: judge, settings: {tier: small, mode: inline}}"), ratings)(SNAPSHOT)

    told = made.estimate(STEP)
    assert told is not None
    assert "judge" == told.layer


def test_files_are_looked_for_beside_the_policy_and_a_mistake_is_at_its_line(tmp_path: Path) -> None:
    from dataclasses import replace

    from governor.routing.encoded import learned, section_of

    section = section_of(learned([(1.0, 0.0)], [(1.0, 0.0)], model_sha256="m", tokenizer_sha256="t", max_tokens=256))
    loaded = policy(tmp_path, "{kind: encoder, settings: {model: m.onnx, tokenizer: t.json}}")

    with pytest.raises(PolicyError, match=r"there is no file .*policies/m\.onnx") as caught:
        estimator_of(loaded)(replace(SNAPSHOT, encoder=section))

    assert 5 == caught.value.line


@pytest.mark.parametrize(("own", "judge", "told"), [(0.4, 0.05, "own"), (0.4, 0.6, "judge"), (None, 0.6, None)])
def test_where_quality_is_promised_another_estimator_can_only_raise(
    own: float | None, judge: float, told: str | None
) -> None:
    """The promise's counts are the snapshot's own: a judge that was talked into an easy rating lowers nothing."""
    made = _OnlyRaises(
        *(Says(None if gain is None else gain, gain or 0, who) for gain, who in ((own, "own"), (judge, "judge")))
    )

    found = made.estimate(STEP)

    assert told == (found and found.layer)
