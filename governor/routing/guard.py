"""The promise of `quality`: how often the cheaper tier may be wrong where the better one was right, and whether that holds.

Everything is a function of whole counts. Two kinds of bound, for two uses:

- **exact** (Clopper-Pearson), for a set of pairs that was fixed beforehand: a threshold is chosen by it when a snapshot is trained;
- **anytime-valid** (an e-process), for pairs that come in one after the other and are looked at after each: it opens a tier for a node
  and raises the alarm. It may be looked at as often as one likes, and costs a few more pairs.

Nothing here is an approximation of the normal kind: those promise 95% and hold 70% at the counts that routing sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from governor.routing.records import PairedOutcome

__all__ = [
    "OK",
    "QUANTILES",
    "Counts",
    "Gate",
    "Promise",
    "Threshold",
    "Watch",
    "alarm_evidence",
    "choose_threshold",
    "exact_gate",
    "is_regret",
    "lower_bound",
    "open_evidence",
    "running_gate",
    "upper_bound",
    "watched",
]

OK = 0.5
"""From which score an answer counts as right."""

QUANTILES = 51
"""At how many quantiles of the calibration scores a threshold is tried: every 2% of the calls."""

_OPEN = ((0.0, 0.4), (1 / 8, 0.2), (1 / 4, 0.2), (1 / 2, 0.2))
"""Regret rates in units of the target that the evidence for opening bets on, and the stakes. All on 0 would open after the fewest clean
pairs (149 for 2% at 95%) and be lost at the first regret; a rate of half the target alone needs twice as many."""

_ALARM = ((1.5, 0.25), (2.0, 0.25), (4.0, 0.25), (8.0, 0.25))
"""The same for the alarm: how much worse than the target it may have become."""

_BETWEEN = 100
"""2,000 pairs between false alarms after a change, at 95%: 200,000 calls at a shadow share of 1%."""

_MICRO = 1_000_000
"""Evidence is kept in whole millionths of its natural logarithm, so that equal histories are equal on every machine."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Pairs, and how many of them were regrets: the better tier right, the cheaper one wrong, and the cheaper one chosen."""

    n: int = 0
    regrets: int = 0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the policy says under `quality`."""

    max_loss: float
    """Largest share of the better tier's right answers that may be lost, above 0 and below 1."""
    confidence: float = 0.95
    accuracy: float = 1.0
    """How often the better tier is right at least (`lower_bound`); measured, not written in the policy. A loss is a share of this."""

    @property
    def target(self) -> float:
        """The largest rate of regrets, of all calls."""
        return self.max_loss * self.accuracy


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Up to which estimated gain the cheaper tier answers, and what was counted when it was chosen."""

    at: float
    sent: int
    """Of `n`, those at or below it."""
    n: int
    regrets: int
    upper: float
    """With the promised confidence the rate of regrets is no higher."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether the cheaper tier may answer a node, with every number that says so."""

    open: bool
    n: int
    regrets: int
    upper: float
    """Exact upper bound of the rate of regrets; for a running gate it is for show, since `evidence` decides."""
    target: float
    evidence: float
    """Of the e-process: the tier opens at 1 / (1 - confidence), 20 for 95%."""
    need: int
    """Pairs without another regret until it opens; 0 when it is open."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Pairs of one node and tier since its snapshot was promoted. Online it can only raise a tier."""

    n: int = 0
    regrets: int = 0
    sums: tuple[int, ...] = (0,) * len(_ALARM)
    """Logarithms of the evidence since whenever things began to get worse (CUSUM), in millionths, one for each rate that is bet on."""
    alarmed: bool = False
    """It stays: a new snapshot begins a new watch."""


def is_regret(record: PairedOutcome) -> bool:
    """Whether the cheaper tier would have been a mistake."""
    return record.strong.score >= OK > record.weak.score


# --- exact


def upper_bound(regrets: int, n: int, confidence: float) -> float:
    """Clopper-Pearson: the smallest rate at which so few regrets are as unlikely as 1 - confidence. 1 where nothing is known.

    Never below the true value: of the last interval of the bisection it is the upper end.
    """
    if not 0 <= regrets <= n or not 0 < confidence < 1:
        raise ValueError(f"no bound of {regrets} in {n} at {confidence}: 0 <= regrets <= n and 0 < confidence < 1")
    if regrets == n:
        return 1.0
    tail, low, high = 1 - confidence, regrets / n, 1.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if _at_most(regrets, n, middle) > tail:
            low = middle
        else:
            high = middle
    return high


def lower_bound(right: int, n: int, confidence: float) -> float:
    """The same from below: the rate is no lower, with this confidence. 0 where nothing is known."""
    return 1 - upper_bound(n - right, n, confidence)


def _at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial, for p above k / n: the terms shrink from k downwards, so the sum ends early."""
    if p >= 1:
        return 0.0
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    odds, term, total = (1 - p) / p, 1.0, 0.0
    for i in range(k, -1, -1):
        total += term
        term *= i * odds / (n - i + 1)
        if term < 1e-17 * total:
            break
    return math.exp(log + math.log(total))


def choose_threshold(
    scored: Sequence[tuple[float, bool]], promise: Promise, *, quantiles: int = QUANTILES
) -> Threshold | None:
    """The highest of the scores' quantiles at which the exact bound keeps the promise, or None: then nothing may be lowered.

    `scored`: estimated gain of each calibration record, and whether the cheaper tier would have been a mistake. The records must be
    none of those that the estimator learned from. Regrets only grow with the threshold while n stays the same, so this is a fixed
    sequence of tests that ends at the first failure, and the whole choice keeps the confidence.
    """
    ordered = sorted(scored)
    best: Threshold | None = None
    n = len(ordered)
    for step in range(quantiles):
        at = ordered[max(0, math.ceil(n * step / (quantiles - 1)) - 1)][0] if n else 0.0
        sent = [regret for gain, regret in ordered if gain <= at]
        upper = upper_bound(sum(sent), n, promise.confidence)
        if upper > promise.target:
            break
        best = Threshold(at=at, sent=len(sent), n=n, regrets=sum(sent), upper=upper)
    return best


def exact_gate(counts: Counts, promise: Promise) -> Gate:
    """The gate of pairs that were fixed beforehand, as a snapshot holds them: looked at once."""
    upper = upper_bound(counts.regrets, counts.n, promise.confidence)
    opened = upper <= promise.target
    return Gate(
        open=opened,
        n=counts.n,
        regrets=counts.regrets,
        upper=upper,
        target=promise.target,
        evidence=open_evidence(counts, promise.target),
        need=0 if opened else _until(counts, lambda more: upper_bound(*more, promise.confidence) <= promise.target),
    )


# --- anytime-valid


def open_evidence(counts: Counts, target: float) -> float:
    """Evidence that the rate of regrets is below `target`, in any order of the pairs, at any time.

    If it is not, the chance that this *ever* reaches x is at most 1 / x.
    """
    return _exp(_mixture(counts, target, _OPEN))


def alarm_evidence(counts: Counts, target: float) -> float:
    """Evidence that the rate of regrets is above `target`: the same, the other way round."""
    return _exp(_mixture(counts, target, _ALARM))


def running_gate(counts: Counts, promise: Promise) -> Gate:
    """The gate of pairs that come in and are looked at after each: shadow calls of a tier that wants in."""
    level = 1 / (1 - promise.confidence)
    evidence = open_evidence(counts, promise.target)
    opened = evidence >= level
    return Gate(
        open=opened,
        n=counts.n,
        regrets=counts.regrets,
        upper=upper_bound(counts.regrets, counts.n, promise.confidence),
        target=promise.target,
        evidence=evidence,
        need=0
        if opened
        else _until(counts, lambda more: open_evidence(Counts(n=more[1], regrets=more[0]), promise.target) >= level),
    )


def watched(watch: Watch, regrets: Iterable[bool], promise: Promise) -> Watch:
    """The watch after more pairs. It alarms when the promise is broken with the promised confidence, over all pairs or since a change.

    The first has a chance of at most 1 - confidence to be false, for ever. The second finds a change soon after it; false alarms of it
    are `_BETWEEN` / (1 - confidence) pairs apart in the mean, or more.
    """
    bets = [_factors(promise.target, ratio) for ratio, _ in _ALARM]
    level, since = math.log(1 / (1 - promise.confidence)), math.log(_BETWEEN * len(bets) / (1 - promise.confidence))
    for regret in regrets:
        factors = [right if regret else wrong for right, wrong in bets]
        sums = tuple(
            max(0, before) + round(_MICRO * factor) for before, factor in zip(watch.sums, factors, strict=True)
        )
        n, count = watch.n + 1, watch.regrets + regret
        alarmed = (
            watch.alarmed
            or max(sums) >= _MICRO * since
            or _mixture(Counts(n=n, regrets=count), promise.target, _ALARM) >= level
        )
        watch = replace(watch, n=n, regrets=count, sums=sums, alarmed=alarmed)
    return watch


def _mixture(counts: Counts, target: float, bets: Iterable[tuple[float, float]]) -> float:
    """Logarithm of the mixture of likelihood ratios of each rate that is bet on, against `target`."""
    if not 0 < target < 1:
        raise ValueError(f"a target of {target} cannot be tested: write a rate above 0 and below 1")
    logs: list[float] = []
    for ratio, stake in bets:
        regret, other = _factors(target, ratio)
        if counts.regrets and regret == -math.inf:
            continue  # a rate of 0 is refuted by one regret
        logs.append(
            math.log(stake) + (counts.regrets * regret if counts.regrets else 0.0) + (counts.n - counts.regrets) * other
        )
    most = max(logs)
    return most + math.log(sum(math.exp(log - most) for log in logs))


def _factors(target: float, ratio: float) -> tuple[float, float]:
    """Logarithms of what one pair adds to the bet on the rate `ratio * target`: a regret, and any other.

    1 + L * (target - x) for opening and 1 + L * (x - target) for the alarm, with L in its range, are these factors.
    """
    rate = min(ratio * target, (1 + target) / 2)
    return (math.log(rate / target) if rate else -math.inf), math.log((1 - rate) / (1 - target))


def _exp(log: float) -> float:
    return math.exp(min(log, 700.0))


def _until(counts: Counts, holds: Callable[[tuple[int, int]], bool]) -> int:
    """How many more pairs without a regret until it holds."""
    more = 1
    while not holds((counts.regrets, counts.n + more)):
        more *= 2
    low, high = more // 2, more
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds((counts.regrets, counts.n + middle)) else (middle, high)
    return high
