"""What was decided and what came of it, kept on this machine in one SQLite file: routed steps, what was said of them, paired answers.

Kept only where somebody asked for it: a policy with `routing.outcomes`, or `$GOVERNOR_OUTCOMES`. Many processes may share the file. The
newest message of a step is kept only as far as the policy's `trace.content` allows; everything else is names and numbers.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from governor.errors import ConfigurationError, StoreError
from governor.redaction import KINDS, Redactor
from governor.routing.records import LabelSource, PairedOutcome, Side, dump_record, parse_record
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.policy.load import LoadedPolicy
    from governor.policy.schema import Policy

__all__ = ["ENVIRONMENT", "SAID_BY", "Outcome", "Outcomes", "Step", "checked", "kept_text", "outcomes_path", "recorded"]

ENVIRONMENT = "GOVERNOR_OUTCOMES"
SAID_BY: tuple[str, ...] = tuple(each for each in get_args(LabelSource) if each != "replay")
"""Who may say how good a step was."""
_OVER_GATES = ("judge", "evaluator", "reward", "user")
"""Whose word replaces a gate's about the answer that was used, the weightiest last."""
_APPLICATION_ID, _VERSION = 0x676F766F, 1
"""`govo`: marks the file as ours, so that no other database is taken for outcomes."""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS steps (
    run TEXT NOT NULL, step INTEGER NOT NULL, node TEXT NOT NULL, path TEXT NOT NULL, tier TEXT, model TEXT NOT NULL,
    code TEXT NOT NULL, snapshot TEXT NOT NULL, propensity REAL NOT NULL, signal TEXT NOT NULL, cost INTEGER, at_ms INTEGER NOT NULL,
    features TEXT NOT NULL, PRIMARY KEY (run, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, run TEXT NOT NULL, node TEXT, step INTEGER, score REAL NOT NULL,
    source TEXT NOT NULL, at_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS outcomes_by_run ON outcomes (run);
CREATE TABLE IF NOT EXISTS pairs (id TEXT PRIMARY KEY, run TEXT NOT NULL, step INTEGER NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One routed model call."""

    run: str
    step: int
    """Number of the model call in its run, from 1."""
    node: str
    path: str
    tier: str | None
    """None: the graph's own model."""
    model: str
    code: str = ""
    """Of the decision: `route.rule`, `route.gain`, ..."""
    snapshot: str = ""
    """Id of the snapshot that it rests on."""
    propensity: float = 1.0
    """How likely it was that this tier would answer, above 0. Decisions are not drawn by lot: 1."""
    signal: str = ""
    """What a gate said of the answer; empty when it passed."""
    cost: int | None = None
    """Nano-USD; None where nobody knows."""
    at_ms: int = 0
    features: Mapping[str, Any] | None = None
    """Of `StepFeatures`, without its text unless the policy allows it."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What somebody said of a run, of a node in it, or of one step."""

    id: str
    run: str
    score: float
    """0 is useless, 1 is right."""
    source: str = "user"
    node: str | None = None
    step: int | None = None
    at_ms: int = 0

    def __str__(self) -> str:
        """The outcome as a line of JSON, as `governor distill export --outcomes` reads it."""
        found = {name: getattr(self, name) for name in type(self).__slots__}
        return json.dumps({name: value for name, value in found.items() if value is not None})


def outcomes_path(loaded: LoadedPolicy | None = None) -> Path | None:
    """Where outcomes go: what the policy names, else `$GOVERNOR_OUTCOMES`; None where nobody asked for any.

    A relative path in a policy begins at the folder of the file that it is written in.
    """
    named = None if loaded is None else loaded.policy.routing.outcomes
    if loaded is None or named is None:
        given = os.environ.get(ENVIRONMENT)
        return Path(given).expanduser() if given else None
    path, written_in = Path(named).expanduser(), Path(loaded.place_of(("routing", "outcomes"))[0])
    return path if path.is_absolute() or not written_in.is_file() else written_in.parent / path


def recorded(policy: Policy) -> bool:
    """Whether somebody asked for outcomes."""
    return policy.routing.outcomes is not None or bool(os.environ.get(ENVIRONMENT))


def kept_text(policy: Policy, text: str) -> str:
    """What may be kept of a text by `trace.content`: all of it, what is left without personal data, or nothing."""
    content = policy.trace.content
    if content == "none":
        return ""
    return text if content == "full" else Redactor(policy.trace.redact or tuple(KINDS)).text(text)


def checked(outcome: Outcome) -> Outcome:
    """The outcome. Raises ConfigurationError, which names what is wrong and what to give instead."""
    score = cast("object", outcome.score)
    if not isinstance(score, (int, float)) or not math.isfinite(score) or not 0 <= score <= 1:
        raise ConfigurationError(f"a score is a number from 0 (useless) to 1 (right), not {score!r}.")
    if not outcome.run or not outcome.id:
        raise ConfigurationError("an outcome names the run that it is about: give the run's id.")
    if outcome.source not in SAID_BY:
        raise ConfigurationError(f"no outcome comes from `{outcome.source}`: give one of {', '.join(SAID_BY)}.")
    step = cast("object", outcome.step)
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 1):
        raise ConfigurationError(f"a step is the number of a model call in its run, from 1, not {step!r}.")
    return replace(outcome, score=float(outcome.score))


class Outcomes:
    """The file. Safe to share between threads; a fork opens it anew."""

    def __init__(self, path: Path, *, timeout_s: float = 10) -> None:
        """Opens nothing yet: the file is made with the first record. `timeout_s`: how long another process that writes is waited for."""
        self.path, self._timeout_s = path, timeout_s
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0

    def note(self, step: Step) -> None:
        """Keep a routed step. A step that is noted again, after a crash and a resume, is the later one. Raises StoreError."""
        row = (*(getattr(step, name) for name in _STEP[:-1]), json.dumps(step.features or {}, sort_keys=True))
        marks = ", ".join("?" * len(_STEP))
        with self._open() as connection:
            connection.execute(f"INSERT OR REPLACE INTO steps ({', '.join(_STEP)}) VALUES ({marks})", row)  # noqa: S608 - names of ours

    def pair(self, record: PairedOutcome) -> None:
        """Keep what two tiers made of one step. Raises StoreError."""
        row = (record.id, record.run, record.step.step + 1, dump_record(record))
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?, ?)", row)

    def add(self, outcome: Outcome) -> bool:
        """Keep what was said. False when it was known already, by its id.

        Raises ConfigurationError when it is none or its id stands for something else, StoreError when it cannot be written.
        """
        outcome = checked(outcome)
        row = tuple(getattr(outcome, name) for name in _OUTCOME)
        with self._open() as connection:
            found = connection.execute(
                "INSERT INTO outcomes (id, run, node, step, score, source, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                row,
            )
            if found.rowcount:
                return True
            known = connection.execute(
                "SELECT id, run, node, step, score, source FROM outcomes WHERE id = ?", (outcome.id,)
            ).fetchone()
        if known != row[:-1]:
            raise ConfigurationError(
                f"the id {outcome.id} stands for another outcome already: give every outcome its own."
            )
        return False

    def steps(self, run: str | None = None) -> Sequence[Step]:
        """Routed steps, of one run or of all, in order."""
        where, given = ("WHERE run = ?", (run,)) if run is not None else ("", ())
        rows = self._read(f"SELECT {', '.join(_STEP)} FROM steps {where} ORDER BY run, step", given)  # noqa: S608 - same
        return [Step(**dict(zip(_STEP, (*row[:-1], json.loads(row[-1])), strict=True))) for row in rows]

    def outcomes(self, run: str | None = None) -> Sequence[Outcome]:
        """What was said, of one run or of all, in the order in which it came."""
        where, given = ("WHERE run = ?", (run,)) if run is not None else ("", ())
        rows = self._read(f"SELECT {', '.join(_OUTCOME)} FROM outcomes {where} ORDER BY number", given)  # noqa: S608 - same
        return [Outcome(**dict(zip(_OUTCOME, row, strict=True))) for row in rows]

    def pairs(self) -> Iterator[PairedOutcome]:
        """Paired answers. What was said of a step replaces what a gate had guessed of the answer that was used.

        What was said of a whole run is left out: no step of it can be blamed without having seen the other answer.
        """
        said: dict[tuple[str, int], Outcome] = {}
        for each in self.outcomes():
            if each.step is not None and each.source in _OVER_GATES:
                known = said.get((each.run, each.step))
                if known is None or _OVER_GATES.index(each.source) >= _OVER_GATES.index(known.source):
                    said[each.run, each.step] = each
        for run, step, text in self._read("SELECT run, step, record FROM pairs ORDER BY id", ()):
            record = parse_record(text, file=str(self.path))
            word = said.get((run, step))
            yield record if word is None else _said(record, word)

    def _read(self, query: str, given: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not self.path.is_file():
            raise StoreError(
                f"{self.path}: no outcomes there. Name them in the policy's `routing.outcomes`, or in ${ENVIRONMENT}."
            )
        with self._open() as connection:
            return connection.execute(query, given).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._connection is None or self._pid != os.getpid():
                    self._connection, self._pid = _opened(self.path, self._timeout_s), os.getpid()
                yield self._connection
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self.path}: outcomes cannot be read or written: {error}. Check the path, or name another file."
            ) from error

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None


_STEP = (
    *("run", "step", "node", "path", "tier", "model", "code", "snapshot", "propensity", "signal", "cost", "at_ms"),
    "features",
)
_OUTCOME = ("id", "run", "node", "step", "score", "source", "at_ms")


def _opened(path: Path, timeout_s: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        _prepared(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepared(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    elif application != _APPLICATION_ID:
        raise StoreError(f"{path}: this is a database, but holds no outcomes of governor's. Name another file.")
    elif version != _VERSION:
        raise StoreError(
            f"{path}: written with format {version}, this version reads {_VERSION}. Move the file away to begin anew."
        )
    connection.execute("PRAGMA synchronous = NORMAL")


def _said(record: PairedOutcome, word: Outcome) -> PairedOutcome:
    """The pair with the score of the answer that was used as somebody said it."""

    def scored(side: Side) -> Side:
        return replace(side, score=word.score) if side.tier == record.sent else side

    if record.sent not in (record.strong.tier, record.weak.tier):
        return record
    source = cast("LabelSource", word.source)
    return replace(
        record,
        strong=scored(record.strong),
        weak=scored(record.weak),
        source=source,
        at_ms=max(record.at_ms, word.at_ms),
    )
