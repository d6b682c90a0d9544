"""The figures: ranking over five folds, thresholds that were chosen beforehand, the guard under resampling, time per decision."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from governor.routing.estimate import StepFeatures
from governor.routing.guard import Promise, choose_threshold, is_regret
from governor.routing.learned import SnapshotEstimator
from governor.routing.metrics import curve, quality_of
from governor.routing.records import PairedOutcome
from governor.routing.training import train
from tests.bench.routing.corpus import FOLDS, Corpus, first, fold, graded
from tests.bench.routing.methods import METHODS, Method, stacked

PROMISE = Promise(max_loss=0.02, confidence=0.95)
INNER = 4
"""Parts of the training half, each scored by a model of the others: what a threshold is chosen on."""
RESAMPLES = 100


def halves(corpus: Corpus, labels: int | None) -> list[tuple[list[PairedOutcome], list[PairedOutcome]]]:
    """For each fold what is learned of and what is scored."""
    found: list[tuple[list[PairedOutcome], list[PairedOutcome]]] = []
    for number in range(FOLDS):
        learned = [record for record in corpus.records if fold(record.id) != number]
        found.append((first(learned, labels), [record for record in corpus.records if fold(record.id) == number]))
    return found


def ranking(corpus: Corpus, labels: int | None, methods: Mapping[str, Method] = METHODS) -> dict[str, dict[str, Any]]:
    """Method to its figures over the folds; thresholds are read off the curve that is measured, so costs are optimistic."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for learned, others in halves(corpus, labels):
        for name, method in methods.items():
            made = curve(graded(others), method(learned, others))
            found[name].append(
                {
                    "apgr": made.apgr,
                    "cpt50": 100 * made.cpt(0.5),
                    "cpt80": 100 * made.cpt(0.8),
                    "quality at 20%": made.quality_at(0.2),
                    "cost at 98%": made.cost_at(0.98),
                    "cascade at 98%": made.cost_at(0.98, cascade=True),
                }
            )
    return {name: _folded(rows) for name, rows in found.items()}


def honest(corpus: Corpus, labels: int | None) -> dict[str, dict[str, Any]]:
    """What thresholds give that were chosen on the training half alone: by its own curve, and by the guard's bound."""
    rows: dict[str, list[dict[str, float]]] = {"training curve": [], "guard": []}
    for learned, others in halves(corpus, labels):
        inside = crossed(learned, INNER)
        scores = stacked(learned, others)
        chosen = {"training curve": _by_curve(learned, inside), "guard": by_guard(learned, inside, PROMISE)}
        for name, at in chosen.items():
            quality, cost = quality_of(graded(others), [score > at for score in scores])
            cascade = quality_of(graded(others), [score > at for score in scores], cascade=True)[1]
            rows[name].append({"quality": quality, "cost": cost, "cascade": cascade})
    return {name: _folded(each) for name, each in rows.items()}


def crossed(records: Sequence[PairedOutcome], parts: int) -> list[float]:
    """Scores of records by models that have not seen them."""
    order = {record.id: number % parts for number, record in enumerate(first(records, None))}
    found: dict[str, float] = {}
    for part in range(parts):
        others = [record for record in records if order[record.id] == part]
        learned = [record for record in records if order[record.id] != part]
        found |= dict(zip((record.id for record in others), stacked(learned, others), strict=True))
    return [found[record.id] for record in records]


def _by_curve(records: Sequence[PairedOutcome], scores: Sequence[float]) -> float:
    """The score above which steps must go up, for 98% of the quality at the least cost, were these the calls to come."""
    made = curve(graded(records), scores)
    cost = made.cost_at(0.98)
    up = next(k for k in range(made.n + 1) if made.cost[k] == cost and made.quality[k] >= 0.98 * made.strong - 1e-12)
    ordered = sorted(scores, reverse=True)
    return ordered[up] if up < len(ordered) else -math.inf


def by_guard(records: Sequence[PairedOutcome], scores: Sequence[float], promise: Promise) -> float:
    accuracy = statistics.fmean(record.strong.score for record in records)
    known = Promise(max_loss=promise.max_loss, confidence=promise.confidence, accuracy=accuracy)
    pairs = [(score, is_regret(record)) for score, record in zip(scores, records, strict=True)]
    chosen = choose_threshold(pairs, known)
    return -math.inf if chosen is None else chosen.at


def guarding(corpus: Corpus, calibration: int) -> dict[str, dict[str, Any]]:
    """How often thresholds break the promise on records that they were not chosen on, by the bare rate and by the guard's bound."""
    records = list(corpus.records)
    scores = crossed(records, FOLDS)
    rows: dict[str, list[dict[str, float]]] = {"bare rate": [], "guard": []}
    for number in range(RESAMPLES):
        order = list(range(len(records)))
        random.Random(number).shuffle(order)
        known, others = order[:calibration], order[calibration:]
        for name, made in rows.items():
            choose = by_guard if name == "guard" else by_rate
            at = choose([records[each] for each in known], [scores[each] for each in known], PROMISE)
            down = [scores[each] <= at for each in others]
            rest = [records[each] for each in others]
            strong = statistics.fmean(record.strong.score for record in rest)
            regrets = sum(is_regret(record) for record, cheap in zip(rest, down, strict=True) if cheap) / len(rest)
            quality, cost = quality_of(graded(rest), [not each for each in down])
            broken = float(regrets > PROMISE.max_loss * strong)
            made.append({"broken": broken, "quality": quality, "cost": cost, "sent down": sum(down) / len(down)})
    return {
        name: {**_folded(each), "worst quality": min(row["quality"] for row in each)} for name, each in rows.items()
    }


def by_rate(records: Sequence[PairedOutcome], scores: Sequence[float], promise: Promise) -> float:
    """What teams do: the highest score below which the counted rate of regrets is within the promise."""
    target = promise.max_loss * statistics.fmean(record.strong.score for record in records)
    regrets, best = 0, -math.inf
    for score, record in sorted(zip(scores, records, strict=True), key=lambda pair: pair[0]):
        regrets += is_regret(record)
        if regrets / len(records) > target:
            break
        best = score
    return best


def latency(corpus: Corpus, repeats: int = 200) -> dict[str, dict[str, float]]:
    """Milliseconds of a decision at 50, 500 and 2,000 tokens (of 4 characters), 50th and 99th percentile over texts.

    Each text's time is the least of five, and `ratio` holds the 99th percentile against hashing 4,096 bytes a thousand times: this
    machine may do other things beside.
    """
    snapshot = train(first(corpus.records, 1_000), weak="weak", strong="strong", created_ms=0)
    text = " ".join(record.step.delta for record in corpus.records)
    path = corpus.records[0].step.path
    estimators = {"table": SnapshotEstimator(snapshot, band=(2.0, 2.0)), "hashed": SnapshotEstimator(snapshot)}
    unit = min(_reference() for _ in range(5))
    found: dict[str, dict[str, float]] = {}
    for tokens in (50, 500, 2_000):
        steps = [StepFeatures(node=path, path=path, delta=text[at * 997 :][: 4 * tokens]) for at in range(repeats)]
        for name, estimator in estimators.items():
            times = sorted(min(_timed(estimator, step) for _ in range(5)) for step in steps)
            found[f"{name}, {tokens} tokens"] = {
                "p50 ms": 1e3 * times[repeats // 2],
                "p99 ms": 1e3 * times[repeats * 99 // 100],
                "ratio": times[repeats * 99 // 100] / unit,
            }
    return found


def _timed(estimator: SnapshotEstimator, step: StepFeatures) -> float:
    begun = time.perf_counter()
    estimator.estimate(step)
    return time.perf_counter() - begun


def _reference() -> float:
    import hashlib

    data, begun = bytes(4_096), time.perf_counter()
    for _ in range(1_000):
        hashlib.sha256(data).digest()
    return time.perf_counter() - begun


def _folded(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean of each figure, and the standard deviation over folds of the first."""
    found: dict[str, Any] = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    name = next(iter(rows[0]))
    return {name: found[name], "sd": statistics.pstdev(row[name] for row in rows), **found}
