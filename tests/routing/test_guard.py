"""The promise of `quality`: bounds against slow exact sums, coverage in simulation, gates that open and alarms that stay."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.estimate import StepFeatures
from governor.routing.guard import (
    Counts,
    Promise,
    Watch,
    alarm_evidence,
    choose_threshold,
    exact_gate,
    is_regret,
    open_evidence,
    running_gate,
    upper_bound,
    watched,
)
from governor.routing.records import PairedOutcome, Side

PROMISE = Promise(max_loss=0.02, confidence=0.95)
rates = st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.3])


def at_most(k: int, n: int, p: Fraction) -> Fraction:
    """P(X <= k) of a binomial, exactly."""
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction())


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))), st.sampled_from([80, 95, 99])
)
def test_the_bound_is_where_so_few_regrets_are_as_unlikely_as_promised(count: tuple[int, int], percent: int) -> None:
    k, n = count
    upper = upper_bound(k, n, percent / 100)

    tail = 1 - Fraction(percent, 100)
    assert tail >= at_most(k, n, Fraction(upper) * (1 + Fraction(1, 10**9)))
    assert tail <= at_most(k, n, Fraction(upper) * (1 - Fraction(1, 10**9)))


@given(st.integers(0, 300), st.integers(0, 3_000), st.sampled_from([0.8, 0.95, 0.99]))
def test_more_regrets_raise_the_bound_and_more_pairs_without_lower_it(k: int, more: int, confidence: float) -> None:
    upper = upper_bound(k, k + more, confidence)

    assert upper <= upper_bound(k + 1, k + more + 1, confidence)
    assert upper >= upper_bound(k, k + more + 1, confidence)
    assert k / max(1, k + more) <= upper <= 1


def test_the_bound_of_many_pairs_is_near_the_rate() -> None:
    assert 1.0 == upper_bound(0, 0, 0.95)
    assert 1.0 == upper_bound(7, 7, 0.95)
    assert 0.0104 < upper_bound(1_000, 100_000, 0.95) < 0.0106


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_counts_that_cannot_be_have_no_bound(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no bound"):
        upper_bound(k, n, confidence)


@pytest.mark.parametrize(("max_loss", "clean"), [(0.02, 149), (0.05, 59)])
def test_as_many_clean_pairs_as_the_promise_needs_open_the_exact_gate(max_loss: float, clean: int) -> None:
    promise = Promise(max_loss=max_loss)

    assert exact_gate(Counts(n=clean), promise).open
    closed = exact_gate(Counts(n=clean - 1), promise)
    assert not closed.open
    assert 1 == closed.need


@given(st.integers(0, 6), st.integers(0, 800), st.sampled_from([0.02, 0.05]))
def test_what_a_gate_needs_is_the_least_that_opens_it(regrets: int, more: int, max_loss: float) -> None:
    counts, promise = Counts(n=regrets + more, regrets=regrets), Promise(max_loss=max_loss)
    for judged in (exact_gate, running_gate):
        gate = judged(counts, promise)
        assert gate.open == (gate.need == 0)
        if not gate.open:
            assert judged(Counts(n=counts.n + gate.need, regrets=regrets), promise).open
            assert not judged(Counts(n=counts.n + gate.need - 1, regrets=regrets), promise).open


def test_a_running_gate_needs_a_few_more_pairs_and_outlives_a_regret() -> None:
    needed = [running_gate(Counts(n=regrets, regrets=regrets), PROMISE).need + regrets for regrets in range(4)]

    assert [170, 335, 437, 534] == needed


# --- choosing a threshold

scored = st.lists(st.tuples(st.sampled_from([i / 20 for i in range(-5, 15)]), st.booleans()), max_size=200)


@given(scored, st.sampled_from([0.05, 0.2, 0.4]))
def test_the_threshold_is_the_last_quantile_that_keeps_the_promise(
    pairs: list[tuple[float, bool]], target: float
) -> None:
    chosen = choose_threshold(pairs, Promise(max_loss=target, confidence=0.9))
    gains = sorted(gain for gain, _ in pairs)

    def upper(at: float) -> float:
        return upper_bound(sum(regret for gain, regret in pairs if gain <= at), len(pairs), 0.9)

    quantiles = [gains[max(0, math.ceil(len(gains) * step / 50) - 1)] for step in range(51)] if gains else []
    kept = [at for at in quantiles if upper(at) <= target]
    assert (kept[-1] if kept else None) == (chosen.at if chosen else None)
    if chosen:
        assert upper(chosen.at) == chosen.upper <= target
        assert chosen.sent == sum(gain <= chosen.at for gain in gains)


def test_a_promise_is_broken_no_more_often_than_its_confidence_allows() -> None:
    draw, promise, broken, sent = random.Random(7), Promise(max_loss=0.05, confidence=0.9), 0, 0
    for _ in range(150):
        gains = [draw.random() for _ in range(300)]
        chosen = choose_threshold([(gain, draw.random() < 0.3 * gain) for gain in gains], promise)
        at = chosen.at if chosen else 0.0
        broken += 0.15 * at * at > promise.target  # the integral of 0.3 * gain up to the threshold
        sent += at > 0

    assert 4 <= broken <= 15
    assert 150 == sent


# --- anytime-valid


@given(rates, st.integers(1, 150), st.floats(0.2, 4))
def test_evidence_is_no_more_than_1_in_the_mean_where_what_it_speaks_against_holds(
    target: float, n: int, ratio: float
) -> None:
    rate = min(target * ratio, 0.95)

    def mean(evidence: list[float]) -> float:
        return sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) * value for k, value in enumerate(evidence))

    counts = [Counts(n=n, regrets=k) for k in range(n + 1)]
    if rate >= target:
        assert mean([open_evidence(each, target) for each in counts]) <= 1 + 1e-9
    if rate <= target:
        assert mean([alarm_evidence(each, target) for each in counts]) <= 1 + 1e-9


def test_a_tier_that_breaks_the_promise_by_a_hair_is_hardly_ever_let_in_however_often_one_looks() -> None:
    draw, opened = random.Random(11), 0
    for _ in range(80):
        regrets = 0
        for n in range(1, 1_001):
            regrets += draw.random() < 0.05
            if open_evidence(Counts(n=n, regrets=regrets), 0.05) >= 20:
                opened += 1
                break

    assert 0 < opened <= 4


def test_a_tier_that_keeps_the_promise_hardly_ever_alarms_and_one_that_has_become_bad_does_soon() -> None:
    draw, false, delays = random.Random(13), 0, list[int]()
    promise = Promise(max_loss=0.05)
    for _ in range(20):
        watch = watched(Watch(), [draw.random() < 0.03 for _ in range(1_000)], promise)
        false += watch.alarmed
        delay = 0
        while not watch.alarmed:
            watch, delay = watched(watch, [draw.random() < 0.3], promise), delay + 1
        delays.append(delay)

    assert 1 >= false
    assert 80 >= sorted(delays)[18]


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 60))
def test_a_watch_is_the_same_however_its_pairs_are_handed_over(regrets: list[bool], cut: int) -> None:
    at_once = watched(Watch(), regrets, PROMISE)

    assert at_once == watched(watched(Watch(), regrets[:cut], PROMISE), regrets[cut:], PROMISE)
    assert (len(regrets), sum(regrets)) == (at_once.n, at_once.regrets)


def test_an_alarm_stays() -> None:
    alarmed = watched(Watch(), [True] * 8, PROMISE)

    assert alarmed.alarmed
    assert watched(alarmed, [False] * 10_000, PROMISE).alarmed


def test_a_target_that_cannot_be_tested_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be tested"):
        open_evidence(Counts(n=5), 0.0)


@pytest.mark.parametrize(
    ("strong", "weak", "regret"), [(1.0, 0.0, True), (1.0, 1.0, False), (0.0, 0.0, False), (0.5, 0.49, True)]
)
def test_a_regret_is_a_right_answer_that_the_cheaper_tier_did_not_give(
    strong: float, weak: float, regret: bool
) -> None:
    record = PairedOutcome(
        id="1",
        step=StepFeatures(node="n", path="n"),
        strong=Side(tier="f", score=strong),
        weak=Side(tier="s", score=weak),
        source="gate",
    )

    assert regret == is_regret(record)
