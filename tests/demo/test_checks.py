"""The demo fails when what it promises does not hold, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from examples.support_desk.burst import Burst
from examples.support_desk.checks import check
from examples.support_desk.false_alarm import LOOKS, FalseAlarm
from examples.support_desk.savings import savings
from examples.support_desk.stuck import Stuck
from examples.support_desk.ways import FRONTIER, Way
from governor.decisions import Reason
from governor_sandbox import Record, Usage


def record(nano_usd: int, *, model: str = FRONTIER, **usage: int) -> Record:
    return Record(seq=1, provider="bedrock", model=model, operation="complete", nano_usd=nano_usd, usage=Usage(**usage))


BARE = Way(name="bare", records=(record(1000),), end_state="same")
STOCK = Way(name="stock caching", records=(record(400),), end_state="same")
UNROUTED = Way(name="governed, not routed", records=(record(200),), end_state="same")
GOVERNED = Way(name="governed", records=(record(100),), end_state="same")
STOPPED = Stuck(
    name="goes round",
    bare_calls=40,
    bare_nano_usd=40,
    calls=9,
    nano_usd=9,
    reason=Reason(code="loop.stop", rule="loops", text="Loop."),
    nudged=True,
    answer="",
)
ALARM = FalseAlarm(
    code="loop.block",
    reason="Loop.",
    remedy="Exempt it.",
    stopped=True,
    looks=LOOKS,
    answer="The parcel weighs 1.84 kg.",
)
BURST = Burst(budget_nano_usd=1000, nano_usd=1000, answered=10, refused=40, refusal="Budget.")


def failing(**changed: object) -> list[str]:
    parts: dict[str, object] = {
        "bare": BARE,
        "stock": STOCK,
        "unrouted": UNROUTED,
        "governed": GOVERNED,
        "stuck": [STOPPED],
        "alarm": ALARM,
        "burst": BURST,
        **changed,
    }
    return [one.text for one in check(**parts) if not one.holds]  # type: ignore[arg-type]


def test_all_checks_hold_when_all_promises_do() -> None:
    assert [] == failing()


def test_a_bill_that_is_less_than_three_quarters_lower_fails() -> None:
    (only,) = failing(governed=replace(GOVERNED, records=(record(101),)))

    assert "below stock caching" in only


def test_another_end_state_of_the_database_fails_against_all_others() -> None:
    assert 3 == len(failing(governed=replace(GOVERNED, end_state="other")))


def test_routing_that_saves_nothing_on_top_of_caching_and_compaction_fails() -> None:
    (only,) = failing(unrouted=replace(UNROUTED, records=(record(100),)))

    assert "on top of caching and compaction" in only


def test_a_budget_passed_by_one_nano_usd_fails() -> None:
    (only,) = failing(burst=replace(BURST, nano_usd=1001))

    assert "was not passed" in only


@pytest.mark.parametrize(
    "outcome", [{"answered": 0, "refused": 50}, {"answered": 50, "refused": 0}], ids=["none", "all"]
)
def test_a_budget_that_lets_nobody_or_everybody_pass_fails(outcome: dict[str, int]) -> None:
    assert 1 == len(failing(burst=replace(BURST, **outcome)))


def test_a_loop_that_was_not_caught_fails() -> None:
    assert 1 == len(failing(stuck=[replace(STOPPED, calls=40)]))
    assert 1 == len(failing(stuck=[replace(STOPPED, reason=None, nudged=False)]))


def test_what_each_control_saved_adds_up_to_the_difference_of_the_bills() -> None:
    bare = replace(BARE, records=(record(3_000_000, uncached=1000),))
    governed = replace(
        GOVERNED, records=(record(100_000, model="amazon.nova-pro-v1:0", uncached=50, cache_read=300, output=2),)
    )

    saved = savings(bare, governed)

    assert bare.nano_usd - governed.nano_usd == saved.total
    assert saved.tiers > 0
    assert saved.not_sent > 0


@pytest.mark.parametrize("outcome", [{"code": "loop.nudge"}, {"looks": 4}, {"answer": "Not yet."}])
def test_a_false_alarm_that_is_not_in_the_trace_or_not_exempted_fails(outcome: dict[str, Any]) -> None:
    assert 1 == len(failing(alarm=replace(ALARM, **outcome)))


def test_a_prompt_cache_that_is_left_unread_fails() -> None:
    def reading(tokens: int) -> list[str]:
        read = replace(record(100, cache_read=tokens, uncached=1000), ideal_tokens=1000)
        return failing(governed=replace(GOVERNED, records=(read,)))

    assert [] == reading(980)
    assert ["97.9%"] == [text.split()[4] for text in reading(979)]
