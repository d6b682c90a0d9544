"""`governor route`: learn from recorded outcomes, look at what was learned, let it decide, take it back."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from governor.cli.operating import WhoOption, WhyOption, moment
from governor.cli.output import JsonOption, emit, errors, print_table
from governor.cli.route_telling import changed, figure, promise_of, sentence, short, summary, told
from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from governor.policy.load import LoadedPolicy
    from governor.policy.schema import Policy
    from governor.routing.promoting import Promotions
    from governor.routing.records import PairedOutcome

__all__ = ["app"]

app = typer.Typer(
    name="route", help="What routing has learned: train, look at it, promote it, roll it back.", no_args_is_help=True
)
_stdout = Console(highlight=False, soft_wrap=True)
_MICRO = 1_000_000

PolicyOption = Annotated[
    str, typer.Option("--policy", "-p", help="The policy whose tiers, promise and files (`routing`) are meant.")
]
OutcomesOption = Annotated[
    Path | None,
    typer.Option("--outcomes", help="The file of outcomes. Default: `routing.outcomes`, else $GOVERNOR_OUTCOMES."),
]
RecordsOption = Annotated[
    list[Path] | None, typer.Option("--records", help="Paired outcomes as JSON lines, instead of the file of outcomes.")
]
SnapshotArgument = Annotated[str, typer.Argument(help="The beginning of a snapshot's id, or its file.")]


@app.command()
def train(
    *,
    policy: PolicyOption,
    outcomes: OutcomesOption = None,
    records: RecordsOption = None,
    weak: Annotated[str | None, typer.Option("--weak", help="The cheaper tier. Default: the policy's last.")] = None,
    strong: Annotated[
        str | None, typer.Option("--strong", help="The better tier. Default: the policy's first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write it. Default: beside the policy's snapshot.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds and records make equal snapshots.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn a snapshot from paired outcomes. Nothing decides by it before it is promoted."""
    from governor.routing.snapshot import write_snapshot
    from governor.routing.training import train as learned

    with errors(as_json=as_json):
        loaded = _policy(policy)
        lower, upper = _pair(loaded.policy, weak, strong)
        place = _promotions(loaded) if out is None or loaded.policy.routing.snapshot is not None else None
        current = place.current() if place is not None else None
        found = learned(
            _records(loaded, outcomes, records),
            weak=lower,
            strong=upper,
            created_ms=_now_ms(),
            parent=current.id if current is not None else "",
            promise=promise_of(loaded.policy),
            seed=seed,
        )
        if out is not None:
            write_snapshot(out, found)
        file = out if out is not None else place.keep(found) if place is not None else Path()
    told(found, loaded.policy, file=file, figures=found.evaluation, as_json=as_json)


@app.command(name="eval")
def evaluate(
    snapshot: SnapshotArgument,
    *,
    policy: PolicyOption,
    outcomes: OutcomesOption = None,
    records: RecordsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a snapshot is worth: on records that are given, else on those that it was calibrated on; and the guard's bounds."""
    from governor.routing.records import latest
    from governor.routing.snapshot import load_snapshot
    from governor.routing.training import evaluate as measured
    from governor.routing.training import scored

    with errors(as_json=as_json):
        loaded = _policy(policy)
        file = _found(loaded, snapshot)
        found = load_snapshot(file, tiers=loaded.policy.tiers)
        figures: Mapping[str, float] = found.evaluation
        if records or outcomes is not None:
            pairs = [
                each
                for each in latest(_records(loaded, outcomes, records))
                if (each.weak.tier, each.strong.tier) == (found.weak, found.strong)
            ]
            if not pairs:
                raise ConfigurationError(
                    f"no record compares {found.weak} with {found.strong}: name others with --records."
                )
            figures = measured(scored(found, pairs))
    told(found, loaded.policy, file=file, figures=figures, as_json=as_json)


@app.command()
def promote(
    snapshot: SnapshotArgument,
    *,
    policy: PolicyOption,
    why: WhyOption,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a snapshot decide: every process that starts from now on reads it."""
    from governor.routing.snapshot import load_snapshot

    with errors(as_json=as_json):
        loaded = _policy(policy)
        found = load_snapshot(_found(loaded, snapshot), tiers=loaded.policy.tiers)
        change = _promotions(loaded).promote(found, who=_who(who), why=_why(why), at_ms=_now_ms())
    changed(change, as_json=as_json)


@app.command()
def rollback(*, policy: PolicyOption, why: WhyOption, who: WhoOption = None, as_json: JsonOption = False) -> None:
    """Go back to the snapshot that decided before, or to rules and default alone where there was none."""
    with errors(as_json=as_json):
        loaded = _policy(policy)
        change = _promotions(loaded).rollback(who=_who(who), why=_why(why), at_ms=_now_ms())
    changed(change, as_json=as_json)


@app.command(name="list")
def listed(*, policy: PolicyOption, as_json: JsonOption = False) -> None:
    """List the snapshots of a policy, and who promoted what."""
    with errors(as_json=as_json):
        place = _promotions(_policy(policy))
        kept, audit = place.kept(), place.audit()
    if as_json:
        rows = [{**summary(each.snapshot), "promoted": each.promoted, "file": str(each.file)} for each in kept]
        emit({"snapshots": rows, "audit": [each.document() for each in audit]})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("snapshot", "trained (UTC)", "pair", "records", "apgr", "cost98", "promoted"):
        table.add_column(name, justify="right" if name in ("records", "apgr", "cost98") else "left")
    for each in kept:
        found = each.snapshot
        figures = (figure(found.evaluation, name) for name in ("apgr", "cost98"))
        pair = f"{found.weak} < {found.strong}"
        row = (short(found.id), moment(found.created_ms), escape(pair), f"{found.trained.records:,}")
        table.add_row(*row, *figures, "yes" if each.promoted else "")
    if kept:
        print_table(table)
    else:
        _stdout.print("No snapshot yet: see `governor route train`.")
    for line in audit:
        _stdout.print(sentence(line), markup=False)


# --- what is asked for


def _policy(named: str) -> LoadedPolicy:
    from governor.policy.load import load

    loaded = load(named)
    if len(loaded.policy.tiers) < 2:
        raise ConfigurationError(f"{named} names fewer than two tiers: there is nothing to route between.")
    return loaded


def _pair(policy: Policy, weak: str | None, strong: str | None) -> tuple[str, str]:
    tiers = list(policy.tiers)
    pair = weak or tiers[-1], strong or tiers[0]
    for each in pair:
        if each not in policy.tiers:
            raise ConfigurationError(f"the policy has no tier {each}: it has {', '.join(tiers)}.")
    if tiers.index(pair[1]) >= tiers.index(pair[0]):
        raise ConfigurationError(f"{pair[1]} is no better than {pair[0]}: tiers are listed best first.")
    return pair


def _promotions(loaded: LoadedPolicy) -> Promotions:
    from governor.routing.loading import snapshot_path
    from governor.routing.promoting import Promotions

    place = snapshot_path(loaded)
    if place is None:
        raise ConfigurationError("the policy names no file for its snapshot: add `routing: {snapshot: routing.json}`.")
    return Promotions(place)


def _found(loaded: LoadedPolicy, named: str) -> Path:
    return Path(named) if Path(named).is_file() else _promotions(loaded).find(named)


def _records(loaded: LoadedPolicy, outcomes: Path | None, records: Sequence[Path] | None) -> Iterable[PairedOutcome]:
    from governor.routing.outcomes import ENVIRONMENT, Outcomes, outcomes_path
    from governor.routing.records import read_records

    if records:
        return [each for path in records for each in read_records(path)]
    path = outcomes or outcomes_path(loaded)
    if path is None:
        raise ConfigurationError(
            f"no outcomes are named: add `routing: {{outcomes: FILE}}` to the policy, set ${ENVIRONMENT}, or give --records."
        )
    file = Outcomes(path)
    try:
        return list(file.pairs())
    finally:
        file.close()


def _who(given: str | None) -> str:
    return (given or getpass.getuser()).strip()


def _why(given: str) -> str:
    if not given.strip():
        raise ConfigurationError("--why is empty: say why, for whoever asks later.")
    return given.strip()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
