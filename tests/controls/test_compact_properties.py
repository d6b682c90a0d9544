"""What holds of every history, however it came about: pins, pairs, prefixes, bounds."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from governor.calls import History, Message, ModelRef
from governor.controls.compact import Compact
from tests.controls.histories import (
    GPT,
    LOCAL_PRICED,
    NOVA,
    SONNET,
    Seen,
    answer,
    asks,
    compacting,
    replay,
    runs,
    turns,
    use,
)

KEEP = 4_000
LEDGER = 1_000


CASES = st.tuples(
    runs(),
    st.sampled_from([SONNET, NOVA, GPT, LOCAL_PRICED]),
    st.sampled_from([4_000, 400_000]),
    st.sampled_from([None, "6k", "12k"]),
    st.integers(0, 3_000),
)


def _replayed(case: tuple[list[Message], ModelRef, int, str | None, int]) -> list[Seen]:
    messages, model, gap, bound, tools = case
    compact = Compact(compacting(max_input_tokens=bound) if bound else compacting())
    return replay(compact, messages, model, gap, tools)


@given(CASES)
def test_a_view_never_loses_the_task_or_an_instruction_and_never_orphans_a_tool_message(
    case: tuple[list[Message], ModelRef, int, str | None, int],
) -> None:
    for one in _replayed(case):
        texts = {message.text for message in one.messages}
        called: set[str] = set()
        for message in one.messages:
            called |= {each.id for each in message.tool_uses}
            assert message.role != "tool" or message.answers in called
        answered = {message.answers for message in one.messages}
        assert called <= answered | _unanswered(one.call.history)
        assert next(m.text for m in one.call.history.messages if m.role == "user") in texts
        assert {m.text for m in one.call.history.messages if m.role == "system"} <= texts
        users = [m.text for m in one.call.history.messages if m.role == "user"]
        assert users[-1] in texts


def _unanswered(whole: History) -> set[str]:
    answered = {message.answers for message in whole.messages}
    return {each.id for message in whole.messages for each in message.tool_uses if each.id not in answered}


@given(CASES)
def test_between_cuts_every_request_extends_the_one_before(
    case: tuple[list[Message], ModelRef, int, str | None, int],
) -> None:
    seen = _replayed(case)
    for before, after in pairwise(seen):
        if after.viewed.decision.reason is None or after.viewed.decision.refuses:
            assert before.messages == after.messages[: len(before.messages)]


@given(CASES)
def test_a_cut_keeps_no_more_than_the_tail_the_ledger_and_what_is_pinned(
    case: tuple[list[Message], ModelRef, int, str | None, int],
) -> None:
    for one in _replayed(case):
        if one.viewed.decision.reason is None or one.viewed.decision.refuses:
            continue
        view, whole = one.viewed.view, one.call.history
        tail = whole.messages[view.start :]
        last_call = max((i for i, m in enumerate(tail) if m.role == "assistant"), default=0)
        assert sum(m.tokens for m in tail) <= KEEP or _needs_whole(tail, last_call)
        assert view.inserted[0].tokens <= LEDGER
        assert view.tokens < whole.tokens


def _needs_whole(tail: tuple[Message, ...] | list[Message] | object, last_call: int) -> bool:
    """Whether a tail longer than asked for is so because calls and results must stay together."""
    assert isinstance(tail, tuple)
    shorter = tail[1:]
    called = {each.id for message in shorter for each in message.tool_uses}
    orphans = [m for m in shorter if m.role == "tool" and m.answers not in called]
    return not shorter or bool(orphans) or last_call == 0


@given(runs())
def test_replaying_any_recorded_history_gives_the_same_bytes(messages: list[Message]) -> None:
    first = replay(Compact(compacting(max_input_tokens="7k")), messages)
    second = replay(Compact(compacting(max_input_tokens="7k")), messages)

    assert [[(m.key, m.text) for m in one.messages] for one in first] == [
        [(m.key, m.text) for m in one.messages] for one in second
    ]


@settings(max_examples=20)
@given(st.integers(20, 40), st.integers(400, 1_500))
def test_identifiers_that_calls_were_made_with_stay_in_view(count: int, tokens: int) -> None:
    """Argument provenance: what the agent passed around before is still verbatim in every later prompt."""
    messages = turns(count, tokens)
    used = {"invoice_2024_118", "customers/eu/4471", "a1b2c3d4e5"}
    messages[2:2] = [
        asks("x", *(use(f"x{i}", value=value) for i, value in enumerate(sorted(used)))),
        *(answer(f"xt{i}", f"x{i}", f"{value} found") for i, value in enumerate(sorted(used))),
    ]
    for one in replay(Compact(compacting()), messages)[1:]:
        text = "\n".join(message.text for message in one.messages)
        assert {value for value in used if value in text} == used
