"""Paired outcomes: what two tiers made of the same step. What estimators learn from and guards count.

Kept locally, one JSON object a line. The text of a record never leaves the file: snapshots hold counts and weights alone.
"""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from governor.errors import RoutingError
from governor.routing.estimate import DELTA_CHARS, StepFeatures
from governor.routing.reading import Fields, canonical, parse_object
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "RECORD_VERSION",
    "LabelSource",
    "PairedOutcome",
    "Side",
    "dump_record",
    "latest",
    "parse_record",
    "read_records",
    "write_records",
]

RECORD_VERSION = 1

LabelSource = Literal["gate", "judge", "user", "reward", "evaluator", "replay"]
"""Who said how good the answers were: a gate after the call, a blind judge, a user, the task's reward, an evaluator of the
application, or a replay of both tiers."""

_SOURCES: tuple[str, ...] = get_args(LabelSource)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one tier made of the step."""

    tier: str
    score: float
    """0 is useless, 1 is right; between them for graded outcomes."""
    cost: int | None = None
    """Nano-USD of its call; None where it is not known."""
    answer: str = ""
    """What it answered, for estimators that look at the cheap answer; empty when it was not kept."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class PairedOutcome:
    """One step that both tiers have answered, or of which both results are known otherwise."""

    id: str
    """Of the step. A later record of the same id takes the place of an earlier one."""
    step: StepFeatures
    strong: Side
    weak: Side
    source: LabelSource
    at_ms: int = 0
    """When it was labelled, milliseconds since the epoch."""
    propensity: float = 1.0
    """How likely it was that this step would be paired: 0.01 for shadow calls at 1%. Above 0, at most 1.

    It must not depend on the answers: pairs that exist because the cheap answer had failed say nothing of how often it fails."""
    sent: str = ""
    """The tier that answered for real; empty when the pair was made offline."""
    run: str = ""
    """Of the run; its steps are never parted between training and calibration. Empty: the step stands for itself."""

    @property
    def gain(self) -> float:
        """What the stronger tier gained, -1 to 1."""
        return self.strong.score - self.weak.score


def dump_record(record: PairedOutcome) -> str:
    """The record as one line of JSON, without the line's end."""
    step = {each.name: getattr(record.step, each.name) for each in fields(StepFeatures)}
    return canonical(
        {
            "governor_record": RECORD_VERSION,
            "id": record.id,
            "step": {name: value for name, value in step.items() if value not in ("", 0, False)},
            "strong": _side_values(record.strong),
            "weak": _side_values(record.weak),
            "source": record.source,
            "at_ms": record.at_ms,
            "propensity": record.propensity,
            "sent": record.sent,
            "run": record.run,
        }
    )


def parse_record(text: str, *, file: str | None = None, line: int | None = None) -> PairedOutcome:
    """The inverse of `dump_record`. Raises RoutingError with file, line, field and remedy."""
    remedy = "Every line is one record, as `dump_record` writes it; remove a line that was cut off."
    given = parse_object(text, file=file, line=line, remedy=remedy)
    version = given.integer("governor_record")
    if version != RECORD_VERSION:
        message = f"version {version} of records is not known"
        raise given.wrong("governor_record", message, f"This governor reads version {RECORD_VERSION}.")
    strong, weak = _side(given.fields("strong")), _side(given.fields("weak"))
    if strong.tier == weak.tier:
        raise given.wrong("weak.tier", f"both sides are {strong.tier}", "Name the tiers that were compared.")
    record = PairedOutcome(
        id=given.text("id"),
        step=_step(given.fields("step")),
        strong=strong,
        weak=weak,
        source=cast("LabelSource", given.text("source", one_of=_SOURCES)),
        at_ms=given.integer("at_ms", 0),
        propensity=given.number("propensity", 1.0, least=0, most=1),
        sent=given.text("sent", ""),
        run=given.text("run", ""),
    )
    if not record.propensity:
        raise given.wrong("propensity", "0 says that this could not be recorded", "Write how likely it was.")
    given.done()
    return record


def read_records(path: str | Path) -> Iterator[PairedOutcome]:
    """The records of a file of JSON lines, `.gz` or not. Raises RoutingError at the first line that is none."""
    path = Path(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield parse_record(line, file=str(path), line=number)
    except (OSError, UnicodeError, EOFError, zlib.error) as error:
        remedy = "Name a readable file of recorded outcomes, in UTF-8."
        raise RoutingError(f"it cannot be read ({error})", file=str(path), remedy=remedy) from error


def write_records(path: str | Path, records: Iterable[PairedOutcome]) -> int:
    """Write the records as JSON lines in the place of what is there. Returns how many; equal records make equal bytes."""
    path, count = Path(path), 0
    text = io.StringIO()
    for record in records:
        text.write(f"{dump_record(record)}\n")
        count += 1
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return count


def latest(records: Iterable[PairedOutcome]) -> list[PairedOutcome]:
    """One record for each id, the one labelled last, ordered by id: what a user says later replaces what a gate had guessed."""
    found: dict[str, PairedOutcome] = {}
    for record in records:
        known = found.get(record.id)
        if known is None or record.at_ms >= known.at_ms:
            found[record.id] = record
    return [found[name] for name in sorted(found)]


def _side_values(side: Side) -> dict[str, Any]:
    found: dict[str, Any] = {"tier": side.tier, "score": side.score}
    if side.cost is not None:
        found["cost"] = side.cost
    if side.answer:
        found["answer"] = side.answer
    return found


def _side(given: Fields) -> Side:
    cost = given.integer("cost") if given.has("cost") else None
    tier, score = given.text("tier"), given.number("score", least=0, most=1)
    side = Side(tier=tier, score=score, cost=cost, answer=given.text("answer", ""))
    given.done()
    return side


def _step(given: Fields) -> StepFeatures:
    step = StepFeatures(
        node=given.text("node"),
        path=given.text("path", ""),
        delta=given.text("delta", "")[:DELTA_CHARS],
        outcome=given.text("outcome", ""),
        errors=given.integer("errors", 0),
        repeats=given.integer("repeats", 0),
        step=given.integer("step", 0),
        pending_tool=given.text("pending_tool", ""),
        structured=given.flag("structured", default=False),
        prefix_tokens=given.integer("prefix_tokens", 0),
        delta_tokens=given.integer("delta_tokens", 0),
    )
    given.done()
    return step if step.path else replace(step, path=step.node)
