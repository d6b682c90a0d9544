"""What the commands on a live store share: which store, who changes it and why, and amounts as people write them."""

from __future__ import annotations

import getpass
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from opentelemetry import trace

from governor.errors import ConfigurationError
from governor.ids import Ids
from governor.ledger import Adjustment, AdjustmentKind, Unit, shown
from governor.stores.opening import VARIABLE, address_of, open_store
from governor.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.ledger import Balance
    from governor.stores.contract import Store

__all__ = [
    "IdOption",
    "StoreOption",
    "WhoOption",
    "WhyOption",
    "YesOption",
    "adjusted",
    "amount_of",
    "duration",
    "found",
    "in_reach",
    "left_behind",
    "moment",
    "now_ms",
    "opened",
    "rolled",
    "spoken",
    "window_of",
]

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="ADDRESS", help=f"The live store. Default: ${VARIABLE}.", show_default=False),
]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who does this. Default: the user of this system.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why. It is kept with the change, for whoever asks later.")]
IdOption = Annotated[
    str | None, typer.Option("--id", help="Id of the change: doing it twice with one id changes nothing more.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you are sure.")]


def now_ms() -> int:
    """The clock of this machine, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@contextmanager
def opened(address: str | None) -> Iterator[Store]:
    """The store that the command is about. Raises ConfigurationError when none is named, or one that only its own process can see."""
    chosen = address_of(address)
    if chosen is None:
        raise ConfigurationError(
            f"no store named: give --store ADDRESS or set {VARIABLE}, to what the governed graphs use (`govern(store=...)`)."
        )
    if chosen.startswith("memory:"):
        raise ConfigurationError(f"{chosen} lives in the process that made it: operate on a SQLite file or on Redis.")
    store = open_store(chosen)
    path = getattr(store, "path", None)
    if path is not None and not path.exists():
        raise ConfigurationError(f"{path}: there is no such store. Name the file that the governed graphs use.")
    try:
        yield store
    finally:
        store.close()


def adjusted(store: Store, kind: AdjustmentKind, subject: str, who: str | None, why: str, **given: Any) -> Adjustment:
    """Make a change, keep it in the store's trail and tell the trace. Raises ConfigurationError when nobody says why."""
    if not why.strip():
        raise ConfigurationError("--why is empty: say in a few words why, for whoever asks later.")
    change = Adjustment(
        id=given.get("id") or Ids()(),
        kind=kind,
        subject=subject,
        amount=given.get("amount", 0),
        who=(who or _user()).strip(),
        why=why.strip(),
        at_ms=now_ms(),
    )
    store.adjust(change)
    attributes = {
        "governor.adjustment.id": change.id,
        "governor.adjustment.kind": change.kind.value,
        "governor.adjustment.subject": change.subject,
        "governor.adjustment.amount": change.amount,
        "governor.adjustment.who": change.who,
        "governor.adjustment.why": change.why,
    }
    with trace.get_tracer("governor").start_as_current_span(f"governor.{change.kind.value}", attributes=attributes):
        return change


def _user() -> str:
    """The user of this system, by number where it has no name, as in a container: a kill switch must not fail for want of one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def window_of(balance: Balance) -> str:
    """The window in a ledger's key: `2026-11`, `1h@492`, `life`."""
    return balance.ledger.split("/")[-2] if balance.ledger.count("/") > 1 else ""


def found(balances: Sequence[Balance], wanted: str, window: str | None = None) -> list[Balance]:
    """Ledgers whose key, budget or scope is `wanted`, or whose key begins with it; of each the window asked for, or the latest.

    Raises ConfigurationError when there is none.
    """
    matching = [
        each
        for each in balances
        if wanted in (each.ledger, each.budget, each.scope) or each.ledger.startswith(f"{wanted}/")
    ]
    exact = [each for each in matching if each.ledger == wanted]
    if exact:
        return exact
    latest: dict[tuple[str, str, str], Balance] = {}
    for each in matching:
        if window is not None and window_of(each) != window:
            continue
        head, _, tail = each.ledger.rpartition(f"/{window_of(each)}/")
        known = latest.get((head, each.scope, tail))
        if known is None or known.touched_ms <= each.touched_ms:
            latest[head, each.scope, tail] = each
    if not latest:
        about = f" in window {window}" if window else ""
        raise ConfigurationError(f"no ledger {wanted}{about}: `governor budget list` shows those there are.")
    return [rolled(balances, each) for each in latest.values()]


def in_reach(balances: Sequence[Balance], latest: Balance) -> list[Balance]:
    """The ledgers that count together with this one: of a rolling window the slices that it still reaches (`24h~12@1234`), else itself."""
    name = _ROLLING.fullmatch(window_of(latest))
    if name is None:
        return [latest]
    length, slices, number = name["length"], int(name["slices"]), int(name["number"])
    head, _, tail = latest.ledger.rpartition(f"/{window_of(latest)}/")
    keys = {f"{head}/{length}~{slices}@{number - back}/{tail}" for back in range(slices + 1)}
    return [each for each in balances if each.ledger in keys]


def rolled(balances: Sequence[Balance], latest: Balance) -> Balance:
    """A ledger as its window stands now: of a rolling one, all slices that it still reaches; none, where all have left it."""
    slices = [each for each in in_reach(balances, latest) if not left_behind(each)]
    return replace(
        latest,
        spent=sum(each.spent for each in slices),
        reserved=sum(each.reserved for each in slices),
        granted=sum(each.granted for each in slices),
        opened_ms=min((each.opened_ms for each in slices), default=latest.opened_ms),
    )


def left_behind(balance: Balance) -> bool:
    """Whether this is a slice that its rolling window has left behind."""
    from governor.policy.scalars import Milliseconds

    name = _ROLLING.fullmatch(window_of(balance))
    if name is None:
        return False
    slices = int(name["slices"])
    slice_ms = -(-int(Milliseconds.parse(name["length"])) // slices)
    return int(name["number"]) < now_ms() // slice_ms - slices


_ROLLING = re.compile(r"(?P<length>.+)~(?P<slices>\d+)@(?P<number>\d+)")


def amount_of(text: str, unit: Unit) -> int:
    """An amount as a policy writes it (`5`, `$5`, `400k`, `10m`), negative to take back. Raises ConfigurationError for anything else."""
    from governor.policy.scalars import Count, Milliseconds, NanoUsd, ScalarError, Tokens

    kinds = {Unit.NANO_USD: NanoUsd, Unit.FEES: NanoUsd, Unit.MILLISECONDS: Milliseconds}
    kinds |= dict.fromkeys((Unit.TOKENS, Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS), Tokens)
    negative, bare = text.startswith("-"), text.lstrip("-").removeprefix("$")
    try:
        amount = int(kinds.get(unit, Count).parse(bare))
    except ScalarError as error:
        raise ConfigurationError(f"{text}: {error}. {error.remedy}") from error
    return -amount if negative else amount


def spoken(amount: int, unit: Unit) -> str:
    """An amount for people, with its sign."""
    return f"-{shown(-amount, unit)}" if amount < 0 else shown(amount, unit)


def duration(ms: int) -> str:
    """`45 s`, `12 min`, `3.5 h`, `9 d`."""
    if ms < 120_000:
        return f"{ms // 1_000} s"
    if ms < 7_200_000:
        return f"{ms // 60_000} min"
    return f"{ms / 3_600_000:.1f} h" if ms < 172_800_000 else f"{ms // 86_400_000} d"


def moment(ms: int) -> str:
    """A moment in UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms / 1_000))
