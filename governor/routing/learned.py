"""Estimates by a snapshot: the table where it is sure, the hashed model in the band around the threshold, else nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from governor.routing.estimate import Estimate
from governor.routing.features import vector
from governor.routing.table import TableEstimator

if TYPE_CHECKING:
    from governor.policy.models import Routing
    from governor.routing.estimate import StepFeatures
    from governor.routing.snapshot import Snapshot

__all__ = ["SnapshotEstimator", "band_of"]

_Z = 1.96
_MICRO = 1_000_000


class SnapshotEstimator:
    """An `Estimator`. Pure and safe for threads: it changes nothing after it is made."""

    def __init__(self, snapshot: Snapshot, *, band: tuple[float, float] | None = None) -> None:
        """`band`: gains between which the choice is open. Where the table's whole interval lies outside of it, no text is read.

        Without a band the hashed model is always asked: within a node it knows better than the table.
        """
        self.snapshot = snapshot
        self._table = TableEstimator(snapshot.table)
        self._band = band
        self._hashed, self._calibration = snapshot.hashed, snapshot.calibration

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """The gain at a step. None at a node that no record is of: what was learned elsewhere says nothing of it."""
        known = self._table.estimate(step)
        if known is None or self._hashed is None or self._calibration is None or self._sure(known):
            return known
        score = self._hashed.score(vector(step))
        calibration = self._calibration
        gain = (calibration.offset + calibration.slope * score) / _MICRO
        half = _Z * calibration.spread / _MICRO / math.sqrt(1 + known.records)
        return Estimate(
            gain=max(-1.0, min(1.0, gain)),
            low=max(-1.0, min(1.0, gain - half)),
            high=min(1.0, max(-1.0, gain + half)),
            records=known.records,
            layer="hashed",
            facts={
                "score": f"{score:.4f}",
                "table": f"{known.gain:.4f}",
                "table_key": known.layer.removeprefix("table "),
                "calibrated_on": str(calibration.n),
                "snapshot": self.snapshot.id[:19],
            },
        )

    def _sure(self, known: Estimate) -> bool:
        return self._band is not None and (known.high < self._band[0] or known.low > self._band[1])


def band_of(snapshot: Snapshot, routing: Routing) -> tuple[float, float] | None:
    """Where the choice is open under a policy: around the threshold of its share, so that the table alone decides what it is sure of.

    None, and the whole estimator decides, where `quality` is promised: the promise's counts were made with the whole estimator.
    """
    if routing.frontier_share is None or routing.quality is not None:
        return None
    cut = snapshot.cut(float(routing.frontier_share))
    return None if cut is None else (cut, cut)
