"""The parts of a snapshot, and how each is read back: `snapshot` puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from governor.routing.guard import Counts
from governor.routing.hashed import Hashed, unpack
from governor.routing.table import Cell
from governor.values import cheap

if TYPE_CHECKING:
    from governor.routing.reading import Fields

__all__ = [
    "MICRO",
    "REMEDY",
    "Calibration",
    "Guarded",
    "Trained",
    "listed",
    "read_cell",
    "read_guarded",
    "read_hashed",
    "read_trained",
]

MICRO = 1_000_000
"""Numbers are whole millionths."""

REMEDY = "Train a new one with this version: governor route train."
"""What helps against nearly everything that can be wrong with a snapshot."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From a model's score to a gain: gain = `offset` + `slope` * score, counted on records that it had not learned from. Millionths."""

    offset: int
    slope: int
    spread: int
    """Standard deviation of what remains, of one record."""
    n: int


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """Calibration records of a node for the cheaper tier: how many, how many it would have answered, and how many of these wrongly."""

    key: tuple[str, str]
    """Path of the node, or `*` for all of them; the cheaper tier."""
    n: int
    sent: int
    regrets: int
    source: str = "calibration"

    @property
    def counts(self) -> Counts:
        """What `guard.exact_gate` asks for."""
        return Counts(n=self.n, regrets=self.regrets)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a snapshot was learned from."""

    records: int = 0
    calibration: int = 0
    """Of `records`, those that were kept apart: thresholds and the guard's counts come from them alone."""
    from_ms: int = 0
    to_ms: int = 0
    strong_right: int = 0
    """Of the calibration records, those that the better tier got right: the accuracy that a loss is a share of."""
    weak_right: int = 0
    max_loss: int = 0
    """The promise that the threshold was chosen for, in millionths; 0 without one."""
    confidence: int = 0


def listed(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """The named fields as JSON values."""
    found: dict[str, object] = {name: getattr(value, name) for name in names}
    return {
        name: [*cast("tuple[object, ...]", item)] if isinstance(item, tuple) else item for name, item in found.items()
    }


def read_hashed(given: Fields) -> tuple[Hashed, Calibration]:
    """The linear model and its calibration."""
    row = given.fields("calibration")
    calibration = Calibration(
        offset=row.integer("offset", least=None),
        slope=row.integer("slope"),
        spread=row.integer("spread"),
        n=row.integer("n"),
    )
    row.done()
    try:
        weights = unpack(given.text("weights"), given.integer("unit", least=1))
    except ValueError as error:
        raise given.wrong("weights", str(error), REMEDY) from None
    hashed = Hashed(given.integer("bias", least=None) / MICRO, weights)
    given.done()
    return hashed, calibration


def read_cell(given: Fields) -> Cell:
    """A row of the table."""
    counts = {name: given.integer(name) for name in ("n", "both", "gain", "weak_only", "neither")}
    cell = Cell(key=given.texts("key"), graded=given.integer("graded", least=None), **counts)
    if cell.n != cell.both + cell.gain + cell.weak_only + cell.neither:
        raise given.wrong("n", f"{cell.n} is not the sum of what it counts", REMEDY)
    given.done()
    return cell


def read_guarded(given: Fields) -> Guarded:
    """A row of the guard."""
    key = given.texts("key")
    given.integer("upper")
    guarded = Guarded(
        key=(key[0], key[1]) if len(key) == 2 else ("", ""),
        n=given.integer("n"),
        sent=given.integer("sent"),
        regrets=given.integer("regrets"),
        source=given.text("source"),
    )
    if not guarded.key[0] or not guarded.regrets <= guarded.sent <= guarded.n:
        raise given.wrong("key", "expected a node, a tier, and regrets <= sent <= n", REMEDY)
    given.done()
    return guarded


def read_trained(given: Fields) -> Trained:
    """What it was learned from."""
    trained = Trained(**{name: given.integer(name) for name in Trained.__slots__})
    given.done()
    return trained
