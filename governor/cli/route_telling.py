"""What `governor route` prints of snapshots, bounds and promotions: tables and sentences for people, one document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.operating import moment
from governor.cli.output import emit, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from governor.policy.schema import Policy
    from governor.routing.guard import Promise
    from governor.routing.promoting import Audited
    from governor.routing.snapshot import Snapshot

__all__ = ["changed", "figure", "promise_of", "sentence", "short", "summary", "told"]

_stdout = Console(highlight=False, soft_wrap=True)
_MICRO = 1_000_000


def promise_of(policy: Policy) -> Promise | None:
    """What the policy promises of quality; None where it promises nothing."""
    from governor.routing.guard import Promise

    quality = policy.routing.quality
    if quality is None:
        return None
    return Promise(max_loss=float(quality.max_loss), confidence=float(quality.confidence))


def told(found: Snapshot, policy: Policy, *, file: Path, figures: Mapping[str, float], as_json: bool) -> None:
    """A snapshot, its figures and the guard's bounds under the policy's promise."""
    bounds = _bounds(found, policy)
    if as_json:
        emit({**summary(found), "file": str(file), "evaluation": _rounded(figures), "guard": bounds})
        return
    trained = found.trained
    _stdout.print(f"{found.id}: {found.weak} < {found.strong}", style="bold", markup=False)
    _stdout.print(f"{file}", markup=False)
    _stdout.print(
        f"learned from {trained.records - trained.calibration:,} records, calibrated on {trained.calibration:,} others;"
        f" {found.strong} was right in {trained.strong_right:,} of these, {found.weak} in {trained.weak_right:,}",
        markup=False,
    )
    shown = ", ".join(f"{name} {figure(figures, name)}" for name in ("apgr", "cpt50", "cpt80", "cost98"))
    _stdout.print(shown, markup=False)
    if not bounds:
        _stdout.print("The policy promises nothing (`routing.quality`): no bounds.", style="dim")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("node", "tier", "pairs", "sent", "losses", "at most", "allowed", ""):
        table.add_column(name, justify="left" if name in ("node", "tier", "") else "right")
    for row in bounds:
        numbers = (
            f"{row['n']:,}",
            f"{row['sent']:,}",
            f"{row['regrets']:,}",
            f"{row['upper']:.1%}",
            f"{row['target']:.1%}",
        )
        table.add_row(
            escape(row["node"]),
            escape(row["tier"]),
            *numbers,
            "open" if row["open"] else f"closed: {row['need']:,} more",
        )
    print_table(table)


def _bounds(found: Snapshot, policy: Policy) -> list[dict[str, Any]]:
    """The guard's rows with the bound that the policy's promise asks for."""
    from dataclasses import replace

    from governor.routing.guard import exact_gate

    promise = promise_of(policy)
    if promise is None or not 0 < promise.max_loss < 1 or not 0 < promise.confidence < 1:
        return []
    promise = replace(promise, accuracy=found.accuracy or 1.0)
    rows: list[dict[str, Any]] = []
    for each in found.guard:
        gate = exact_gate(each.counts, promise)
        row = {"node": each.key[0], "tier": each.key[1], "n": each.n, "sent": each.sent, "regrets": each.regrets}
        rows.append({**row, "upper": gate.upper, "target": gate.target, "open": gate.open, "need": gate.need})
    return rows


def summary(found: Snapshot) -> dict[str, Any]:
    """A snapshot in a few values."""
    trained = found.trained
    return {
        "id": found.id,
        "parent": found.parent,
        "created_ms": found.created_ms,
        "weak": found.weak,
        "strong": found.strong,
        "records": trained.records,
        "calibration": trained.calibration,
        "threshold": None if found.threshold is None else found.threshold / _MICRO,
        "evaluation": _rounded(found.evaluation),
    }


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """As a snapshot's file has them."""
    return {name: round(value, 6) for name, value in figures.items()}


def changed(change: Audited, *, as_json: bool) -> None:
    """One change of what decides."""
    if as_json:
        emit(change.document())
    else:
        _stdout.print(sentence(change), markup=False)


def sentence(change: Audited) -> str:
    """The same as a line."""
    what = "promoted" if change.did == "promote" else "rolled back to"
    now = short(change.id) if change.id else "no snapshot"
    before = f", before: {short(change.before)}" if change.before else ""
    return f"{moment(change.at_ms)} {change.who} {what} {now}{before}: {change.why}"


def short(identifier: str) -> str:
    """The beginning of an id, enough to name it by."""
    return identifier.removeprefix("sha256:")[:12]


def figure(figures: Mapping[str, float], name: str) -> str:
    """A figure, or that it could not be told."""
    return f"{figures[name]:.3f}" if name in figures else "not known"
