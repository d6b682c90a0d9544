"""Holds and buckets as texts in columns of a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from governor.ledger import Hold, Unit
from governor.stores.rates import EMPTY, Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["WrittenHolds", "read_bucket", "write_bucket"]

_REMEMBERED = 4_096
"""Holds without their amounts whose texts a process remembers: one for each ledger that is in use."""
_quoted = json.JSONEncoder(ensure_ascii=False).encode


class WrittenHolds:
    """Holds as JSON. A call's holds are those of the call before but for their amounts, so that only these are written anew."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._texts: dict[tuple[object, ...], tuple[str, str]] = {}

    def write(self, holds: Sequence[Hold]) -> str:
        """Holds as one text, to be read back whole."""
        parts: list[str] = []
        for hold in holds:
            key = (
                hold.ledger,
                hold.limit,
                hold.expires_ms,
                hold.unit,
                hold.budget,
                hold.scope,
                hold.written,
                hold.earlier,
                hold.per_ms,
                hold.alert,
            )
            around = self._texts.get(key) or self._around(key, hold)
            parts.append(f"{around[0]}{hold.amount}{around[1]}")
        return f"[{','.join(parts)}]"

    def read(self, text: str) -> tuple[Hold, ...]:
        """The inverse of `write`."""
        return tuple([_hold(parts) for parts in json.loads(text)])

    def _around(self, key: tuple[object, ...], hold: Hold) -> tuple[str, str]:
        """What stands before and after the amount. What most holds lack comes last and is left away, which is also how format 1 wrote."""
        after: list[object] = [hold.limit, hold.budget, hold.scope, hold.written, hold.expires_ms]
        if hold.earlier or hold.per_ms is not None or hold.alert is not None:
            after += [hold.earlier, hold.per_ms, hold.alert]
        before = f"[{_quoted(hold.ledger)},{_quoted(hold.unit.value)},"
        if len(self._texts) >= _REMEMBERED:
            self._texts.clear()
        around = self._texts[key] = (before, f",{_quoted(after)[1:]}")
        return around


def _hold(parts: list[Any]) -> Hold:
    ledger, unit, amount, limit, budget, scope, written, expires_ms, *rest = parts
    earlier, per_ms, alert = rest or ((), None, None)
    return Hold(
        ledger=ledger,
        unit=Unit(unit),
        amount=amount,
        limit=limit,
        budget=budget,
        scope=scope,
        written=written,
        expires_ms=expires_ms,
        earlier=tuple(earlier),
        per_ms=per_ms,
        alert=alert,
    )


def write_bucket(bucket: Bucket) -> str:
    """A bucket as a text. Its level is too large for a column of numbers."""
    return json.dumps((bucket.level, bucket.at_ms, bucket.taken, bucket.lows))


def read_bucket(text: str) -> Bucket:
    """The inverse of `write_bucket`; an empty text is an empty bucket."""
    if not text:
        return EMPTY
    level, at_ms, taken, lows = json.loads(text)
    return Bucket(level, at_ms, taken, tuple([(number, low) for number, low in lows]))
