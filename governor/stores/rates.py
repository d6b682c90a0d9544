"""Rates as leaky buckets: the generic cell rate algorithm with refunds, in integers.

A bucket's level is in units times milliseconds of the period, so that `limit` units drain in each millisecond and nothing is rounded.
A call is let in when its amount fits under `limit * period`; ITU-T I.371 calls this form the continuous-state leaky bucket, equal to
GCRA's theoretical arrival time.

A refund has to be worth no more than what the bucket would hold less, had the refunded part never come. Had it not come, the bucket
might have run empty meanwhile and wasted capacity that did in fact drain the refunded part: so that at most the lowest level since
the reservation can be given back. `lows` keeps those minima. Plain GCRA with refund (arrival time moved back, never before now) lets
more than the rate through: hold 900 of 1,000, wait until it has drained, fill the bucket, then give the 900 back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from governor.ledger import Hold

__all__ = ["EMPTY", "Bucket", "added", "drained", "given_back", "retry_ms"]

LOWS = 16
"""Minima that a bucket remembers. Beyond, two neighbours become one with the lower level, which gives back less, never more."""


@cheap
@dataclass(frozen=True, slots=True)
class Bucket:
    """State of one rate: a value, so that every store can keep it as it likes."""

    level: int = 0
    """Units times milliseconds of the period."""
    at_ms: int = 0
    taken: int = 0
    """How many reservations it has seen: the number of the latest."""
    lows: tuple[tuple[int, int], ...] = ()
    """(number of a reservation, level just before it), both rising."""


EMPTY = Bucket()


def drained(bucket: Bucket, limit: int, now_ms: int) -> int:
    """The level at `now_ms`, which may lie before the bucket's own time: then nothing has drained."""
    return max(0, bucket.level - max(0, now_ms - bucket.at_ms) * limit)


def retry_ms(bucket: Bucket, hold: Hold, now_ms: int, before: int = 0) -> int | None:
    """0 when the hold fits now beside `before` units of the same request; else milliseconds until it would; None when it never can."""
    limit, per = hold.limit or 0, hold.per_ms or 1
    wanted = (before + hold.amount) * per
    if hold.limit is None:
        return 0
    if wanted > limit * per:
        return None
    over = drained(bucket, limit, now_ms) + wanted - limit * per
    return -(-over // limit) if over > 0 else 0


def added(bucket: Bucket, hold: Hold, now_ms: int) -> Bucket:
    """The bucket with the hold in it; its `taken` is the hold's number."""
    level, number = drained(bucket, hold.limit or 0, now_ms), bucket.taken + 1
    lows = [low for low in bucket.lows if low[1] < level]
    lows.append((number, level))
    if len(lows) > LOWS:
        lows[:2] = [(lows[1][0], lows[0][1])]
    return Bucket(level + hold.amount * (hold.per_ms or 1), max(now_ms, bucket.at_ms), number, tuple(lows))


def given_back(bucket: Bucket, hold: Hold, number: int, charged: int, now_ms: int) -> Bucket:
    """The bucket when hold `number` turns out to have used `charged` units: less, or more, which is owed and drains like the rest."""
    level = drained(bucket, hold.limit or 0, now_ms)
    unused = (hold.amount - charged) * (hold.per_ms or 1)
    if unused <= 0:
        return Bucket(level - unused, max(now_ms, bucket.at_ms), bucket.taken, bucket.lows)
    # Levels only rise along `lows`: the first after the hold is the lowest.
    lowest = next((low for taken, low in bucket.lows if taken > number), level)
    unused = min(unused, lowest, level)
    level -= unused
    lows: list[tuple[int, int]] = []
    above = level
    for taken, low in reversed(bucket.lows):  # what came after the hold stood that much lower; lows keep rising
        revised = low - unused if taken > number else low
        if revised < above:
            lows.append((taken, revised))
            above = revised
    return Bucket(level, max(now_ms, bucket.at_ms), bucket.taken, tuple(reversed(lows)))
