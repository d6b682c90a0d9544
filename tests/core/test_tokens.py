"""Estimates lean high without a tokenizer, and calibration follows what providers report."""

# ruff: noqa: E501 - texts as they were counted

import string
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef, ToolUse
from governor.models import facts
from governor.tokens import (
    MESSAGE_FRAMING,
    TOOL_FRAMING,
    Calibrations,
    estimate,
    estimate_message,
    estimate_tool,
)

SONNET = ModelRef(provider="anthropic", model="claude-sonnet-4-5")

# Counted once with the o200k vocabulary, which no test needs at hand.
COUNTED = [
    pytest.param(
        "The customer wrote on Tuesday that the parcel had not arrived, although the carrier's page says it was delivered to a neighbour. Please check the order, apologise for the delay, and offer either a replacement or a refund of the full amount.",
        48,
        id="prose",
    ),
    pytest.param(
        'def settle(self, charge: Charge) -> None:\n    """Charge a lease once."""\n    with self._lock:\n        entry = self._leases.get(charge.lease)\n        if entry is None or entry.state is LeaseState.SETTLED:\n            return\n        for hold, amount in zip(entry.holds, charge.amounts, strict=True):\n            self._ledgers[hold.ledger].spent += amount\n',
        86,
        id="code",
    ),
    pytest.param(
        '{"order_id": 4711829, "customer": {"name": "J. Doe", "email": "j.doe@example.com"}, "items": [{"sku": "AB-1029-XL", "price_usd": 19.99, "qty": 2}, {"sku": "CD-88-S", "price_usd": 5.49, "qty": 1}], "created_at": "2026-07-31T10:15:00Z", "paid": true}',
        109,
        id="json",
    ),
    pytest.param(
        "0.1523,17.2281,99.0132\n12.8841,3.1415,27.1828\n45.0001,88.1204,0.0032\n7.7777,61.9043,50.5050\n", 60, id="csv"
    ),
    pytest.param(
        "2026-07-31T12:04:55.123Z INFO [worker-3] request_id=9f86d081884c7d65 status=200 path=/api/v1/orders/480211 took=87ms\n2026-07-31T12:04:56.007Z WARN [worker-7] request_id=60303ae22b998861 status=429 path=/api/v1/orders/480212 took=3ms\n",
        99,
        id="log",
    ),
    pytest.param(
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752\n",
        81,
        id="hex",
    ),
    pytest.param(
        "R292ZXJub3IgaG9sZHMgYSBidWRnZXQgYmVmb3JlIGEgY2FsbCBpcyBtYWRlLCBhbmQgc2V0dGxlcyBpdCBhZnRlcndhcmRzIGJ5IHdoYXQgdGhlIHByb3ZpZGVyIHJlcG9ydHM=",
        89,
        id="base64",
    ),
    pytest.param(
        '<div class="row"><a href="https://example.com/p/17?x=1&amp;z=9">Item &amp; price</a><span id="s-17">$ 19.99</span></div>',
        49,
        id="html",
    ),
    pytest.param("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", 32, id="japanese"),
    pytest.param("人工智能代理在生产环境中运行时,需要严格的预算控制和循环检测。", 19, id="chinese"),
    pytest.param("인공지능 에이전트가 운영 환경에서 실행될 때는 예산 통제가 필요합니다.", 22, id="korean"),
    pytest.param(
        "Агент работает в производственной среде, поэтому необходимо контролировать бюджет.", 16, id="russian"
    ),
    pytest.param(
        "Größere Änderungen müssen außerdem geprüft werden, bevor zusätzliche Gebühren entstehen.", 15, id="german"
    ),
    pytest.param("يعمل الوكيل في بيئة الإنتاج ولذلك يجب التحكم في الميزانية.", 15, id="arabic"),
    pytest.param("एजेंट उत्पादन वातावरण में चलता है इसलिए बजट को नियंत्रित करना आवश्यक है।", 18, id="hindi"),
    pytest.param("🚀🔥😀👩\u200d💻🇩🇪✨🎉🤖💡📈", 22, id="emoji"),
    pytest.param(
        "ERROR: INVALID CONFIGURATION FOR CUSTOMER ACCOUNT. TIMEOUT WHILE WAITING FOR THE PAYMENT SERVICE.",
        20,
        id="shouting",
    ),
    # Short words, marks and line breaks: as many tokens as pieces, whatever their length.
    pytest.param("tool -a -b -c\n" * 12, 96, id="flags"),
    pytest.param("if x: y = z\n" * 12, 84, id="conditions"),
    pytest.param("| a | b | c |\n|---|---|---|\n" + "| 1 | x | ok |\n" * 10, 94, id="table"),
    pytest.param("line of log\n" * 12, 48, id="lines"),
    pytest.param("    x = 1\n    y = 2\n" * 8, 96, id="indented"),
    pytest.param("- yes\n- no\n" * 10, 60, id="list"),
    pytest.param("1 2 3 4\n" * 10, 80, id="numbers"),
    pytest.param("mov ax, bx\nadd ax, 1\njnz l1\n" * 6, 96, id="assembly"),
    pytest.param("a\tb\tc\n" * 10, 40, id="tabs"),
    pytest.param("$ ls -la /tmp | grep x > y\n" * 6, 72, id="shell"),
    pytest.param("@@ -1,3 +1,3 @@\n- x = 1\n+ x = 2\n  y\n" * 5, 130, id="diff"),
    pytest.param("10.0.0.1 GET /a/b 200\n" * 6, 84, id="addresses"),
    pytest.param("I am ok. So is he. Go on! No? A, b or c.\n" * 6, 114, id="dialogue"),
    pytest.param("getUserName setUserId fooBar a_b x1\n" * 6, 78, id="identifiers"),
    pytest.param('[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]\n' * 5, 130, id="rows"),
    pytest.param("и в на с у о по за\n" * 6, 54, id="short-russian"),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_an_estimate_is_near_the_count_and_seldom_below(text: str, tokens: int) -> None:
    assert 0.93 * tokens <= estimate(text) <= 4.2 * tokens


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_a_model_nobody_has_reported_on_yet_is_reserved_for_at_no_less_than_the_count(text: str, tokens: int) -> None:
    assert tokens <= estimate(text) * facts(ModelRef(provider="openai", model="gpt-4o")).calibration_start / 1_000


@given(st.lists(st.from_regex(r"[a-z]{1,6}[.,;:]?", fullmatch=True), min_size=1))
def test_every_word_every_mark_and_every_line_is_a_token_at_least(words: list[str]) -> None:
    marks = sum(not word.isalpha() for word in words)

    assert estimate(" ".join(words)) >= len(words) + marks
    assert estimate("\n".join(words)) >= 2 * len(words) + marks - 1
    assert estimate(" -".join(words)) >= 2 * len(words) + marks - 1


@pytest.mark.parametrize(("text", "tokens"), [row for row in COUNTED if row.values[0].isascii()])  # pyright: ignore[reportAttributeAccessIssue] - one of the texts above
def test_an_estimate_of_ascii_text_is_at_most_1_6_times_the_count(text: str, tokens: int) -> None:
    assert estimate(text) <= 1.6 * tokens


def test_nothing_is_no_token_and_anything_is_at_least_one() -> None:
    assert [0, 1, 1] == [estimate(text) for text in ("", " ", "a")]


@given(st.text(), st.text())
def test_joined_text_is_never_estimated_below_either_part(left: str, right: str) -> None:
    words = f"{left} {right}"
    assert max(estimate(left), estimate(right)) <= estimate(words) + _unbroken_slack(words)


def _unbroken_slack(text: str) -> int:
    """A mark in a long unbroken text breaks it, and what is broken counts less: at most twelve characters' worth a mark."""
    return 1 + sum(not character.isalnum() for character in text) * 9


@given(st.text(alphabet=string.printable))
def test_an_estimate_is_never_more_than_a_token_a_character(text: str) -> None:
    assert estimate(text) <= 1.36 * len(text) + 1


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_at_all_has_an_estimate(text: str) -> None:
    assert estimate(text) == estimate(text) > 0 or not text


def test_lone_surrogates_are_counted_and_not_an_error() -> None:
    assert 2 == estimate("\ud83d")


def test_a_message_counts_its_text_its_calls_and_the_framing() -> None:
    use = ToolUse(id="1", name="search", args={"query": "weather"})

    assert MESSAGE_FRAMING + estimate("hello") == estimate_message("hello")
    assert (
        MESSAGE_FRAMING + estimate("hello") + TOOL_FRAMING + estimate("search") + estimate('{"query": "weather"}')
    ) == estimate_message("hello", [use])


def test_arguments_that_did_not_parse_or_are_no_json_are_counted_too() -> None:
    unparsed = ToolUse(id="1", name="search", args=None)
    odd = ToolUse(id="1", name="search", args={"when": object()})

    assert estimate_message("", [unparsed]) < estimate_message("", [odd])


def test_a_tool_counts_its_description_and_the_framing() -> None:
    assert TOOL_FRAMING + estimate("{}") == estimate_tool("{}")


def test_a_model_without_reports_has_its_familys_safe_ratio() -> None:
    assert facts(SONNET).calibration_start == Calibrations().permille(SONNET)


def test_one_report_above_the_bound_raises_it_at_once() -> None:
    calibrations = Calibrations()

    calibrations.learn(SONNET, estimated=10_000, reported=16_001)

    assert 1_601 == calibrations.permille(SONNET)


def test_steady_reports_bring_the_bound_down_to_them_and_not_below() -> None:
    calibrations = Calibrations()
    bounds: list[int] = []
    for _ in range(400):
        calibrations.learn(SONNET, estimated=10_000, reported=9_000)
        bounds.append(calibrations.permille(SONNET))

    assert sorted(bounds, reverse=True) == bounds
    assert 900 == bounds[-1]
    assert bounds[0] > 1_200


def test_a_dear_prompt_is_remembered_through_many_cheap_ones() -> None:
    calibrations = Calibrations()
    calibrations.learn(SONNET, estimated=10_000, reported=18_000)
    for _ in range(63):
        calibrations.learn(SONNET, estimated=10_000, reported=9_000)

    assert 1_800 == calibrations.permille(SONNET)


def test_models_do_not_teach_each_other() -> None:
    calibrations = Calibrations()
    other = ModelRef(provider="openai", model="gpt-4o")

    calibrations.learn(SONNET, estimated=10_000, reported=30_000)

    assert facts(other).calibration_start == calibrations.permille(other)


def test_a_tiny_prompts_overhead_does_not_inflate_a_large_ones_bound() -> None:
    calibrations = Calibrations()

    calibrations.learn(SONNET, estimated=20, reported=300)

    assert calibrations.permille(SONNET) <= facts(SONNET).calibration_start


def test_many_tiny_prompts_do_not_lower_a_large_ones_bound() -> None:
    """They are mostly framing, of which governor counts more than providers do."""
    calibrations = Calibrations()
    for _ in range(200):
        calibrations.learn(SONNET, estimated=40, reported=20)

    assert facts(SONNET).calibration_start == calibrations.permille(SONNET)
    assert facts(SONNET).settling_start == calibrations.settling(SONNET)[0]


@pytest.mark.parametrize(
    ("model", "least"), [("claude-sonnet-4-5", 1.18), ("claude-opus-4-7", 1.18), ("gpt-4.1", 0.97)], ids=str
)
@pytest.mark.parametrize(
    ("text", "tokens"), [row for row in COUNTED if row.id in ("prose", "code", "json", "japanese")]
)
def test_what_a_family_usually_counts_is_no_less_than_its_tokenizer_has_for_such_texts(
    model: str, least: float, text: str, tokens: int
) -> None:
    """Claude counts 1.18 times o200k's Japanese in every version, and more of anything else."""
    counted = estimate(text) * facts(ModelRef(provider="anthropic", model=model)).settling_start / 1_000

    assert 1.03 * counted >= least * tokens


@pytest.mark.parametrize(("estimated", "reported"), [(0, 100), (100, 0), (-1, 5)])
def test_counts_of_nothing_teach_nothing(estimated: int, reported: int) -> None:
    calibrations = Calibrations()

    calibrations.learn(SONNET, estimated=estimated, reported=reported)

    assert facts(SONNET).calibration_start == calibrations.permille(SONNET)


prompts = st.lists(st.tuples(st.integers(1, 200_000), st.integers(1, 800_000)), min_size=1, max_size=100)


@given(prompts)
def test_the_bound_covers_every_recent_prompt_within_its_range(seen: list[tuple[int, int]]) -> None:
    calibrations = Calibrations()
    for estimated, reported in seen:
        calibrations.learn(SONNET, estimated=estimated, reported=reported)
        bound = calibrations.permille(SONNET)
        assert 500 <= bound <= 4_000
        assert bound == 4_000 or bound * max(estimated, 500) >= 1_000 * reported


def test_threads_may_teach_at_once() -> None:
    calibrations = Calibrations()

    def teach(reported: int) -> None:
        calibrations.learn(SONNET, estimated=1_000, reported=reported)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(teach, [1_000] * 40 + [2_000] + [1_000] * 20))

    assert 2_000 == calibrations.permille(SONNET)
