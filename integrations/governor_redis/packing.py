"""What goes to the scripts and what comes back: numbers as packed doubles, exact to 2**53, and holds as JSON."""

from __future__ import annotations

import json
import struct
from functools import cache
from importlib.resources import files
from itertools import repeat
from typing import TYPE_CHECKING, Any

from governor.ledger import Adjustment, AdjustmentKind, Balance, Halted, Hold, LeaseRecord, LeaseState, Shortfall, Unit
from governor.stores.ledgers import MOST, Counted, checked
from governor.stores.rates import Bucket, retry_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger import Charge, Lease, ReserveRequest

__all__ = [
    "STATES",
    "counted",
    "read_adjustment",
    "read_balance",
    "read_halt",
    "read_holds",
    "read_lease",
    "recharge_numbers",
    "reserve_numbers",
    "script",
    "shortfall",
    "write_adjustment",
    "write_holds",
]

NONE = -9_007_199_254_740_991
"""Stands for None where a number is expected."""
LONGEST_PERIOD_MS = 94_906_265
"""Of a rate: its square is the largest that a script still counts exactly. A little more than a day."""
STATES = {
    b"R": LeaseState.RESERVED,
    b"D": LeaseState.DISPATCHED,
    b"S": LeaseState.SETTLED,
    b"L": LeaseState.RELEASED,
    b"F": LeaseState.FORFEIT,
}
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PARTS = {
    "reserve": ("common", "ledgers", "sweep", "reserve"),
    "settle": ("common", "ledgers", "settle"),
    "recharge": ("common", "ledgers", "sweep", "recharge"),
    "adjust": ("common", "ledgers", "adjust"),
    "prolong": ("common", "ledgers", "sweep", "prolong"),
    "state": ("common", "state"),
    "thread": ("thread",),
    "balances": ("balances",),
    "leases": ("leases",),
}


@cache
def script(name: str) -> str:
    """The text of a script: with what it shares with others in front."""
    folder = files("governor_redis") / "lua"
    return "\n".join([(folder / f"{part}.lua").read_text(encoding="utf-8") for part in _PARTS[name]])


def reserve_numbers(request: ReserveRequest, known: float, loss_ms: int, state_ttl_ms: int) -> bytes:
    """What `reserve.lua` counts with. Raises ValueError for what it could not count exactly."""
    holds = request.holds
    numbers: list[float] = [
        known,
        loss_ms,
        state_ttl_ms,
        request.ttl_ms,
        request.dispatched,
        len(request.scopes),
        len(holds),
    ]
    for hold in holds:
        checked(hold)
        limit, per = hold.limit, hold.per_ms or 0
        if (limit is not None and abs(limit) > MOST) or per > LONGEST_PERIOD_MS:
            raise ValueError(_inexact(hold))
        numbers += (
            hold.amount,
            NONE if limit is None else limit,
            NONE if hold.expires_ms is None else hold.expires_ms,
            per,
            hold.kept,
            len(hold.earlier),
        )
    return struct.pack(f"<{len(numbers)}d", *numbers)


def recharge_numbers(charge: Charge, lost: Lease, known: float, loss_ms: int) -> bytes:
    """What `recharge.lua` counts with. Of a rolling window only the whole is known, not what its latest slice had."""
    spent = [0 if hold.earlier else each for hold, each in zip(lost.holds, lost.spent or repeat(0), strict=False)]
    numbers = [each for pair in zip(charge.amounts, spent, strict=True) for each in pair]
    return struct.pack(f"<{3 + len(numbers)}d", known, loss_ms, len(spent), *numbers)


def _inexact(hold: Hold) -> str:
    if hold.limit is not None and abs(hold.limit) > MOST:
        return f"a limit of {hold.limit} on {hold.ledger}: Redis counts exactly to {MOST}. Lower it."
    return f"a rate over {hold.per_ms} ms on {hold.ledger}: Redis counts periods to {LONGEST_PERIOD_MS} ms. Use a rolling window."


def write_holds(holds: Sequence[Hold]) -> str:
    """Holds as a lease keeps them. Unit, budget and scope have to be second to fourth: the script reads them."""
    return _encode(
        [
            (
                hold.ledger,
                hold.unit,
                hold.budget,
                hold.scope,
                hold.amount,
                hold.limit,
                hold.written,
                hold.earlier,
                hold.per_ms,
                hold.alert,
                hold.expires_ms,
            )
            for hold in holds
        ]
    )


def read_holds(data: bytes, packed: bytes) -> tuple[Hold, ...]:
    """The inverse of `write_holds`, with what each hold is now: an escrow's are less than was written."""
    amounts = struct.unpack(f"<{len(packed) // 8}d", packed)
    return tuple(
        [
            Hold(
                ledger=ledger,
                unit=Unit(unit),
                budget=budget,
                scope=scope,
                amount=int(amount),
                limit=limit,
                written=written,
                earlier=tuple(earlier),
                per_ms=per_ms,
                alert=alert,
                expires_ms=expires_ms,
            )
            for (ledger, unit, budget, scope, _, limit, written, earlier, per_ms, alert, expires_ms), amount in zip(
                json.loads(data), amounts, strict=True
            )
        ]
    )


def counted(packed: bytes) -> list[Counted]:
    """What counted against each hold before the reservation."""
    numbers = [int(number) for number in struct.unpack(f"<{len(packed) // 8}d", packed)]
    groups = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return [Counted(spent, reserved, granted) for spent, reserved, granted in groups]


def shortfall(holds: Sequence[Hold], packed: bytes) -> Shortfall:
    """The refusal, from what the script found of the hold that did not fit."""
    at, already, first, second, third = (int(number) for number in struct.unpack("<5d", packed))
    hold = holds[at]
    if not hold.per_ms:
        return Shortfall(hold=hold, spent=first, reserved=second + already, granted=third)
    bucket = Bucket(level=first * hold.per_ms + second, at_ms=third)
    held = first + (second > 0)
    return Shortfall(hold=hold, spent=0, reserved=held + already, retry_ms=retry_ms(bucket, hold, third, already))


def read_balance(key: bytes, raw: bytes, names: bytes) -> Balance:
    """A ledger as the script keeps it."""
    spent, reserved, granted, limit, _, per, opened, touched = (
        int(number) for number in struct.unpack_from("<8d", raw)
    )
    if per and len(raw) > 64:
        units, rest = struct.unpack_from("<2d", raw, 64)
        reserved = int(units) + (rest > 0)
    unit, budget, scope = json.loads(names)
    return Balance(
        ledger=key.decode(),
        unit=Unit(unit),
        spent=spent,
        reserved=reserved,
        limit=None if limit == NONE else limit,
        budget=budget,
        scope=scope,
        granted=granted,
        opened_ms=opened,
        touched_ms=touched,
        per_ms=per or None,
    )


def read_lease(found: Sequence[bytes]) -> tuple[int, LeaseRecord]:
    """A lease for operators, with the number that it was made under."""
    lease, state, numbers, run, words, packed = found
    due, number = struct.unpack("<2d", numbers)
    record = LeaseRecord(
        id=lease.decode(), state=STATES[state], run=run.decode(), holds=read_holds(words, packed), due_ms=int(due)
    )
    return int(number), record


def write_adjustment(change: Adjustment) -> str:
    """An operator's change, as the audit trail keeps it."""
    return _encode([change.id, change.kind, change.subject, change.amount, change.who, change.why, change.at_ms])


def read_adjustment(data: bytes) -> Adjustment:
    """The inverse of `write_adjustment`."""
    name, kind, subject, amount, who, why, at_ms = json.loads(data)
    return Adjustment(id=name, kind=AdjustmentKind(kind), subject=subject, amount=amount, who=who, why=why, at_ms=at_ms)


def read_halt(data: bytes) -> Halted:
    """A halt, from the change that made it."""
    facts: Any = read_adjustment(data)
    return Halted(scope=facts.subject, who=facts.who, why=facts.why, at_ms=facts.at_ms)
