"""What ranks steps: governor's estimators, and what they are held against. Each learns of some records and scores others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from governor.routing.features import NAMES, WORDS, Vector, vector
from governor.routing.guard import OK
from governor.routing.hashed import train_hashed
from governor.routing.posthoc import train_posthoc
from governor.routing.records import PairedOutcome
from governor.routing.table import TableEstimator, tabled
from governor.routing.training import target_of

Records = Sequence[PairedOutcome]
Method = Callable[[Records, Records], list[float]]
"""From records to learn of and records to score, to the scores: the higher, the more the better tier is worth its price."""

_vectors: dict[str, Vector] = {}


def chance(learned: Records, others: Records) -> list[float]:
    del learned
    return [float(int(hashlib.sha256(f"chance|{each.id}".encode()).hexdigest()[:12], 16)) for each in others]


def length(learned: Records, others: Records) -> list[float]:
    del learned
    return [float(len(each.step.delta)) for each in others]


def table(learned: Records, others: Records) -> list[float]:
    estimator = TableEstimator(tabled(learned))
    ranks = [estimator.rank(each.step) for each in others]
    return [math.inf if rank is None else rank for rank in ranks]


def wilson(learned: Records, others: Records) -> list[float]:
    """The cheaper tier's failures by domain, by the upper end of Wilson's interval at 99%."""
    found: dict[str, tuple[int, int]] = {}
    for each in learned:
        n, failed = found.get(each.step.path, (0, 0))
        found[each.step.path] = n + 1, failed + (each.weak.score < OK)
    uppers = {path: _wilson(failed, n) for path, (n, failed) in found.items()}
    return [uppers.get(each.step.path, 1.0) for each in others]


def hashed(learned: Records, others: Records) -> list[float]:
    """The linear model of the text alone."""
    model = train_hashed([_unnamed(_vector(each)) for each in learned], [target_of(each) for each in learned])
    return [model.score(_unnamed(_vector(each))) for each in others]


def stacked(learned: Records, others: Records) -> list[float]:
    """Governor's default: text, numbers and node in one model."""
    model = train_hashed([_vector(each) for each in learned], [target_of(each) for each in learned])
    return [model.score(_vector(each)) for each in others]


def posthoc(learned: Records, others: Records) -> list[float]:
    """Governor's score of the cheap answer."""
    model = train_posthoc(learned)
    return [model.gain(each.step, each.weak.answer) if model is not None else 0.0 for each in others]


def oracle(learned: Records, others: Records) -> list[float]:
    del learned
    return [each.gain for each in others]


METHODS: Mapping[str, Method] = {
    "random": chance,
    "length": length,
    "wilson failure table": wilson,
    "gain table": table,
    "hashed, text alone": hashed,
    "default (hashed)": stacked,
    "oracle": oracle,
}


def _vector(record: PairedOutcome) -> Vector:
    if record.id not in _vectors:
        _vectors[record.id] = vector(record.step)
    return _vectors[record.id]


def _unnamed(seen: Vector) -> Vector:
    kept = [
        (place, value)
        for place, value in zip(seen.positions, seen.values, strict=True)
        if not 2 * WORDS <= place < 2 * WORDS + NAMES
    ]
    return Vector([place for place, _ in kept], [value for _, value in kept])


def _wilson(failed: int, n: int, z: float = 2.326) -> float:
    rate = failed / n
    middle, half = rate + z * z / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (middle + half) / (1 + z * z / n)
