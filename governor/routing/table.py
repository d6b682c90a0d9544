"""The gain table: what the better tier gained at a node, and at a node after an outcome. No text, whole counts, microseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.routing.estimate import Estimate
from governor.routing.guard import OK
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.routing.estimate import StepFeatures
    from governor.routing.records import PairedOutcome

__all__ = ["SHRINKAGE", "WEAK_ONLY", "Cell", "TableEstimator", "keys_of", "outcome_of", "tabled"]

SHRINKAGE = 10
"""Records of its parent that a cell's own count against."""

WEAK_ONLY = 0.5
"""What a step counts, for ranking, that only the cheaper tier got right. A whole unit would be its true share of the gain, but most of
these are luck: by half of it steps are ranked better than by all or nothing of it (five folds of MMLU: 0.673, 0.668, 0.665)."""

_Z = 1.96


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What became of the steps of one key. `()` is the root, `(path,)` a node, `(path, outcome)` a node after an outcome."""

    key: tuple[str, ...]
    n: int = 0
    both: int = 0
    gain: int = 0
    """Only the better tier was right."""
    weak_only: int = 0
    neither: int = 0
    graded: int = 0
    """Sum of the differences of the scores in millionths: for answers of 0 and 1 the same as a million times (gain - weak_only)."""


def outcome_of(step: StepFeatures) -> str:
    """The second part of a step's key."""
    return step.outcome or "ok"


def keys_of(step: StepFeatures) -> tuple[tuple[str, ...], ...]:
    """The keys of a step, the root first."""
    path = step.path or step.node
    return (), (path,), (path, outcome_of(step))


def tabled(records: Iterable[PairedOutcome]) -> tuple[Cell, ...]:
    """The cells of some records, in the order of their keys."""
    cells: dict[tuple[str, ...], Cell] = {}
    for record in records:
        strong, weak = record.strong.score >= OK, record.weak.score >= OK
        kind = "both" if strong and weak else "gain" if strong else "weak_only" if weak else "neither"
        for key in keys_of(record.step):
            cell = cells.get(key) or Cell(key=key)
            more = {kind: getattr(cell, kind) + 1, "n": cell.n + 1}
            cells[key] = replace(cell, graded=cell.graded + round(1_000_000 * record.gain), **more)
    return tuple(cells[key] for key in sorted(cells))


class TableEstimator:
    """Estimates by the table alone: (sum of gains + 10 * the parent's mean) / (n + 10). Abstains at a node it has never seen."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        """Work out every cell's mean and interval once."""
        self._found: dict[tuple[str, ...], Estimate] = {}
        self._ranks: dict[tuple[str, ...], float] = {}
        for cell in sorted(cells, key=lambda cell: cell.key):
            parent = cell.key[:-1]
            above, rank_above = self._found.get(parent), self._ranks.get(parent, 0.0)
            mean = cell.graded / 1_000_000
            weight = SHRINKAGE if above is not None and cell.key else 0
            gain = (mean + weight * (above.gain if above is not None else 0.0)) / max(1, cell.n + weight)
            rank = (mean + (1 - WEAK_ONLY) * cell.weak_only + weight * rank_above) / max(1, cell.n + weight)
            self._ranks[cell.key] = rank
            self._found[cell.key] = _estimate(cell, gain, weight)

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """The gain of the most special key that is known, at least the node's; None where the node is not."""
        _, node, special = keys_of(step)
        return self._found.get(special) or self._found.get(node)

    def rank(self, step: StepFeatures) -> float | None:
        """A number to rank steps by; None like `estimate`."""
        _, node, special = keys_of(step)
        return self._ranks.get(special, self._ranks.get(node))


def _estimate(cell: Cell, gain: float, weight: int) -> Estimate:
    """The interval is that of a mean of n + 10 differences, with the variance that was counted and one made-up gain and loss."""
    moved = (cell.gain + cell.weak_only + 1) / (cell.n + 2)
    half = _Z * math.sqrt(max(moved - gain * gain, 0.01) / (cell.n + weight + 1))
    facts: Mapping[str, str] = {
        name: str(getattr(cell, name)) for name in ("n", "both", "gain", "weak_only", "neither")
    }
    return Estimate(
        gain=gain,
        low=max(-1.0, gain - half),
        high=min(1.0, gain + half),
        records=cell.n,
        layer=f"table {'/'.join(cell.key)}".rstrip(),
        facts=facts,
    )
