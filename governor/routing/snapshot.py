"""A snapshot of what routing has learned: one JSON file that a person can review, and that says itself what it is.

Its id is a digest of its content; it holds counts, weights and no text of a prompt. Only a promoted snapshot decides anything, and one
that does not fit (another version, other features, tiers that the policy does not name) is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from governor.errors import RoutingError
from governor.routing.estimate import DELTA_CHARS
from governor.routing.features import FEATURES_VERSION, NAMES, NUMBERS, WORDS
from governor.routing.guard import lower_bound, upper_bound
from governor.routing.hashed import Hashed, pack
from governor.routing.kept import (
    MICRO,
    REMEDY,
    Calibration,
    Guarded,
    Trained,
    listed,
    read_cell,
    read_guarded,
    read_hashed,
    read_trained,
)
from governor.routing.reading import Fields, canonical, parse_object
from governor.routing.table import Cell
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "ANY_NODE",
    "SNAPSHOT_VERSION",
    "Calibration",
    "Guarded",
    "Snapshot",
    "Trained",
    "dump_snapshot",
    "load_snapshot",
    "parse_snapshot",
    "sealed",
    "write_snapshot",
]

SNAPSHOT_VERSION = 1

ANY_NODE = "*"
"""The key of the guard's counts over all nodes."""

_FEATURES = {
    "version": FEATURES_VERSION,
    "hash": "crc32",
    "buckets": 2 * WORDS,
    "names": NAMES,
    "numbers": len(NUMBERS),
    "max_chars": DELTA_CHARS,
}


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What routing has learned. Make one by `training.train`, or read one; `sealed` gives it its id."""

    id: str = ""
    parent: str = ""
    """Id of the snapshot that was promoted when this one was trained."""
    created_ms: int = 0
    weak: str
    """The cheaper tier of the pair."""
    strong: str
    table: tuple[Cell, ...] = ()
    hashed: Hashed | None = None
    calibration: Calibration | None = None
    """Of `hashed`; without it the table decides alone."""
    quantiles: tuple[int, ...] = ()
    """The estimated gain of the calibration records at 0%, 2% ... 100%, in millionths: for `frontier_share`."""
    threshold: int | None = None
    """Up to which estimated gain the cheaper tier may answer by the promise of `trained`, in millionths. None: nowhere."""
    guard: tuple[Guarded, ...] = ()
    encoder: Mapping[str, object] | None = None
    """Sections of other estimators, kept as they are."""
    judge: Mapping[str, object] | None = None
    posthoc: Mapping[str, object] | None = None
    trained: Trained = field(default_factory=Trained)
    evaluation: Mapping[str, float] = field(default_factory=dict[str, float])
    """Figures on the calibration records: `apgr`, `cpt50`, `cpt80`, `cost98`."""

    def cut(self, share: float) -> float | None:
        """Up to which estimated gain the cheaper tier answers, when the better one is to get `share` of the recorded calls.

        None where there are no quantiles: then the better tier answers.
        """
        if not self.quantiles:
            return None
        at = (1 - min(1.0, max(0.0, share))) * (len(self.quantiles) - 1)
        low = int(at)
        high = min(low + 1, len(self.quantiles) - 1)
        between = self.quantiles[low] + (at - low) * (self.quantiles[high] - self.quantiles[low])
        return between / MICRO

    @property
    def promised(self) -> float | None:
        """`threshold` as a gain."""
        return None if self.threshold is None else self.threshold / MICRO

    @property
    def accuracy(self) -> float:
        """How often the better tier is right at least, by the calibration records and with the promised confidence (95% without one)."""
        confidence = self.trained.confidence / MICRO or 0.95
        return lower_bound(self.trained.strong_right, self.trained.calibration, confidence)

    def guarded(self, path: str) -> Guarded | None:
        """The guard's counts of a node, or `ANY_NODE`."""
        return next((each for each in self.guard if each.key[0] == path), None)


def sealed(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its id."""
    return replace(snapshot, id=_digest(_values(snapshot)))


def dump_snapshot(snapshot: Snapshot) -> str:
    """The snapshot as canonical JSON, sealed: equal content gives equal bytes."""
    values = _values(snapshot)
    return canonical({**values, "id": _digest(values)}) + "\n"


def write_snapshot(path: str | Path, snapshot: Snapshot) -> str:
    """Write it in the place of what is there; its id."""
    text = dump_snapshot(snapshot)
    Path(path).write_text(text, encoding="ascii")
    return str(json.loads(text)["id"])


def load_snapshot(path: str | Path, *, tiers: Collection[str] | None = None) -> Snapshot:
    """A snapshot from a file. Raises RoutingError with file, what is wrong and the remedy."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        remedy = "Name a snapshot that `governor route train` wrote."
        raise RoutingError(f"it cannot be read ({error})", file=str(path), remedy=remedy) from error
    return parse_snapshot(text, file=str(path), tiers=tiers)


def parse_snapshot(text: str, *, file: str | None = None, tiers: Collection[str] | None = None) -> Snapshot:
    """The inverse of `dump_snapshot`. `tiers`: those of the policy; a snapshot of other tiers is refused. Raises RoutingError."""
    given = parse_object(text, file=file, line=None, remedy=REMEDY)
    version = given.integer("governor_routing")
    if version != SNAPSHOT_VERSION:
        raise given.wrong("governor_routing", f"version {version} of snapshots is not known", REMEDY)
    values = cast("dict[str, object]", json.loads(text))
    stated = given.text("id")
    if stated != _digest({name: value for name, value in values.items() if name != "id"}):
        raise given.wrong("id", "the content is not what this id was made of", "Do not edit a snapshot. " + REMEDY)
    _features(given.fields("features"))
    weak, strong = _pair(given, tiers)
    hashed, calibration = read_hashed(given.fields("hashed")) if given.has("hashed") else (None, None)
    snapshot = Snapshot(
        id=stated,
        parent=given.text("parent", ""),
        created_ms=given.integer("created_ms"),
        weak=weak,
        strong=strong,
        table=tuple(read_cell(each) for each in given.rows("table")),
        hashed=hashed,
        calibration=calibration,
        quantiles=_integers(given, "quantiles"),
        threshold=given.integer("threshold", least=None) if given.has("threshold") else None,
        guard=tuple(read_guarded(each) for each in given.rows("guard")),
        encoder=_section(given, values, "encoder"),
        judge=_section(given, values, "judge"),
        posthoc=_section(given, values, "posthoc"),
        trained=read_trained(given.fields("trained")),
        evaluation=_evaluation(given, values),
    )
    given.done()
    return snapshot


def _values(snapshot: Snapshot) -> dict[str, object]:
    """Everything but the id, as JSON values."""
    found: dict[str, object] = {
        "governor_routing": SNAPSHOT_VERSION,
        "parent": snapshot.parent,
        "created_ms": snapshot.created_ms,
        "pair": [snapshot.weak, snapshot.strong],
        "features": _FEATURES,
        "table": [
            listed(cell, ("key", "n", "both", "gain", "weak_only", "neither", "graded")) for cell in snapshot.table
        ],
        "quantiles": list(snapshot.quantiles),
        "threshold": snapshot.threshold,
        "guard": [
            {**listed(each, ("key", "n", "sent", "regrets", "source")), "upper": _upper(each)}
            for each in snapshot.guard
        ],
        "trained": listed(snapshot.trained, tuple(Trained.__slots__)),
        "evaluation": {name: round(value, 6) for name, value in sorted(snapshot.evaluation.items())},
    }
    if snapshot.hashed is not None and snapshot.calibration is not None:
        weights, unit = pack(snapshot.hashed.weights)
        calibration = listed(snapshot.calibration, tuple(Calibration.__slots__))
        bias = round(snapshot.hashed.bias * MICRO)
        found["hashed"] = {"bias": bias, "weights": weights, "unit": unit, "calibration": calibration}
    for name in ("encoder", "judge", "posthoc"):
        section = getattr(snapshot, name)
        if section is not None:
            found[name] = section
    return found


def _digest(values: Mapping[str, object]) -> str:
    return f"sha256:{hashlib.sha256(canonical(values).encode('ascii')).hexdigest()}"


def _upper(guarded: Guarded) -> int:
    """The exact bound at 95%, in millionths, for whoever reads the file."""
    return round(upper_bound(guarded.regrets, guarded.n, 0.95) * MICRO)


def _features(given: Fields) -> None:
    for name, expected in _FEATURES.items():
        found = given.text(name) if isinstance(expected, str) else given.integer(name)
        if found != expected:
            raise given.wrong(name, f"learned of other features: {found}, and this governor has {expected}", REMEDY)
    given.done()


def _pair(given: Fields, tiers: Collection[str] | None) -> tuple[str, str]:
    pair = given.texts("pair")
    if len(pair) != 2 or pair[0] == pair[1]:
        raise given.wrong("pair", "expected two tiers, the cheaper one first", REMEDY)
    for tier in pair:
        if tiers is not None and tier not in tiers:
            known = ", ".join(tiers) or "none"
            raise given.wrong(
                "pair", f"the policy has no tier {tier} (it has: {known})", "Rename the tier, or train anew."
            )
    return pair[0], pair[1]


def _integers(given: Fields, name: str) -> tuple[int, ...]:
    items = given.list_of(name)
    found = tuple(item for item in items if isinstance(item, int))
    if len(found) != len(items) or list(found) != sorted(found):
        raise given.wrong(name, "expected whole numbers, none smaller than the one before", REMEDY)
    return found


def _section(given: Fields, values: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    if not given.has(name):
        return None
    given.fields(name)
    return cast("Mapping[str, object]", values[name])


def _evaluation(given: Fields, values: Mapping[str, object]) -> dict[str, float]:
    figures = given.fields("evaluation")
    names = cast("Mapping[str, object]", values["evaluation"])
    return {name: figures.number(name) for name in names}
