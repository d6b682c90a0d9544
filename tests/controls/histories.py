"""Conversations for tests of what the model sees: small values, and whole recorded-looking runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from hypothesis import strategies as st

from governor.calls import History, Message, ModelCall, ModelRef, RunRef, StepRef, ToolSpec, ToolUse
from governor.controls.compact import Compact
from governor.decisions import ALLOWED
from governor.plans import Routed, Viewed
from governor.policy.schema import Policy
from governor.prices import Rates
from governor.runs import Lane, RunState
from governor.tokens import estimate_message

SONNET = ModelRef(provider="bedrock_converse", model="anthropic.claude-sonnet-4-5-20250929-v1:0")
NOVA = ModelRef(provider="bedrock_converse", model="amazon.nova-pro-v1:0")
GPT = ModelRef(provider="openai", model="gpt-5")
LOCAL = ModelRef(provider="ollama", model="llama")

MILLION = 1_000_000
RATES = {
    SONNET: Rates(
        input=3_000 * MILLION,
        output=15_000 * MILLION,
        cache_read=300 * MILLION,
        cache_write_5m=3_750 * MILLION,
        cache_write_1h=6_000 * MILLION,
    ),
    NOVA: Rates(
        input=800 * MILLION,
        output=3_200 * MILLION,
        cache_read=200 * MILLION,
        cache_write_5m=800 * MILLION,
        cache_write_1h=800 * MILLION,
    ),
    GPT: Rates(
        input=1_250 * MILLION,
        output=10_000 * MILLION,
        cache_read=125 * MILLION,
        cache_write_5m=1_250 * MILLION,
        cache_write_1h=1_250 * MILLION,
    ),
}

LOCAL_PRICED = replace(SONNET, provider="openai_compatible")
"""Claude behind a gateway without cache markers: every token is paid in full every time."""
RATES[LOCAL_PRICED] = RATES[SONNET]
STEP = StepRef(run=RunRef(id="r1"), node="agent", path="agent", ns="agent:1")
LANE = "agent#m0"


def policy(**parts: object) -> Policy:
    return Policy.model_validate({"governor": 1, "name": "test", **parts})


def compacting(**context: object) -> Policy:
    return policy(context={"compact": {"strategy": "ledger"}, "cache": {"ttl": "5m"}, **context})


def system(text: str = "You are an agent.", key: str = "s") -> Message:
    return Message(key=key, role="system", text=text, tokens=estimate_message(text))


def user(text: str, key: str = "u") -> Message:
    return Message(key=key, role="user", text=text, tokens=estimate_message(text))


def asks(key: str, *uses: ToolUse, text: str = "") -> Message:
    return Message(
        key=key,
        role="assistant",
        text=text,
        tokens=estimate_message(text, uses),
        tool_uses=uses,
        blocks=max(1, len(uses) + bool(text)),
    )


def answer(key: str, to: str, text: str, name: str = "search") -> Message:
    return Message(key=key, role="tool", text=text, tokens=estimate_message(text), answers=to, name=name)


def use(identifier: str, **args: object) -> ToolUse:
    return ToolUse(id=identifier, name="search", args=args)


def history(messages: Sequence[Message]) -> History:
    return History(
        messages=tuple(messages),
        cumulative=list(accumulate(message.tokens for message in messages)),
        index={message.key: position for position, message in enumerate(messages)},
    )


def words(count: int, seed: int = 0) -> str:
    """About `count` tokens of plain words, without anything that a ledger would list."""
    return " ".join(("alpha", "beta", "gamma", "delta")[(seed + i) % 4] for i in range(max(1, count * 3 // 4)))


def turns(count: int, tokens: int, task: str = "Find the cause.") -> list[Message]:
    """A run of `count` tool calls whose results have about `tokens` tokens each; the call made last is answered."""
    messages = [system(), user(task)]
    for i in range(count):
        messages.append(asks(f"a{i}", use(f"c{i}", query=f"query {i}")))
        messages.append(answer(f"t{i}", f"c{i}", f"{i} {words(tokens, i)}"))
    return messages


def model_call(messages: Sequence[Message] | History, model: ModelRef = SONNET, **fields: object) -> ModelCall:
    shown = messages if isinstance(messages, History) else history(messages)
    call = ModelCall(step=STEP, ordinal=0, history=shown, model=model, lane=LANE, recall=True)
    return replace(call, **fields)


def routed(model: ModelRef = SONNET, **fields: object) -> Routed:
    plain = Routed(tier=None, model=model, rates=RATES.get(model), max_output_tokens=1_000, decision=ALLOWED)
    return replace(plain, **fields)


def tool(name: str, tokens: int = 100) -> ToolSpec:
    return ToolSpec(name=name, tokens=tokens)


def shown(viewed: Viewed) -> list[Message]:
    """The rendered view, without its notes."""
    view = viewed.view
    messages = view.history.messages
    return [*(messages[i] for i in view.pinned), *view.inserted, *messages[view.start :]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One model call of a replay."""

    viewed: Viewed
    messages: list[Message]
    call: ModelCall


def replay(
    compact: Compact, messages: Sequence[Message], model: ModelRef = SONNET, gap_ms: int = 4_000, tools: int = 0
) -> list[Seen]:
    """Every model call of a recorded run, each with the history as it was then, and the lane carried on as the path does."""
    state = RunState()
    seen: list[Seen] = []
    for position, message in enumerate(messages):
        if message.role != "assistant":
            continue
        now = gap_ms * (len(seen) + 1)
        call = model_call(messages[:position], model, tools=(tool("t", tools),) if tools else ())
        viewed = compact.view(state, call, routed(model), now)
        seen.append(Seen(viewed=viewed, messages=shown(viewed), call=call))
        lane = replace(viewed.lane, last_at_ms=now, model=str(model), previous_last=messages[position - 1].key)
        state = replace(state, lanes={LANE: lane})
    return seen


def bill(requests: list[list[Message]], model: ModelRef, tools: int = 0) -> int:
    """Nano-USD of a run's input: the longest prefix that an earlier request had is read, the rest is written."""
    rates, seen, total = RATES[model], list[list[Message]](), 0
    for request in requests:
        sizes = [message.tokens for message in request]
        read = max((_common(request, before) for before in seen), default=0)
        cached = tools + sum(sizes[:read]) if read else 0
        total += cached * rates.cache_read + (tools + sum(sizes) - cached) * rates.cache_write_5m
        seen = [*seen[-1:], request] if len(seen) < 2 else [seen[0], seen[-1], request]
    return total


def _common(left: list[Message], right: list[Message]) -> int:
    pairs = zip(left, right, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if (a.key, a.text) != (b.key, b.text)), min(len(left), len(right)))


def lane_state(lane: Lane) -> RunState:
    return RunState(lanes={LANE: lane})


@st.composite
def runs(draw: st.DrawFn, most_turns: int = 9, most_tokens: int = 4_000) -> list[Message]:
    """A run with parallel calls, messages of the user and instructions in between, and results that come late."""
    messages = [system(words(draw(st.integers(1, 300))))] if draw(st.booleans()) else []
    messages.append(user(f"task {draw(st.integers(0, 99))}", "task"))
    late: list[Message] = []
    for turn in range(draw(st.integers(1, most_turns))):
        uses = tuple(use(f"c{turn}.{i}", id=f"item_{turn}_{i}") for i in range(draw(st.integers(0, 3))))
        messages.append(asks(f"a{turn}", *uses, text=words(draw(st.integers(1, 200)), turn)))
        for i, each in enumerate(uses):
            text = f"item_{turn}_{i} " + words(draw(st.integers(1, most_tokens)), i)
            result = answer(f"t{turn}.{i}", each.id, text)
            (late if i and draw(st.integers(0, 5)) == 0 else messages).append(result)
        interruption = draw(st.sampled_from(["", "", "", "user", "system"]))
        if interruption == "user":
            messages.append(user(f"also {turn}", f"u{turn}"))
        if interruption == "system":
            messages.append(system(f"rule {turn % 3}", f"s{turn}"))
        messages += late
        late = []
    messages.append(asks("last", text="Done."))
    return messages
