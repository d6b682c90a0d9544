"""A tier whose provider fails is left alone for a while, and tried again by one call at a time."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from governor.breaking import LATEST, LONGEST, LONGEST_ASKED_MS, Breakers
from governor.policy.schema import Rest

AFTER, FOR_MS = 3, 1_000


def breakers(**fields: object) -> Breakers:
    return Breakers(Rest.model_validate({"after": AFTER, "for": "1s", **fields}))


def test_failures_in_a_row_send_a_tier_to_rest_and_one_answer_begins_the_row_anew() -> None:
    known = breakers()

    assert [None, None] == [known.failed("a", 0), known.failed("a", 1)]
    known.answered("a")
    assert [None, None] == [known.failed("a", 2), known.failed("a", 3)]
    rests = known.failed("a", 4)

    assert rests is not None
    assert (FOR_MS, AFTER) == (rests.for_ms, rests.in_row)
    assert "b" == known.first(["a", "b"], 1_003)


def test_after_its_rest_one_call_tries_it_and_the_others_pass_it_over_until_that_is_back() -> None:
    known = breakers()
    for _ in range(AFTER):
        known.failed("a", 0)

    assert [None, "a", None] == [known.first(["a"], at) for at in (999, 1_000, 1_001)]
    known.answered("a")
    assert "a" == known.first(["a"], 1_002)


def test_a_try_that_never_comes_back_keeps_others_out_no_longer_than_a_rest() -> None:
    known = breakers()
    for _ in range(AFTER):
        known.failed("a", 0)
    known.first(["a"], 1_000)

    assert [None, "a"] == [known.first(["a"], at) for at in (1_999, 2_000)]


def test_each_failed_try_doubles_the_rest_up_to_a_longest_one() -> None:
    known, now, rests = breakers(), 0, list[int]()
    for _ in range(AFTER - 1):
        known.failed("a", now)
    for _ in range(8):
        rested = known.failed("a", now)
        assert rested is not None
        rests.append(rested.for_ms // FOR_MS)
        now += rested.for_ms

    assert [1, 2, 4, 8, LONGEST, LONGEST, LONGEST, LONGEST] == rests


def test_a_provider_that_asks_for_a_longer_rest_gets_it_but_not_for_ever() -> None:
    known = breakers(after=1)
    asked, too_long = known.failed("a", 0, 7_000), known.failed("b", 0, 10**9)

    assert asked is not None
    assert too_long is not None
    assert (7_000, LONGEST_ASKED_MS) == (asked.for_ms, too_long.for_ms)


def test_a_share_of_failures_sends_a_tier_to_rest_that_never_fails_often_in_a_row() -> None:
    known, rests = breakers(after=9, share="50%"), list[int]()
    for number in range(LATEST):
        if number % 2:
            known.answered("a")
        elif known.failed("a", number) is not None:
            rests.append(number)
    rested = known.failed("a", LATEST)

    assert [] == rests
    assert rested is not None
    assert (10, LATEST) == (rested.failed, rested.of)


def test_without_a_share_answers_cost_nothing_to_remember() -> None:
    known = breakers()
    known.answered("a")

    assert {} == known._known


class Machine(RuleBasedStateMachine):
    """The breaker beside a plain model of it: times only."""

    def __init__(self) -> None:
        super().__init__()
        self.breakers, self.now = breakers(), 0
        self.row, self.until, self.rested = 0, None, 0
        self.trying: int | None = None

    @rule(ms=st.integers(0, 2_500))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule()
    def a_call_comes(self) -> None:
        let_in = self.breakers.first(["a"], self.now)
        if self.until is None:
            assert let_in == "a"
            return
        free = self.trying is None or self.now >= self.trying + FOR_MS
        assert (let_in == "a") == (self.now >= self.until and free)
        if let_in:
            self.trying = self.now

    @rule()
    def it_answers(self) -> None:
        self.breakers.answered("a")
        self.row, self.until, self.rested, self.trying = 0, None, 0, None

    @rule(asked=st.one_of(st.none(), st.integers(0, 5_000)))
    def it_fails(self, asked: int | None) -> None:
        rests = self.breakers.failed("a", self.now, asked)
        self.row, self.trying = self.row + 1, None
        if self.until is not None and self.now < self.until:
            assert rests is None
            self.until = max(self.until, self.now + (asked or 0))
        elif self.row >= AFTER or self.until is not None:
            pause = max(FOR_MS * min(2**self.rested, LONGEST), asked or 0)
            assert rests is not None
            assert rests.for_ms == pause
            self.until, self.rested = self.now + pause, self.rested + 1
        else:
            assert rests is None

    @invariant()
    def it_rests_while_the_model_says_so_and_nobody_else_does(self) -> None:
        if self.until is not None and self.now < self.until:
            assert self.breakers.resting("a", self.now)
        assert not self.breakers.resting("b", self.now)
        if self.row < AFTER and self.until is None:
            assert not self.breakers.resting("a", self.now)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
