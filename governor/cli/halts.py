"""`governor halt | resume | halts | leases | audit`: the kill switch, what is under way, and who did what, on the live store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

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
    duration,
    moment,
    now_ms,
    opened,
)
from governor.cli.output import JsonOption, emit, errors, print_table
from governor.errors import ConfigurationError
from governor.ledger import AdjustmentKind, LeaseState, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["audit", "halt", "halts", "leases", "resume"]

_stdout = Console(highlight=False, soft_wrap=True)

ScopeArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SCOPE]...", help="As `governor halts` names it: tenant=acme, run=..., all."),
]
RunOption = Annotated[str | None, typer.Option("--run", help="One run, by its id.")]
ThreadOption = Annotated[str | None, typer.Option("--thread", help="All runs of a thread.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="All runs of a tenant.")]
UserOption = Annotated[str | None, typer.Option("--user", help="All runs of a user.")]
OrgOption = Annotated[str | None, typer.Option("--org", help="All runs of an organisation.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="All runs of an agent.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that uses this store.")]
_SCOPES = ("run", "thread", "tenant", "user", "org", "agent")
_STORE = "store"
"""What a store that noticed a loss is resumed by (`governor_redis`)."""


def halt(
    scope: ScopeArgument = None,
    *,
    why: WhyOption,
    run: RunOption = None,
    thread: ThreadOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
    org: OrgOption = None,
    agent: AgentOption = None,
    every: AllOption = False,
    who: WhoOption = None,
    store: StoreOption = None,
    id_: IdOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Refuse every further call of a run, a tenant, or everything, in all processes, from their next call on."""
    names: dict[str, str | None] = dict(zip(_SCOPES, (run, thread, tenant, user, org, agent), strict=True))
    with errors(as_json=as_json), opened(store) as live:
        scopes = _scopes(scope, names, every=every)
        if "all" in scopes and not yes:
            typer.confirm("Halt everything that uses this store?", abort=True, err=True)
        ids = _ids(id_, scopes)
        changes = [
            adjusted(live, AdjustmentKind.HALT, each, who, why, id=key) for each, key in zip(scopes, ids, strict=True)
        ]
    if as_json:
        emit([asdict(change) for change in changes])
        return
    for change in changes:
        _stdout.print(
            f"halted {change.subject}: its next call is refused. Back on: governor resume {change.subject} --why ...",
            markup=False,
        )


def resume(
    scope: ScopeArgument = None,
    *,
    why: WhyOption,
    run: RunOption = None,
    thread: ThreadOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
    org: OrgOption = None,
    agent: AgentOption = None,
    every: AllOption = False,
    who: WhoOption = None,
    store: StoreOption = None,
    id_: IdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a halt back. Runs that it stopped go on when their threads are resumed.

    `governor resume store` accepts what a fleet's store has lost: its hard budgets count on from what it still has.
    """
    names: dict[str, str | None] = dict(zip(_SCOPES, (run, thread, tenant, user, org, agent), strict=True))
    with errors(as_json=as_json), opened(store) as live:
        scopes = _scopes(scope, names, every=every, more=(_STORE,))
        known = {_STORE, *(halted.scope for halted in live.halts())}
        missing = [each for each in scopes if each not in known]
        if missing and id_ is None:
            raise ConfigurationError(f"{missing[0]} is not halted: `governor halts` shows what is.")
        ids = _ids(id_, scopes)
        changes = [
            adjusted(live, AdjustmentKind.RESUME, each, who, why, id=key) for each, key in zip(scopes, ids, strict=True)
        ]
    if as_json:
        emit([asdict(change) for change in changes])
        return
    for change in changes:
        then = "budgets count on from what it has" if change.subject == _STORE else "resume its threads"
        _stdout.print(f"{change.subject} may go on: {then}.", markup=False)


def halts(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Every halt in force: what, since when, by whom and why."""
    with errors(as_json=as_json), opened(store) as live:
        standing = list(live.halts())
    if as_json:
        emit([asdict(each) for each in standing])
        return
    if not standing:
        _stdout.print("nothing is halted.")
    for each in standing:
        _stdout.print(f"{each.scope}  since {moment(each.at_ms)} by {each.who}: {each.why}", markup=False)


def leases(
    *,
    run: Annotated[str, typer.Option("--run", help="Of this run alone.")] = "",
    in_doubt: Annotated[
        bool, typer.Option("--in-doubt", help="Charged at their worst case, because their process is gone.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calls under way and calls in doubt: what each holds, and when it is given up."""
    with errors(as_json=as_json), opened(store) as live:
        records = [each for each in live.leases(run) if not in_doubt or each.state is LeaseState.FORFEIT]
    if as_json:
        emit([asdict(each) for each in records])
        return
    if not records:
        _stdout.print("no calls under way, none in doubt.")
        return
    table, now = Table(box=None, pad_edge=False), now_ms()
    for name in ("call", "state", "given up", "holds"):
        table.add_column(name)
    for each in records:
        due = f"in {duration(each.due_ms - now)}" if each.due_ms > now else f"{duration(now - each.due_ms)} ago"
        held = ", ".join(f"{shown(hold.amount, hold.unit)} of {hold.budget}" for hold in each.holds)
        state = "in doubt" if each.state is LeaseState.FORFEIT else each.state.value
        table.add_row(each.id, state, due, held)
    print_table(table)


def audit(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 50,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who changed what on the live store, when and why; newest first."""
    with errors(as_json=as_json), opened(store) as live:
        changes = live.audit(limit)
        units = {each.ledger: each.unit for each in live.balances()}
    if as_json:
        emit([asdict(each) for each in changes])
        return
    if not changes:
        _stdout.print("nobody has changed anything.")
    for each in changes:
        unit = units.get(each.subject)
        amount = f" {shown(abs(each.amount), unit)}" if unit else ""
        sign = " -" if each.amount < 0 else ""
        _stdout.print(
            f"{moment(each.at_ms)}  {each.who}  {each.kind.value}{sign}{amount} {each.subject}: {each.why}",
            markup=False,
        )


def _ids(given: str | None, scopes: list[str]) -> list[str | None]:
    """One id for each change; of several, the given one with the scope."""
    if given is None or len(scopes) == 1:
        return [given] * len(scopes)
    return [f"{given}/{scope}" for scope in scopes]


def _scopes(
    given: list[str] | None, names: Mapping[str, str | None], *, every: bool, more: tuple[str, ...] = ()
) -> list[str]:
    scopes = [f"{scope}={name}" for scope, name in names.items() if name] + (["all"] if every else [])
    for each in given or []:
        scope, _, name = each.partition("=")
        if each not in ("all", *more) and (scope not in _SCOPES or not name):
            raise ConfigurationError(
                f"{each} is no scope: write all, or {', '.join(f'{scope}=NAME' for scope in _SCOPES)}."
            )
        scopes.append(each)
    if not scopes:
        raise ConfigurationError("nothing named: give --run, --thread, --tenant, --user, --org, --agent or --all.")
    return list(dict.fromkeys(scopes))
