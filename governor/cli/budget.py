"""`governor budget list | show | grant | reset`: what is spent of each budget, and more of it, on the live store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from governor.cli.operating import (
    IdOption,
    StoreOption,
    WhoOption,
    WhyOption,
    YesOption,
    adjusted,
    amount_of,
    duration,
    found,
    in_reach,
    left_behind,
    moment,
    now_ms,
    opened,
    rolled,
    spoken,
    window_of,
)
from governor.cli.output import JsonOption, emit, errors, print_table
from governor.errors import ConfigurationError
from governor.forecast import forecast
from governor.ledger import AdjustmentKind, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger import Adjustment, Balance

__all__ = ["app"]

app = typer.Typer(help="What is spent of each budget, and more of it, on the live store.", no_args_is_help=True)
_stdout = Console(highlight=False, soft_wrap=True)
_BAR = 10

Subject = Annotated[
    str,
    typer.Argument(
        metavar="LEDGER", help="A ledger's key or the beginning of it, a budget's id, or a scope (tenant=acme)."
    ),
]
WindowOption = Annotated[
    str | None,
    typer.Option("--window", help="Which window, as `budget list` names it. Default: the latest.", show_default=False),
]


@app.command("list")
def list_(
    *,
    store: StoreOption = None,
    every: Annotated[bool, typer.Option("--all", help="Windows that are over too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every ledger: what is spent and reserved of which limit, and until when it lasts at this rate."""
    with errors(as_json=as_json), opened(store) as live:
        balances = list(live.balances())
    if not every:
        budgets = dict.fromkeys(each.budget for each in balances)
        balances = [each for budget in budgets for each in found(balances, budget)]
    _told(balances, as_json=as_json)


@app.command()
def show(
    subject: Subject, *, store: StoreOption = None, window: WindowOption = None, as_json: JsonOption = False
) -> None:
    """One scope, budget or ledger: its ledgers, the calls under way on them, and what operators changed."""
    with errors(as_json=as_json), opened(store) as live:
        balances = found(live.balances(), subject, window)
        every = live.balances()
        keys = {piece.ledger for each in balances for piece in in_reach(every, each)}
        leases = [lease for lease in live.leases() if any(hold.ledger in keys for hold in lease.holds)]
        changes = [change for change in live.audit(1_000) if change.subject in keys]
    if as_json:
        emit(
            {
                "ledgers": [_row(each) for each in balances],
                "leases": [asdict(each) for each in leases],
                "changes": changes,
            }
        )
        return
    _told(balances, as_json=False)
    _stdout.print(f"calls under way or in doubt: {len(leases)}  (governor leases)")
    for change in changes:
        unit = next(each.unit for each in every if each.ledger == change.subject)
        _stdout.print(
            f"{moment(change.at_ms)}  {change.kind.value} {spoken(change.amount, unit)}  by {change.who}: {change.why}",
            markup=False,
        )


@app.command(context_settings={"ignore_unknown_options": True})
def grant(
    subject: Subject,
    amount: Annotated[str, typer.Argument(help="As policies write it: 5 or $5, 400k, 20, 10m. Negative takes back.")],
    *,
    why: WhyOption,
    who: WhoOption = None,
    store: StoreOption = None,
    window: WindowOption = None,
    id_: IdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add to the limit of one ledger, for its window alone. Every process sees it at its next call."""
    with errors(as_json=as_json), opened(store) as live:
        ledger = _one(found(live.balances(), subject, window), subject)
        if left_behind(ledger):
            raise ConfigurationError(
                f"{ledger.ledger}: its window is over. The next call opens another: grant it more then."
            )
        value = amount_of(amount, ledger.unit)
        change = adjusted(live, AdjustmentKind.GRANT, ledger.ledger, who, why, amount=value, id=id_)
        every = live.balances()
        after = rolled(every, next(each for each in every if each.ledger == ledger.ledger))
    _changed(
        change,
        f"{after.budget} ({after.scope}), window {window_of(after)}, has {spoken(change.amount, after.unit)} more: limit {_limit(after)}",
        as_json=as_json,
    )


@app.command()
def reset(
    subject: Subject,
    *,
    why: WhyOption,
    who: WhoOption = None,
    store: StoreOption = None,
    window: WindowOption = None,
    id_: IdOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Forgive what one ledger has spent in a window: it begins anew. What is reserved stays reserved."""
    with errors(as_json=as_json), opened(store) as live:
        every = live.balances()
        ledger = _one(found(every, subject, window), subject)
        text = f"{ledger.budget} ({ledger.scope}), window {window_of(ledger)}: {shown(ledger.spent, ledger.unit)} spent"
        if not yes:
            typer.confirm(f"Forgive {text}?", abort=True, err=True)
        change, *_ = [
            adjusted(
                live,
                AdjustmentKind.RESET,
                each.ledger,
                who,
                why,
                amount=each.spent,
                id=id_ if id_ is None or each.ledger == ledger.ledger else f"{id_}/{window_of(each)}",
            )
            for each in sorted(in_reach(every, ledger), key=lambda each: each.ledger != ledger.ledger)
        ]
    _changed(change, f"forgiven: {text}", as_json=as_json)


def _one(balances: Sequence[Balance], subject: str) -> Balance:
    if len(balances) > 1:
        keys = "\n  ".join(each.ledger for each in balances)
        raise ConfigurationError(f"{subject} is more than one ledger: name one of them.\n  {keys}")
    return balances[0]


def _changed(change: Adjustment, text: str, *, as_json: bool) -> None:
    if as_json:
        emit(asdict(change))
    else:
        _stdout.print(f"{text}  [{change.id}]", markup=False)


def _limit(balance: Balance) -> str:
    if balance.limit is None:
        return "none"
    granted = f" + {spoken(balance.granted, balance.unit)}" if balance.granted else ""
    per = f" in {duration(balance.per_ms)}" if balance.per_ms else ""
    return shown(balance.limit, balance.unit) + granted + per


def _told(balances: Sequence[Balance], *, as_json: bool) -> None:
    if as_json:
        emit([_row(each) for each in balances])
        return
    if not balances:
        _stdout.print("no ledgers yet: they are made by the first call that a budget counts.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("budget", "scope", "window", "spent", "reserved", "limit", "used", "lasts", "ledger"):
        table.add_column(name, justify="right" if name in ("spent", "reserved", "limit", "lasts") else "left")
    for each in balances:
        table.add_row(
            each.budget,
            each.scope,
            window_of(each),
            shown(each.spent, each.unit),
            shown(each.reserved, each.unit),
            _limit(each),
            _used(each),
            _lasts(each),
            each.ledger,
        )
    print_table(table)


def _used(balance: Balance) -> str:
    if balance.limit is None:
        return ""
    limit = max(1, balance.limit + balance.granted)
    share = (balance.spent + balance.reserved) / limit
    full = min(_BAR, round(share * _BAR))
    return f"{'#' * full}{'.' * (_BAR - full)} {share:.0%}" + (" debt" if balance.debt else "")


def _lasts(balance: Balance) -> str:
    coming = forecast(balance, now_ms())
    if balance.limit is None or balance.per_ms:
        return ""
    if coming is None:
        return "too early"
    if coming.exhausted_in_ms is None:
        return "idle"
    return duration(coming.exhausted_in_ms) if coming.exhausted_in_ms else "used up"


def _row(balance: Balance) -> dict[str, Any]:
    coming = forecast(balance, now_ms())
    return {
        **asdict(balance),
        "debt": balance.debt,
        "window": window_of(balance),
        "forecast": coming and asdict(coming),
    }
