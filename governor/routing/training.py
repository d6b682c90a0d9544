"""From recorded outcomes to a snapshot: learn of one part of the records, choose thresholds and count the guard on the other.

Pure, and the same for the same input: what is random is seeded, the time is an argument. A model is never fitted again on all records
after its threshold was chosen: the promise would not be about that model any more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.errors import RoutingError
from governor.routing.features import vector
from governor.routing.guard import OK, QUANTILES, Promise, choose_threshold, is_regret
from governor.routing.hashed import as_kept, train_hashed
from governor.routing.learned import SnapshotEstimator
from governor.routing.metrics import Graded, curve
from governor.routing.records import latest
from governor.routing.snapshot import ANY_NODE, Calibration, Guarded, Snapshot, Trained, sealed
from governor.routing.table import WEAK_ONLY, tabled
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.routing.hashed import Hashed
    from governor.routing.records import PairedOutcome

__all__ = ["CALIBRATION_SHARE", "Scored", "evaluate", "parted", "scored", "target_of", "train"]

CALIBRATION_SHARE = 0.3
"""Share of the records that is kept apart."""

_MICRO = 1_000_000
_FEWEST = 100
"""Calibration records below which the hashed model is left out: nothing could be said of how well it fits."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A record and what a snapshot estimates of it; None where it abstains, and the better tier answers."""

    record: PairedOutcome
    gain: float | None


def train(
    records: Iterable[PairedOutcome],
    *,
    weak: str,
    strong: str,
    created_ms: int,
    parent: str = "",
    promise: Promise | None = None,
    share: float = CALIBRATION_SHARE,
    seed: int = 0,
) -> Snapshot:
    """A snapshot of all records of the pair, sealed. `promise`: its accuracy is measured here, whatever it holds.

    Raises RoutingError when no record is of this pair.
    """
    own = [each for each in latest(records) if (each.weak.tier, each.strong.tier) == (weak, strong)]
    if not own:
        remedy = "Record outcomes first (shadow calls, or a replay), and name the cheaper tier first."
        raise RoutingError(f"no record compares {weak} with {strong}", remedy=remedy)
    learning, kept = parted(own, share)
    hashed, calibration = _fitted(learning, kept, seed)
    snapshot = Snapshot(
        parent=parent,
        created_ms=created_ms,
        weak=weak,
        strong=strong,
        table=tabled(learning),
        hashed=hashed,
        calibration=calibration,
    )
    seen = scored(snapshot, kept)
    right = sum(each.strong.score >= OK for each in kept)
    trained = Trained(
        records=len(own),
        calibration=len(kept),
        from_ms=min(each.at_ms for each in own),
        to_ms=max(each.at_ms for each in own),
        strong_right=right,
        weak_right=sum(each.weak.score >= OK for each in kept),
    )
    snapshot = replace(snapshot, quantiles=_quantiles(seen), trained=trained, evaluation=evaluate(seen))
    if promise is not None and right:
        snapshot = _guarded(snapshot, seen, replace(promise, accuracy=right / len(kept)))
    return sealed(snapshot)


def parted(
    records: Sequence[PairedOutcome], share: float = CALIBRATION_SHARE
) -> tuple[list[PairedOutcome], list[PairedOutcome]]:
    """Records to learn of, and to calibrate on. All records of a run are on one side, on the same one whenever it is trained again."""
    kept = [each for each in records if _place(each.run or each.id) < share]
    names = {each.id for each in kept}
    return [each for each in records if each.id not in names], kept


def target_of(record: PairedOutcome) -> float:
    """What the models learn to rank by: the gain, and half of a loss (`table.WEAK_ONLY`)."""
    return record.gain if record.gain > 0 else WEAK_ONLY * record.gain


def scored(snapshot: Snapshot, records: Iterable[PairedOutcome]) -> list[Scored]:
    """What the snapshot estimates of each record."""
    estimator = SnapshotEstimator(snapshot)
    found: list[Scored] = []
    for record in records:
        estimate = estimator.estimate(record.step)
        found.append(Scored(record=record, gain=None if estimate is None else estimate.gain))
    return found


def evaluate(seen: Sequence[Scored]) -> dict[str, float]:
    """`apgr`, `cpt50`, `cpt80` and `cost98` of records that were not learned from; without those that cannot be told.

    Where the snapshot abstains, the better tier answers first of all. The cost counts records of which both costs are known.
    """
    scores = [2.0 if each.gain is None else each.gain for each in seen]
    whole = curve([_graded(each.record) for each in seen], scores)
    priced = [at for at, each in enumerate(seen) if None not in (each.record.strong.cost, each.record.weak.cost)]
    paid = curve([_graded(seen[at].record) for at in priced], [scores[at] for at in priced])
    figures = {
        "apgr": whole.apgr,
        "cpt50": 100 * whole.cpt(0.5),
        "cpt80": 100 * whole.cpt(0.8),
        "cost98": paid.cost_at(0.98),
    }
    return {name: round(figure, 6) for name, figure in figures.items() if not math.isnan(figure)}


def _graded(record: PairedOutcome) -> Graded:
    return Graded(
        id=record.id,
        strong=record.strong.score,
        weak=record.weak.score,
        strong_cost=record.strong.cost or 0,
        weak_cost=record.weak.cost or 0,
    )


def _place(name: str) -> float:
    """Where between 0 and 1 a name falls, for ever."""
    return int.from_bytes(hashlib.sha256(f"governor-calibration|{name}".encode()).digest()[:7], "big") / 2**56


def _fitted(
    learning: Sequence[PairedOutcome], kept: Sequence[PairedOutcome], seed: int
) -> tuple[Hashed | None, Calibration | None]:
    """The hashed model and its calibration; none where it says nothing of records that it has not seen, or these are too few."""
    if len(kept) < _FEWEST or not learning:
        return None, None
    seen = [vector(each.step) for each in learning]
    hashed = as_kept(train_hashed(seen, [target_of(each) for each in learning], seed=seed))
    scores = [hashed.score(vector(each.step)) for each in kept]
    gains = [each.gain for each in kept]
    n, score, gain = len(kept), math.fsum(scores) / len(kept), math.fsum(gains) / len(kept)
    squares = math.fsum((each - score) ** 2 for each in scores)
    both = math.fsum((x - score) * (y - gain) for x, y in zip(scores, gains, strict=True))
    if squares <= 0 or both <= 0:
        return None, None
    slope = both / squares
    left = math.fsum((y - gain - slope * (x - score)) ** 2 for x, y in zip(scores, gains, strict=True))
    calibration = Calibration(
        offset=round(_MICRO * (gain - slope * score)),
        slope=round(_MICRO * slope),
        spread=round(_MICRO * math.sqrt(left / max(1, n - 2))),
        n=n,
    )
    return hashed, calibration


def _quantiles(seen: Sequence[Scored]) -> tuple[int, ...]:
    """Estimated gains at each 2% of the calibration records, each of which counts as often as it stands for calls."""
    gains = sorted((_score(each), 1 / each.record.propensity) for each in seen)
    if not gains:
        return ()
    found: list[int] = []
    total, passed, at = math.fsum(weight for _, weight in gains), 0.0, 0
    for step in range(QUANTILES):
        while at < len(gains) - 1 and passed + gains[at][1] <= total * step / (QUANTILES - 1):
            passed += gains[at][1]
            at += 1
        found.append(round(_MICRO * gains[at][0]))
    return tuple(found)


def _score(each: Scored) -> float:
    return 1.0 if each.gain is None else each.gain


def _guarded(snapshot: Snapshot, seen: Sequence[Scored], promise: Promise) -> Snapshot:
    """The snapshot with the threshold that keeps the promise, and with what was counted below it, for all nodes and for each."""
    chosen = choose_threshold([(_score(each), is_regret(each.record)) for each in seen], promise)
    at = -math.inf if chosen is None else math.floor(_MICRO * chosen.at) / _MICRO
    rows = [_counted(ANY_NODE, snapshot.weak, seen, at)]
    paths = sorted({each.record.step.path for each in seen})
    rows += [
        _counted(path, snapshot.weak, [each for each in seen if each.record.step.path == path], at) for path in paths
    ]
    trained = replace(
        snapshot.trained, max_loss=round(_MICRO * promise.max_loss), confidence=round(_MICRO * promise.confidence)
    )
    threshold = None if chosen is None else math.floor(_MICRO * chosen.at)
    return replace(snapshot, threshold=threshold, guard=tuple(rows), trained=trained)


def _counted(path: str, weak: str, seen: Sequence[Scored], at: float) -> Guarded:
    sent = [each for each in seen if each.gain is not None and each.gain <= at]
    return Guarded(key=(path, weak), n=len(seen), sent=len(sent), regrets=sum(is_regret(each.record) for each in sent))
